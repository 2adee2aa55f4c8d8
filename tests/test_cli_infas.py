"""`kubectl infas`: from resources on a real API server, and from a daemon through a port that kubectl forwards."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoscaler.cli import infas, run_command_line
from autoscaler.cli.kubectl import Kubectl, KubectlError
from autoscaler.daemon.telemetry.http import DebugServer
from autoscaler.kube.api.client import Client
from autoscaler.kube.api.resources import INFERENCE_AUTOSCALERS
from tests.daemon.live import live, until
from tests.kube.control_plane import (
    NAMESPACE,
    ControlPlane,
    binaries,
    create,
    running_control_plane,
    set_status,
)
from tests.kube.definition import install
from tests.test_settings import document

AT = "2026-12-01T02:00:00Z"
FORWARDER = """\
#!{python}
import pathlib, signal, sys, time
if "get" in sys.argv:
    print("Error from server (NotFound): leases not found", file=sys.stderr)
    sys.exit(1)
assert sys.argv[-2:] == ["deployment/inference-autoscaler", ":8081"], sys.argv
pathlib.Path({mark!r}).write_text("began")
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({mark!r}).write_text("ended"), sys.exit(0)))
print("Forwarding from 127.0.0.1:{port} -> 8081", flush=True)
time.sleep(60)
"""
"""What kubectl does for a pod that a kubelet runs; there is none here, and the daemon is in this process."""


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run_command_line(infas.infas, "kubectl infas", [str(each) for each in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def a_condition(kind: str, status: str, reason: str, message: str = "m") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": AT,
        "observedGeneration": 1,
    }


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async def set_up(made: ControlPlane, admin: Client) -> None:
        await made.set_up(admin)
        await install(admin)
        for name in ("llama", "fresh"):
            body = document(mode="Active")
            body["metadata"]["name"] = name
            body["spec"]["pools"][0]["scaleTargetRef"]["name"] = name
            await create(admin, INFERENCE_AUTOSCALERS, body, namespace=NAMESPACE)
        told = {
            "observedGeneration": 1,
            "reason": "WorthItsCost",
            "desiredReplicas": 4,
            "readyReplicas": 3,
            "warmFloorReplicas": 1,
            "lastDecision": "goes from 3 to 4 replicas: each of them is expected to be worth its cost",
            "conditions": [
                a_condition("Ready", "True", "Decided"),
                a_condition("AbleToScale", "False", "Forbidden", "may not scale: bind the role"),
                a_condition("Paused", "True", "ScaleUpPaused"),
            ],
        }
        await set_status(admin, INFERENCE_AUTOSCALERS, "llama", told, namespace=NAMESPACE)

    with running_control_plane(tmp_path_factory.mktemp("infas"), set_up) as made:
        yield made


@pytest.fixture
def path_of_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{binaries()}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("path_of_kubectl")
async def test_resources_are_told_as_they_say_themselves(
    control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
):
    where = ("--kubeconfig", control_plane.folder / "admin.kubeconfig")
    code, out, err = await asyncio.to_thread(run, capsys, "status", "-A", *where)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "MODEL          MODE           DESIRED  READY  FLOOR  OK       REASON",
        "serving/fresh  Active               ?      ?      ?  Unknown  NotDecided",
        "serving/llama  ScaleDownOnly        4      3      1  True     WorthItsCost",
        "  goes from 3 to 4 replicas: each of them is expected to be worth its cost",
        "  see to AbleToScale: kubectl infas explain serving/llama",
    ]
    code, out, _ = await asyncio.to_thread(run, capsys, "status", *where)
    assert (code, out) == (0, "No InferenceAutoscalers here; -A looks in all namespaces.\n")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("path_of_kubectl")
async def test_where_no_daemon_can_be_asked_the_status_is_told(
    control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
):
    where = ("--kubeconfig", control_plane.folder / "admin.kubeconfig")
    code, out, err = await asyncio.to_thread(run, capsys, "explain", "serving/llama", *where)
    assert code == 0
    assert "port-forward" in err
    assert "not found; told from the resource's status" in err
    assert f"  AbleToScale is False (Forbidden) since {AT}: may not scale: bind the role" in out
    code, _, err = await asyncio.to_thread(run, capsys, "explain", "serving/nope", *where)
    assert code == 2
    assert '"nope" not found' in err
    assert "where models are documents of a file there are no resources" in err


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_daemon_is_asked_through_a_port_and_the_forwarding_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    mark = tmp_path / "mark"
    async with live(tmp_path) as scene, scene.daemon() as daemon:
        await until(lambda: daemon.telemetry.status.unready() == ())
        server = DebugServer(daemon.telemetry.status, host="127.0.0.1", port=0)
        address = await server.start()
        try:
            stand_in = tmp_path / "bin" / "kubectl"
            stand_in.parent.mkdir()
            port = address.rpartition(":")[2]
            stand_in.write_text(FORWARDER.format(python=sys.executable, mark=str(mark), port=port))
            stand_in.chmod(0o755)
            monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
            code, told, err = await asyncio.to_thread(run, capsys, "explain", "llama")
            assert (code, err) == (0, "")
            assert mark.read_text() == "ended"
            code, table, err = await asyncio.to_thread(run, capsys, "status", "--live")
            assert (code, err) == (0, "")
        finally:
            await server.close()
    assert "\nserving/llama stays at 2 replicas: " in f"\n{told}"
    assert "serving/llama  Active    2/2" in table


def test_without_kubectl_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run(capsys, "status")
    assert code == 2
    assert "there is no kubectl on the PATH" in err


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'error: no such pod' >&2; exit 1", "port-forward --address=127.0.0.1 pod/x :8081: error: no such pod"),
        ("echo something else", "pod/x :8081: "),
    ],
)  # fmt: skip
def test_a_port_that_is_not_forwarded_says_why(tmp_path: Path, script: str, said: str):
    stand_in = tmp_path / "kubectl"
    stand_in.write_text(f"#!/bin/sh\n{script}\n")
    stand_in.chmod(0o755)
    kubectl = Kubectl(command=str(stand_in))
    with pytest.raises(KubectlError) as failure, kubectl.forwarded("pod/x", namespace="n"):
        pass
    assert said in str(failure.value)


@pytest.mark.slow
def test_kubectl_finds_it_as_a_plugin(tmp_path: Path):
    """By its name on the PATH: what the package installs calls the same function."""
    script = tmp_path / "kubectl-infas"
    script.write_text(f"#!{sys.executable}\nfrom autoscaler.cli.infas import main\nmain()\n")
    script.chmod(0o755)
    done = subprocess.run(
        ["kubectl", "infas", "--help"],
        env={
            **os.environ,
            "PATH": f"{binaries()}{os.pathsep}{tmp_path}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage: kubectl infas" in done.stdout
