"""The node agent's installation: where it runs, as what, with which rights; and the policy that narrows them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from autoscaler import __version__
from autoscaler.agent import command
from autoscaler.agent.notice import ALIVE_ANNOTATION, NOTICE_ANNOTATION, NodeNotice, NoticeKind
from autoscaler.agent.own_node import SERVICE_ACCOUNT
from autoscaler.kube.watch.slim import capacity_type
from tests.deploy.manifests import (
    DEPLOY,
    Manifest,
    container_of,
    of_kind,
    one,
    option,
    pod_of,
    render,
)
from tests.deploy.test_base import mebibytes, rights

NAMESPACE = "inference-autoscaler"
NAME = "inference-autoscaler-node-agent"


def site(folder: Path, **more: object) -> tuple[Manifest, ...]:
    """The site's overlay with the component, as `deploy/README.md` says."""
    shutil.copytree(DEPLOY, folder / "deploy")
    overlay = folder / "deploy/overlays/site/kustomization.yaml"
    document = yaml.safe_load(overlay.read_text())
    document["components"] = ["../../components/node-agent"]
    overlay.write_text(yaml.safe_dump(document | more))
    return render(overlay.parent)


@pytest.fixture
def manifests(tmp_path: Path) -> tuple[Manifest, ...]:
    return site(tmp_path)


@pytest.fixture
def agent(manifests: tuple[Manifest, ...]) -> Manifest:
    return one(manifests, "DaemonSet", NAME)


def test_what_the_component_adds(manifests: tuple[Manifest, ...]):
    base = {
        (each["kind"], each["metadata"]["name"]) for each in render(DEPLOY / "overlays" / "site")
    }
    added = sorted(
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
        for each in manifests
        if (each["kind"], each["metadata"]["name"]) not in base
    )
    assert added == [
        ("ClusterRole", "", NAME),
        ("ClusterRoleBinding", "", NAME),
        ("DaemonSet", NAMESPACE, NAME),
        ("ResourceQuota", NAMESPACE, NAME),
        ("ServiceAccount", NAMESPACE, NAME),
        ("ValidatingAdmissionPolicy", "", NAME),
        ("ValidatingAdmissionPolicyBinding", "", NAME),
    ]


def test_it_may_patch_nodes_and_nothing_else(manifests: tuple[Manifest, ...], agent: Manifest):
    assert rights(one(manifests, "ClusterRole", NAME)) == {("", "nodes", "patch")}
    binding = one(manifests, "ClusterRoleBinding", NAME)
    assert binding["roleRef"]["name"] == NAME
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]
    assert pod_of(agent)["serviceAccountName"] == NAME
    for each in [*of_kind(manifests, "RoleBinding"), *of_kind(manifests, "ClusterRoleBinding")]:
        subjects = {subject["name"] for subject in each["subjects"]}
        assert (NAME in subjects) == (each["metadata"]["name"] == NAME)


def test_the_policy_is_in_force_for_this_account_and_these_annotations(
    manifests: tuple[Manifest, ...],
):
    policy = one(manifests, "ValidatingAdmissionPolicy", NAME)
    binding = one(manifests, "ValidatingAdmissionPolicyBinding", NAME)
    assert binding["spec"] == {"policyName": NAME, "validationActions": ["Deny"]}
    spec = policy["spec"]
    assert spec["failurePolicy"] == "Fail"
    (matched,) = spec["matchConditions"]
    assert f"endsWith(':{NAME}')" in matched["expression"]
    variables = {each["name"]: each["expression"] for each in spec["variables"]}
    assert set(re.findall(r"'([^']+)'", variables["ours"])) == {NOTICE_ANNOTATION, ALIVE_ANNOTATION}


def test_the_longest_notice_fits_what_the_policy_lets_through(manifests: tuple[Manifest, ...]):
    policy = one(manifests, "ValidatingAdmissionPolicy", NAME)
    text = "".join(each["expression"] for each in policy["spec"]["validations"])
    (most,) = re.findall(r"size\(\) <= (\d+)", text)
    longest = max(
        NodeNotice(kind=kind, source="gce-metadata", noticed_at=2e11, deadline_at=2e11).text()
        for kind in NoticeKind
    )
    assert len(longest) < int(most)


def test_it_runs_on_every_spot_node_and_on_no_other(agent: Manifest):
    pod = pod_of(agent)
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = {}
    for term in terms["nodeSelectorTerms"]:  # one of them is enough
        (expression,) = term["matchExpressions"]
        assert expression["operator"] == "In"
        (value,) = expression["values"]
        labels[expression["key"]] = value
    # All that the daemon takes for spot, but for a legacy label of the same words.
    assert len(labels) >= 6
    for key, value in labels.items():
        assert capacity_type({key: value}, []) == "Spot", key


def test_it_is_as_restricted_as_the_host_s_network_allows(agent: Manifest):
    pod, container = pod_of(agent), container_of(agent)
    assert pod["hostNetwork"] is True
    assert not {"hostPID", "hostIPC", "initContainers", "volumes"} & set(pod)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert not {"ports", "volumeMounts"} & set(container)


def test_the_quota_lets_gke_admit_its_priority(manifests: tuple[Manifest, ...], agent: Manifest):
    quota = one(manifests, "ResourceQuota", NAME)
    (scope,) = quota["spec"]["scopeSelector"]["matchExpressions"]
    assert scope["scopeName"] == "PriorityClass"
    assert scope["values"] == [pod_of(agent)["priorityClassName"]] == ["system-node-critical"]


def test_its_command_is_the_lean_one_and_its_arguments_are_options(agent: Manifest):
    container = container_of(agent)
    assert container["command"] == ["python3", "-m", "autoscaler.agent"]
    options = command._parser("agent").parse_args(container["args"])
    assert options.provider == option(container["args"], "provider") == "auto"
    assert options.service_account == SERVICE_ACCOUNT
    assert pod_of(agent)["automountServiceAccountToken"] is True
    (name,) = (each for each in container["env"] if each["name"] == "NODE_NAME")
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"


def test_its_limit_is_above_what_it_takes_and_its_request_is_that(agent: Manifest):
    resources = container_of(agent)["resources"]
    assert mebibytes(resources["requests"]["memory"]) == 30  # tests/benchmarks/test_agent.py
    assert mebibytes(resources["limits"]["memory"]) >= 2 * 30
    assert set(resources["limits"]) == {"memory"}


def test_the_site_s_image_is_the_agent_s_too(agent: Manifest):
    assert (
        container_of(agent)["image"] == f"registry.example.com/inference-autoscaler:{__version__}"
    )


def test_an_overlay_may_move_it_and_the_policy_still_holds(tmp_path: Path):
    moved = site(tmp_path, namespace="team")
    binding = one(moved, "ClusterRoleBinding", NAME)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "team"}]
    assert one(moved, "DaemonSet", NAME)["metadata"]["namespace"] == "team"
    (matched,) = one(moved, "ValidatingAdmissionPolicy", NAME)["spec"]["matchConditions"]
    assert NAMESPACE + ":" not in matched["expression"]
