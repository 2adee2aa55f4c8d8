"""The daemon's installation: rights, restrictions, probes and configuration."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler import __version__, cli
from autoscaler.app import DaemonOptions
from autoscaler.core.contract.commands import COMMAND_TIMEOUT_S
from autoscaler.core.contract.deletion_cost import COST_ANNOTATION, OWN_COST_ANNOTATION
from autoscaler.daemon.telemetry.http import DebugServer, HttpServer, parse_listen
from autoscaler.kube.api.permissions import DELETION_COSTS, OWN_NAMESPACE, PERMISSIONS
from autoscaler.kube.capacity import capacity_type
from autoscaler.settings import load_config
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

NAME = "inference-autoscaler"


@pytest.fixture
def base() -> tuple[Manifest, ...]:
    return render(DEPLOY / "base")


@pytest.fixture
def daemon(base: tuple[Manifest, ...]) -> Manifest:
    return one(base, "Deployment", NAME)


def test_what_the_base_consists_of(base: tuple[Manifest, ...]):
    found = sorted(
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
        for each in base
    )
    assert found == [
        ("ClusterRole", "", f"{NAME}-events"),
        ("ClusterRole", "", f"{NAME}-models"),
        ("ClusterRole", "", f"{NAME}-nodes"),
        ("ClusterRoleBinding", "", f"{NAME}-nodes"),
        ("ConfigMap", NAME, f"{NAME}-config"),
        ("Deployment", NAME, NAME),
        ("Namespace", "", NAME),
        ("PriorityClass", "", NAME),
        ("Role", NAME, f"{NAME}-lease"),
        ("RoleBinding", "default", f"{NAME}-events"),
        ("RoleBinding", NAME, f"{NAME}-lease"),
        ("RoleBinding", "serving", NAME),
        ("Service", NAME, NAME),
        ("ServiceAccount", NAME, NAME),
        ("ValidatingAdmissionPolicy", "", f"{NAME}-deployments"),
        ("ValidatingAdmissionPolicy", "", f"{NAME}-nodes"),
        ("ValidatingAdmissionPolicyBinding", "", f"{NAME}-deployments"),
        ("ValidatingAdmissionPolicyBinding", "", f"{NAME}-nodes"),
    ]


# -- rights


def rights(role: Manifest) -> set[tuple[str, str, str]]:
    """Each with `=NAME` behind its resource where it is for that object alone."""
    return {
        (group, f"{resource}{name}", verb)
        for rule in role["rules"]
        for name in [f"={each}" for each in rule.get("resourceNames", ())] or [""]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(
    ("role", "where"),
    [("nodes", None), ("models", ""), ("events", "default"), ("lease", OWN_NAMESPACE)],
)
def test_roles_grant_what_the_code_uses_and_nothing_more(
    base: tuple[Manifest, ...], role: str, where: str | None
):
    kind = "Role" if role == "lease" else "ClusterRole"
    granted = one(base, kind, f"{NAME}-{role}")
    assert rights(granted) == {
        (permission.group, permission.resource + (permission.name and f"={permission.name}"), verb)
        for permission in PERMISSIONS
        if (permission.namespace if permission.namespaced else None) == where
        for verb in permission.verbs
    }
    fields = {"apiGroups", "resources", "verbs"}
    assert all(set(rule) - {"resourceNames"} == fields for rule in granted["rules"])


def test_the_lease_is_the_one_that_the_daemon_takes(base: tuple[Manifest, ...], tmp_path: Path):
    (named,) = (each for each in PERMISSIONS if each.name and each.resource == "leases")
    assert named.name == DaemonOptions(config=tmp_path).lease_name
    assert (
        named.namespace == one(base, "Deployment", NAME)["metadata"]["namespace"] == OWN_NAMESPACE
    )
    assert one(base, "Role", f"{NAME}-lease")["metadata"]["namespace"] == OWN_NAMESPACE


def test_only_nodes_and_their_claims_are_granted_cluster_wide(base: tuple[Manifest, ...]):
    (everywhere,) = of_kind(base, "ClusterRoleBinding")
    assert everywhere["roleRef"]["name"] == f"{NAME}-nodes"
    bindings = of_kind(base, "RoleBinding")
    granted = {each["metadata"]["namespace"]: each["roleRef"]["name"] for each in bindings}
    assert granted == {
        "default": f"{NAME}-events",
        NAME: f"{NAME}-lease",
        "serving": f"{NAME}-models",
    }
    for binding in (everywhere, *bindings):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAME}]


def test_an_overlay_may_move_everything_into_the_namespace_of_the_models(tmp_path: Path):
    # The end-to-end suite installs it so: image, namespace and configuration on top of the base.
    shutil.copytree(DEPLOY / "base", tmp_path / "base")
    (tmp_path / "config.yaml").write_text("kind: Changed\n")
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "team",
        "resources": ["base"],
        "images": [{"name": NAME, "newName": "registry.test/ours", "newTag": "7"}],
        "configMapGenerator": [
            {
                "name": f"{NAME}-config",
                "behavior": "replace",
                "files": ["config.yaml"],
                "options": {"disableNameSuffixHash": True},
            }
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    moved = render(tmp_path)
    assert {each["metadata"].get("namespace", "team") for each in moved} == {"team"}
    assert one(moved, "Namespace", "team")
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for binding in of_kind(moved, kind):
            assert binding["subjects"][0]["namespace"] == "team"
    assert container_of(one(moved, "Deployment", NAME))["image"] == "registry.test/ours:7"
    assert one(moved, "ConfigMap", f"{NAME}-config")["data"] == {"config.yaml": "kind: Changed\n"}


# -- the pod


def test_the_pod_passes_the_restricted_profile(daemon: Manifest):
    pod, container = pod_of(daemon), container_of(daemon)
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "projected", "secret"}
    assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])
    assert all("hostPort" not in port for port in container["ports"])


def test_a_rollout_has_the_next_daemon_ready_before_the_last_one_goes(daemon: Manifest):
    assert daemon["spec"]["replicas"] == 1
    assert daemon["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    (term,) = pod_of(daemon)["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    apart = term["podAffinityTerm"]
    labels = daemon["spec"]["template"]["metadata"]["labels"]
    assert apart["labelSelector"]["matchLabels"].items() <= labels.items()
    assert apart["topologyKey"] == "kubernetes.io/hostname"


def test_a_shutdown_has_time_to_finish_the_writes_under_way(daemon: Manifest):
    assert pod_of(daemon)["terminationGracePeriodSeconds"] > COMMAND_TIMEOUT_S + 10


def test_it_does_not_run_on_the_nodes_that_it_drains(daemon: Manifest):
    (term,) = pod_of(daemon)["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    for expression in term["matchExpressions"]:
        assert expression["operator"] == "NotIn"
        (value,) = expression["values"]
        assert capacity_type({expression["key"]: value}, []) == "Spot"


def test_its_arguments_are_those_of_the_command(daemon: Manifest):
    command, *arguments = container_of(daemon)["args"]
    context = cli.cli.commands[command].make_context(command, list(arguments))
    mounts = {each["name"]: each["mountPath"] for each in container_of(daemon)["volumeMounts"]}
    assert str(context.params["config"]) == mounts["config"]
    assert str(context.params["record"]) == mounts["recording"]
    assert context.params["dcgm_selector"] == ""
    assert context.params["log_format"] == "json"
    assert context.params["listen"] == ":8080"
    assert container_of(daemon)["ports"] == [{"containerPort": 8080, "name": "http"}]


class NoPages:
    """Pages of nothing: only their addresses are asked for."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_its_probes_ask_pages_that_are_there(daemon: Manifest):
    server = HttpServer(NoPages(), NoPages(), host="127.0.0.1", port=0)
    pages = {resource.canonical for resource in server._runner.app.router.resources()}
    container = container_of(daemon)
    probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert set(paths.values()) <= pages
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {"http"}
    # Imports of a cold start on a busy node take several seconds.
    startup = probes["startup"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60


def test_it_is_not_the_first_to_be_preempted(base: tuple[Manifest, ...], daemon: Manifest):
    priority = one(base, "PriorityClass", NAME)
    assert pod_of(daemon)["priorityClassName"] == priority["metadata"]["name"]
    assert 0 < priority["value"] < 1_000_000_000, "above what sets none, below what is the system's"
    assert priority["globalDefault"] is False


def test_decisions_are_shown_inside_the_pod_alone(daemon: Manifest):
    command, *arguments = container_of(daemon)["args"]
    context = cli.cli.commands[command].make_context(command, list(arguments))
    host, port = parse_listen(context.params["debug_listen"], "--debug-listen")
    assert host == "127.0.0.1"
    assert port not in {each["containerPort"] for each in container_of(daemon)["ports"]}
    server = DebugServer(NoPages(), host="127.0.0.1", port=0)
    pages = {resource.canonical for resource in server._runner.app.router.resources()}
    assert pages == {"/", "/debug/models"}


def test_the_network_policy_lets_through_what_the_daemon_asks_and_nothing_else(tmp_path: Path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    site = tmp_path / "deploy/overlays/site/kustomization.yaml"
    site.write_text(
        site.read_text().replace("components: []", "components: [../../components/network-policy]")
    )
    manifests = render(site.parent)
    policy = one(manifests, "NetworkPolicy", NAME)
    spec = policy["spec"]
    labels = one(manifests, "Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (scrape,) = spec["ingress"]
    assert scrape["ports"] == [{"protocol": "TCP", "port": "http"}], "never the debug port"
    assert scrape["from"], "nobody is let in who is not named"
    asked = {(port["protocol"], port["port"]) for rule in spec["egress"] for port in rule["ports"]}
    defaults = DaemonOptions(config=tmp_path)
    (resource,) = load_config(DEPLOY / "base/daemon/config.yaml").resources
    engines = ("TCP", resource.spec.metrics.port)
    assert asked == {
        ("UDP", 53), ("TCP", 53), ("TCP", 443), ("TCP", 6443), ("TCP", 9090),
        ("TCP", defaults.dcgm_port), engines,
    }  # fmt: skip
    everywhere = [rule["ports"] for rule in spec["egress"] if "to" not in rule]
    assert everywhere == [[{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 6443}]]
    namespaces = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in spec["egress"]
        for peer in rule.get("to", ())
    }
    models, exporters = resource.metadata.namespace, defaults.dcgm_namespace
    assert namespaces == {"kube-system", "monitoring", models, exporters}


MEBIBYTES = {"Mi": 1, "Gi": 1024}


def mebibytes(quantity: str) -> int:
    return int(quantity[:-2]) * MEBIBYTES[quantity[-2:]]


def test_the_recording_fits_its_volume(daemon: Manifest):
    container = container_of(daemon)
    (volume,) = (each for each in pod_of(daemon)["volumes"] if each["name"] == "recording")
    limit = int(option(container["args"], "record-limit"))
    size = mebibytes(volume["emptyDir"]["sizeLimit"])
    # A volume beyond its size evicts the pod; a segment of 16 MiB may be open beyond the limit.
    assert limit + 16 < size
    # Nodes that do not count local storage (as small ones) would never take a pod that requests some.
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert set(container["resources"]["limits"]) == {"memory"}  # a throttled loop decides late


def test_the_image_is_this_version(daemon: Manifest):
    assert container_of(daemon)["image"] == f"{NAME}:{__version__}"


def test_the_service_reaches_the_pod_and_is_found_by_annotation(
    base: tuple[Manifest, ...], daemon: Manifest
):
    service = one(base, "Service", NAME)
    (port,) = service["spec"]["ports"]
    assert port["name"] == "metrics"
    assert port["targetPort"] == "http"
    labels = daemon["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port["port"]),
        "prometheus.io/path": "/metrics",
    }


# -- configuration


def mounted(manifests: tuple[Manifest, ...], folder: Path) -> Path:
    """Write the ConfigMap's keys as files, as the kubelet does."""
    folder.mkdir()
    for name, text in one(manifests, "ConfigMap", f"{NAME}-config")["data"].items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("kustomization", ["base", "overlays/site"])
def test_the_configuration_is_valid_and_begins_by_observing(kustomization: str, tmp_path: Path):
    manifests = render(DEPLOY / kustomization)
    config = load_config(mounted(manifests, tmp_path / "config"))
    (resource,) = config.resources
    assert resource.spec.mode == "Observe"
    namespaces = {each["metadata"]["namespace"] for each in of_kind(manifests, "RoleBinding")}
    assert resource.metadata.namespace in namespaces  # else it could not be served


def test_the_site_overlay_begins_as_the_base():
    site, base = DEPLOY / "overlays/site/config.yaml", DEPLOY / "base/daemon/config.yaml"
    assert site.read_text() == base.read_text()
    (daemon,) = of_kind(render(DEPLOY / "overlays/site"), "Deployment")
    assert container_of(daemon)["image"] == f"registry.example.com/{NAME}:{__version__}"


def test_the_component_for_deletion_costs_grants_its_right_and_narrows_it(tmp_path: Path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    site = tmp_path / "deploy/overlays/site/kustomization.yaml"
    edited = site.read_text().replace(
        "components: []", "components: [../../components/deletion-cost]"
    )
    site.write_text(edited)
    plain, manifests = render(DEPLOY / "overlays/site"), render(site.parent)
    role = f"{NAME}-models"
    more = rights(one(manifests, "ClusterRole", role)) - rights(one(plain, "ClusterRole", role))
    assert more == {(p.group, p.resource, verb) for p in DELETION_COSTS for verb in p.verbs}
    policy = one(manifests, "ValidatingAdmissionPolicy", f"{NAME}-deletion-cost")
    (account,) = of_kind(manifests, "ServiceAccount")
    metadata = account["metadata"]
    user = f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}"
    (condition,) = policy["spec"]["matchConditions"]
    assert condition["expression"] == f"request.userInfo.username == '{user}'"
    (ours,) = (each for each in policy["spec"]["variables"] if each["name"] == "ours")
    assert ours["expression"] == str([COST_ANNOTATION, OWN_COST_ANNOTATION])
    binding = one(manifests, "ValidatingAdmissionPolicyBinding", f"{NAME}-deletion-cost")
    assert binding["spec"] == {
        "policyName": policy["metadata"]["name"],
        "validationActions": ["Deny"],
    }


def test_the_dcgm_component_switches_the_exporter_on_with_the_rights_for_it(tmp_path: Path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    site = tmp_path / "deploy/overlays/site/kustomization.yaml"
    edited = site.read_text().replace("components: []", "components: [../../components/dcgm]")
    assert edited != site.read_text()
    site.write_text(edited)
    manifests = render(site.parent)
    defaults = DaemonOptions(config=tmp_path)
    role = one(manifests, "Role", f"{NAME}-exporters")
    assert role["metadata"]["namespace"] == defaults.dcgm_namespace
    assert rights(role) == {("", "pods", "list"), ("", "pods", "watch")}
    arguments = container_of(one(manifests, "Deployment", NAME))["args"]
    assert option(arguments, "dcgm-selector") == defaults.dcgm_selector
    assert option(arguments, "dcgm-namespace") == defaults.dcgm_namespace
    (binding,) = (
        each
        for each in of_kind(manifests, "RoleBinding")
        if each["metadata"]["namespace"] == defaults.dcgm_namespace
    )
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
