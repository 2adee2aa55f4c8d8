"""The daemon on a real API server, with resources that kubectl writes, and the rights of the component alone."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from autoscaler.app import Daemon, DaemonOptions, first_config
from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.reasons import ConditionType
from autoscaler.kube.api import access
from autoscaler.kube.api.client import Client, client_of
from autoscaler.kube.api.permissions import PERMISSIONS, RESOURCES
from autoscaler.kube.api.resources import DEPLOYMENTS, NODES
from tests.deploy.manifests import DEPLOY
from tests.kube.control_plane import (
    ACCOUNTS,
    BINDINGS,
    NAMESPACE,
    ROLES,
    ControlPlane,
    binaries,
    binding,
    create,
    role,
    running_control_plane,
)
from tests.kube.definition import install
from tests.test_settings import document

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ACCOUNT = "watcher"


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async def set_up(made: ControlPlane, admin: Client) -> None:
        await made.set_up(admin)
        await install(admin)
        await create(admin, ACCOUNTS, {"metadata": {"name": ACCOUNT}}, namespace=NAMESPACE)
        await create(admin, ROLES, role(ACCOUNT, [*PERMISSIONS, *RESOURCES]))
        await create(admin, BINDINGS, binding(ACCOUNT, to=ACCOUNT))
        await create(admin, NODES, {"metadata": {"name": "node-1"}})
        await create(admin, DEPLOYMENTS, deployment("llama"), namespace=NAMESPACE)

    with running_control_plane(tmp_path_factory.mktemp("resources"), set_up) as made:
        yield made


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "vllm", "image": "vllm", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


class Kubectl:
    """As a person uses it."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._command = [
            str(binaries() / "kubectl"),
            f"--kubeconfig={control_plane.folder / 'admin.kubeconfig'}",
        ]

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        def run() -> str:
            done = subprocess.run(
                [*self._command, *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        return await asyncio.to_thread(run)

    async def apply(self, body: dict[str, Any]) -> None:
        await self("apply", "-f", "-", stdin=yaml.safe_dump(body))


@pytest.fixture
def kubectl(control_plane: ControlPlane) -> Kubectl:
    return Kubectl(control_plane)


@pytest.fixture
async def daemon(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Daemon]:
    """One that runs as a pod would, with the rights of the tables."""
    async with await control_plane.admin() as admin:
        environment = await control_plane.mount_account(admin, tmp_path, account=ACCOUNT)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    granted = await access.in_cluster(tmp_path)
    # Alone: who stands by writes no status.
    options = DaemonOptions(watch_resources=True, tick_s=0.5, dcgm_selector="", leader_elect=False)
    stop = asyncio.Event()
    async with client_of(granted) as client:
        made = Daemon(options, config=first_config(options), client=client)
        running = asyncio.create_task(made.run(stop))
        try:
            yield made
        finally:
            stop.set()
            await running


async def until(holds: Callable[[], Any], *, timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.05)


async def test_resources_come_change_pause_and_go_without_a_restart(
    daemon: Daemon, kubectl: Kubectl
):
    status = daemon.telemetry.status

    def decision() -> Decision | None:
        return status.decisions.get("serving/llama")

    def most() -> int | None:
        models = status.fleet.models if status.fleet else ()
        return models[0].max_replicas if models else None

    await until(lambda: daemon.config_watch._caches[0].synced)
    assert "the configuration has no model" in " ".join(status.unready())
    await kubectl.apply(document())
    await until(decision)
    assert most() == 10
    await kubectl.apply(document(maxReplicas=3))
    await until(lambda: most() == 3)
    paused = ("annotate", "infas", "llama", "-n", "serving", "inference-autoscaler.dev/paused=true")
    await kubectl(*paused)
    await until(lambda: status.fleet is not None and status.fleet.models[0].pause.name == "ALL")
    misspelt = (*paused[:-1], "inference-autoscaler.dev/paused=yes", "--overwrite")
    await kubectl(*misspelt)
    await until(lambda: status.spec_problems)
    (line,) = status.spec_problems
    assert "InferenceAutoscaler serving/llama: metadata.annotations" in line
    assert status.fleet is not None
    assert status.fleet.models[0].pause.name == "ALL", "as it was"
    await kubectl("delete", "infas", "llama", "-n", "serving")
    await until(lambda: most() is None and not decision() and not status.spec_problems)


async def test_a_model_that_is_paused_at_a_number_is_scaled_to_it_and_held(
    daemon: Daemon, kubectl: Kubectl
):
    """By the scale subresource, with the daemon's own rights; the load is unknown, for no pod runs here."""
    prefix = "inference-autoscaler.dev/"
    await kubectl.apply(document())
    await until(lambda: "serving/llama" in daemon.telemetry.status.decisions)
    annotate = ("annotate", "infas", "llama", "-n", "serving", "--overwrite")
    await kubectl(*annotate, f"{prefix}paused=true", f"{prefix}paused-replicas=3")

    async def replicas() -> int:
        found = await kubectl("get", "deployment", "llama", "-n", "serving", "-o", "json")
        return int(json.loads(found)["spec"]["replicas"])

    async def held_at(number: int) -> None:
        async with asyncio.timeout(60):
            while await replicas() != number:
                await asyncio.sleep(0.5)

    try:
        await held_at(3)
        await kubectl(*annotate, f"{prefix}paused-replicas=2")
        await held_at(2)
        await seen(kubectl, DESIRED="2")
        paused = (await conditions(kubectl))["Paused"]
        assert (paused["status"], paused["reason"]) == ("True", "Paused")
        assert paused["message"] == "paused by annotation: the scale is held at 2"
    finally:
        await kubectl("delete", "infas", "llama", "-n", "serving")
        await kubectl("scale", "deployment", "llama", "-n", "serving", "--replicas=1")


README = (DEPLOY / "README.md").read_text()
COLUMNS = ["NAME", "TARGET", "MODE", "DESIRED", "READY", "FLOOR", "OK", "REASON", "AGE"]


async def line(kubectl: Kubectl, name: str = "llama") -> dict[str, str]:
    """One line of `kubectl get infas`, by its columns."""
    head, *rows = (await kubectl("get", "infas", "-n", "serving")).splitlines()
    assert head.split() == COLUMNS
    assert re.search(r"\s+".join(COLUMNS), README), "the page shows these"
    begins = [head.index(column) for column in COLUMNS]
    ends = [*begins[1:], None]
    (row,) = (each for each in rows if each.startswith(f"{name} "))
    return {
        column: row[begin:end].strip()
        for column, begin, end in zip(COLUMNS, begins, ends, strict=True)
    }


async def conditions(kubectl: Kubectl) -> dict[str, dict[str, Any]]:
    """What the status says, by the type of condition."""
    text = await kubectl("get", "infas", "llama", "-n", "serving", "-o", "json")
    return {each["type"]: each for each in json.loads(text)["status"]["conditions"]}


async def seen(kubectl: Kubectl, **cells: str) -> dict[str, str]:
    """Wait until its line has these cells; returns it."""
    async with asyncio.timeout(60):
        while True:
            found = await line(kubectl)
            if cells.items() <= found.items():
                return found
            await asyncio.sleep(0.5)


async def test_one_line_says_whether_it_is_fine_what_it_wants_and_why(
    daemon: Daemon, kubectl: Kubectl
):
    await kubectl.apply(document(warmFloor={"replicas": 2}))
    found = await seen(kubectl, REASON="DemandUnknown")
    assert {key: each for key, each in found.items() if key != "AGE"} == {
        "NAME": "llama",
        "TARGET": "llama",
        "MODE": "Active",
        "DESIRED": "2",
        "READY": "0",
        "FLOOR": "2",
        "OK": "True",
        "REASON": "DemandUnknown",
    }
    wide = await kubectl("get", "infas", "llama", "-n", "serving", "-o", "wide")
    assert "stays at 2 replicas: what is asked of it is unknown" in wide
    assert "; demand is unknown: no replica serves yet" in wide
    told = await conditions(kubectl)
    assert list(told) == [*ConditionType, "Paused"]
    assert (told["WarmPoolSatisfied"]["status"], told["WarmPoolSatisfied"]["reason"]) == (
        "False",
        "FloorNotReady",
    )
    began = {kind: each["lastTransitionTime"] for kind, each in told.items()}

    # Refused: the model goes on as it was, and the resource says which generation that is.
    await kubectl.apply(
        document(
            warmFloor={
                "replicas": 2,
                "schedules": [
                    {"from": "08:00", "to": "20:00", "replicas": 3, "timeZone": "Europe/Berln"}
                ],
            },
        )
    )
    assert (await seen(kubectl, REASON="Refused"))["OK"] == "False"
    told = await conditions(kubectl)
    assert told["Ready"]["message"].startswith(
        "not used, generation 1 stays in use: spec.warmFloor"
    )
    assert "write Europe/Berlin" in told["Ready"]["message"]
    assert (told["Ready"]["observedGeneration"], told["AbleToScale"]["observedGeneration"]) == (
        2,
        1,
    )
    same = [kind for kind, each in told.items() if each["lastTransitionTime"] == began[kind]]
    assert "AbleToScale" in same
    assert "WarmPoolSatisfied" in same

    # Mended, and only watched: `observedGeneration` follows, and nothing acts.
    await kubectl.apply(document(mode="Observe", maxReplicas=3))
    assert (await seen(kubectl, OK="True", FLOOR="0"))["MODE"] == "Observe"
    told = await conditions(kubectl)
    assert {each["observedGeneration"] for each in told.values()} == {3}
    assert (told["ScalingActive"]["status"], told["ScalingActive"]["reason"]) == (
        "False",
        "Observing",
    )
    outcomes = daemon.telemetry.status.status_writes
    assert outcomes.keys() == {"Written"}

    # Another one of that name is another resource: its status begins anew.
    await kubectl("delete", "infas", "llama", "-n", "serving")
    await kubectl.apply(document())
    await seen(kubectl, OK="True", FLOOR="0", MODE="Active")
    assert {each["observedGeneration"] for each in (await conditions(kubectl)).values()} == {1}
    await kubectl("delete", "infas", "llama", "-n", "serving")


async def test_a_target_that_does_not_exist_is_a_warning_that_names_what_there_is(
    daemon: Daemon, kubectl: Kubectl
):
    pools = [{"name": "main", "scaleTargetRef": {"name": "lama"}}]
    with structlog.testing.capture_logs() as logs:
        await kubectl.apply(document(pools=pools))
        assert (await seen(kubectl, OK="False"))["REASON"] == "TargetUnreadable"
        told = await conditions(kubectl)
        text = "Deployment/serving/lama does not exist; in serving there are: llama"
        assert told["AbleToScale"]["reason"] == "TargetMissing"
        assert {told["AbleToScale"]["message"], told["Ready"]["message"]} == {text}
        await until(lambda: [each for each in logs if each["event"] == "target.missing"])
        await kubectl.apply(document())
        await seen(kubectl, OK="True")
        await until(lambda: [each for each in logs if each["event"] == "target.found"])
        await until(lambda: daemon.telemetry.status.event_writes.get("Written", 0) >= 2)
    described = await kubectl("describe", "infas", "llama", "-n", "serving")
    events = [line.split() for line in described.partition("Events:")[2].splitlines()]
    assert ["Warning", "TargetMissing"] in [line[:2] for line in events]
    assert ["Normal", "ReadyForNewScale"] in [line[:2] for line in events]
    (warned,) = [each for each in logs if each["event"] == "target.missing"]
    assert (warned["log_level"], warned["model"]) == ("warning", "serving/llama")
    assert warned["message"] == text
    await kubectl("delete", "infas", "llama", "-n", "serving")
