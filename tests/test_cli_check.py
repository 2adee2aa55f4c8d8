"""`autoscaler check --targets`: what is written, and how it ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.core.contract.state import CapacityType
from autoscaler.kube.soundness.lint import unsound
from autoscaler.kube.soundness.template import template_facts
from autoscaler.settings import load_config
from simulations.box.demo.scenario import manifests as demo_manifests
from simulations.box.local_cluster import LocalCluster
from tests.deploy.manifests import DEPLOY, render
from tests.e2e.scene import Scene
from tests.kube.soundness.targets import changed, sound, terms
from tests.test_cli import ROOT, call

CONFIG = DEPLOY / "base/daemon/config.yaml"
ONE_POOL = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: InferenceAutoscaler
metadata: {name: llama, namespace: serving}
spec:
  pools: [{name: main, scaleTargetRef: {name: llama}}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(ONE_POOL)
    return path


def write(folder: Path, *items: dict[str, Any]) -> Path:
    path = folder / "targets.yaml"
    path.write_text(yaml.safe_dump_all(items))
    return path


@pytest.mark.slow
def test_the_targets_of_the_examples_pass(capsys, tmp_path: Path):
    """Each example in deploy/, with the configurations that name its Deployments."""
    for example in sorted((DEPLOY / "examples").iterdir()):
        built = write(tmp_path, *render(example))
        for path in (CONFIG, DEPLOY / "overlays/site/config.yaml"):
            assert load_config(path).resources
            code, out, err = call(capsys, "check", "--config", path, "--targets", built)
            assert (code, err) == (0, "")
            assert out.splitlines()[-1] == "no errors, no warnings"
            assert "Deployment/serving/qwen3-8b-spot: pool spot of serving/qwen3-8b" in out


def test_what_the_demo_and_the_end_to_end_suite_run_has_no_errors():
    ours = [each for each in demo_manifests() if each["kind"] == "Deployment"]
    ours += [
        Scene(namespace="n", image="vllm", logs=Path()).deployment(pool)
        for pool in ("on-demand", "spot")
    ]
    for item in ours:
        capacity = (
            CapacityType.SPOT if "spot" in item["metadata"]["name"] else CapacityType.ON_DEMAND
        )
        assert unsound(template_facts(item), terms(capacity_type=capacity)) == ()


def test_errors_are_one_and_each_says_what_to_do(capsys, config: Path, tmp_path: Path):
    item = changed(pod={"terminationGracePeriodSeconds": 60}, spec={"replicas": 2})
    code, out, err = call(capsys, "check", "--config", config, "--targets", write(tmp_path, item))
    assert (code, err) == (1, "")
    assert out == (
        "serving/llama: 1 to 10 replicas over main (OnDemand); warm floor 0; Observe: writes nothing; "
        "with `mode: Active` it would scale Deployment/serving/llama, and drain doomed nodes\n"
        "Deployment/serving/llama: pool main of serving/llama\n"
        "  error: GraceTooShort: spec.template.spec.terminationGracePeriodSeconds: found 60, not more "
        "than 60 (preStop) + 30 (--shutdown-timeout) + 10 (teardown): the hook is cut at 60 s; "
        "write 101 or more\n"
        "  warning: ReplicasWritten: spec.replicas: found 2: every apply sets the number back to it; "
        "take it away\n"
        "1 error, 1 warning\n"
    )


def test_warnings_alone_are_zero(capsys, config: Path, tmp_path: Path):
    built = write(tmp_path, changed(spec={"replicas": 2}))
    code, out, _ = call(capsys, "check", "--config", config, "--targets", built)
    assert code == 0
    assert out.endswith("no errors, 1 warning\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "targets.yaml: found no such file; name a file or folder that is there"),
        ("", "targets.yaml: found no document; write at least one Deployment document"),
        ("a: [", "targets.yaml: line 1: found"),
    ],
)
def test_targets_that_cannot_be_read_are_two(
    capsys, config: Path, tmp_path: Path, text: str | None, message: str
):
    if text is not None:
        (tmp_path / "targets.yaml").write_text(text)
    path = tmp_path / "targets.yaml"
    code, _, err = call(capsys, "check", "--config", config, "--targets", path)
    assert code == 2
    assert f"autoscaler: {tmp_path}/{message}" in err


def test_a_kustomization_is_to_be_built_first(capsys, config: Path):
    folder = DEPLOY / "examples/vllm"
    code, _, err = call(capsys, "check", "--config", config, "--targets", folder)
    assert code == 2
    assert f"kubectl kustomize {folder} | autoscaler check --config ... --targets -" in err


def test_manifests_come_through_a_pipe(capsys, config: Path, tmp_path: Path):
    """As `kubectl kustomize ... |` and `<(...)` give them."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(pipe.write_text, yaml.safe_dump(sound()))
        code, out, err = call(capsys, "check", "--config", config, "--targets", pipe)
        written.result()
    assert (code, err) == (0, "")
    assert "no errors, no warnings" in out


@pytest.mark.slow
def test_manifests_come_from_standard_input(config: Path):
    command = [sys.executable, "-m", "autoscaler.cli", "check", "--config", str(config)]
    for text, code in ((yaml.safe_dump(sound()), 0), ("kind: Service\n", 1), ("", 2)):
        ended = subprocess.run(
            [*command, "--targets", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert ended.returncode == code, ended.stderr
        if code == 1:
            assert "which is not in standard input; there: no Deployment" in ended.stdout


@pytest.mark.slow
def test_the_targets_of_a_cluster(capsys, config: Path, tmp_path: Path):
    async def asked() -> tuple[int, str, str]:
        async with LocalCluster(controllers=False, folder=tmp_path) as cluster:
            cluster.apply({"apiVersion": "apps/v1", **changed(container={"readinessProbe": None})})
            arguments = ("--targets", "CLUSTER", "--kubeconfig", cluster.kubeconfig)
            return await asyncio.to_thread(call, capsys, "check", "--config", config, *arguments)

    code, out, err = asyncio.run(asked())
    assert (code, err) == (1, "")
    assert "  error: NoReadinessProbe: spec.template.spec.containers[0].readinessProbe: " in out
    assert out.endswith("1 error, no warnings\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labels", "says"),
    [
        pytest.param({"node.kubernetes.io/lifecycle": "spot"}, True, id="nothing could speak"),
        pytest.param({"cloud.google.com/gke-spot": "true"}, False, id="GKE marks its nodes"),
    ],
)
def test_spot_pools_of_which_nothing_could_give_notice_are_named(
    capsys, tmp_path: Path, labels: dict[str, str], *, says: bool
):
    config = tmp_path / "config.yaml"
    config.write_text(ONE_POOL.replace("{name: main,", "{name: main, capacityType: Spot,"))

    async def asked() -> tuple[int, str, str]:
        async with LocalCluster(controllers=False, folder=tmp_path) as cluster:
            cluster.apply({"apiVersion": "apps/v1", **sound()})
            cluster.apply(
                {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": labels}}
            )
            arguments = ("--targets", "CLUSTER", "--kubeconfig", cluster.kubeconfig)
            return await asyncio.to_thread(call, capsys, "check", "--config", config, *arguments)

    _, out, err = asyncio.run(asked())
    assert err == ""
    assert ("warning: NoNotice: nodes: found " in out) == says
