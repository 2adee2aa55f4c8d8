"""Two daemons as processes and one Lease, on a real API server: its audit log says who wrote what.

Each has an account of its own. Nothing else acts: the replicas that are asked for never come, so that every higher
maximum in the configuration is one more write, of whoever acts.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.kube.api.client import Client
from autoscaler.kube.api.resources import DEPLOYMENTS, LEASES, NODES, PODS, REPLICA_SETS
from tests.daemon.live import Pods, until
from tests.kube.control_plane import (
    ACCOUNT,
    ACCOUNTS,
    BINDINGS,
    NAMESPACE,
    NAMESPACES,
    ControlPlane,
    binding,
    create,
    set_status,
)
from tests.kube.test_control_plane import owned
from tests.require import ROOT
from tests.test_settings import document

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

HOME = "inference-autoscaler"
TAKEOVER_S = 15.0
"""12 s by the times of the lease; the rest is this machine's, which has more to do."""
RELEASE_S = 6.0
"""A look of who stands by, two seconds, and the same."""
AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
"""
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z"}


class Daemon:
    """`autoscaler run` of one account."""

    def __init__(self, room: Room, account: str, number: int, *more: str) -> None:
        self.account = account
        self._log = room.folder / f"{account}-{number}.log"
        self._arguments = (
            "run",
            f"--config={room.config}",
            f"--kubeconfig={room.folder / f'{account}.kubeconfig'}",
            "--leader-elect",
            "--listen=127.0.0.1:0",
            "--debug-listen=",
            "--tick-seconds=0.5",
            "--dcgm-selector=",
            "--log-format=json",
            *more,
        )
        self.process: Any = None

    async def start(self) -> None:
        with self._log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "autoscaler.cli", *self._arguments,
                stdout=log, stderr=log, cwd=ROOT,
            )  # fmt: skip

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = self._log.read_text().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.endswith("\n")]
        return [line for line in told if line["event"] == event]

    def leads(self) -> bool:
        return len(self.said("lease.gained")) > len(self.said("lease.lost"))

    async def end(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            await self.process.wait()


class Room:
    """The API server, one model, and the daemons that come and go."""

    def __init__(self, control_plane: ControlPlane, admin: Client, folder: Path) -> None:
        self.folder, self.admin = folder, admin
        self.config = folder / "config.yaml"
        self.pods = Pods()
        self._control_plane = control_plane
        self._daemons: list[Daemon] = []
        self._maximum = 2

    async def set_up(self) -> None:
        await self._control_plane.set_up(self.admin)
        await create(self.admin, NAMESPACES, {"metadata": {"name": HOME}})
        for account in ("a", "b"):
            await create(self.admin, ACCOUNTS, {"metadata": {"name": account}}, namespace=NAMESPACE)
            rights = binding(account, to=account)
            rights["roleRef"]["name"] = ACCOUNT
            await create(self.admin, BINDINGS, rights)
            await self._write_kubeconfig(account)
        await self._make_model()
        self.pods.running, self.pods.waiting = 200, 200
        await self.pods.start()
        self.write_config()

    async def _write_kubeconfig(self, account: str) -> None:
        """Of the administrator's, with the account's token in place of the certificate."""
        answer = await self.admin.call(
            "create", ACCOUNTS, namespace=NAMESPACE, name=account, subresource="token",
            body={"spec": {"expirationSeconds": 3600}},
        )  # fmt: skip
        found = yaml.safe_load((self._control_plane.folder / "admin.kubeconfig").read_text())
        found["users"] = [{"name": "admin", "user": {"token": answer["status"]["token"]}}]
        (self.folder / f"{account}.kubeconfig").write_text(yaml.safe_dump(found))

    async def _make_model(self) -> None:
        labels = {"app": "llama"}
        spec = {"containers": [{"name": "vllm", "image": "vllm"}]}
        template = {"metadata": {"labels": labels}, "spec": spec}
        body = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        deployment = await create(
            self.admin,
            DEPLOYMENTS,
            {"metadata": {"name": "llama"}, "spec": body},
            namespace=NAMESPACE,
        )
        owner = {"name": "llama-1", "ownerReferences": [owned(deployment)]}
        replica_set = await create(
            self.admin, REPLICA_SETS, {"metadata": owner, "spec": body}, namespace=NAMESPACE
        )
        await set_status(
            self.admin, DEPLOYMENTS, "llama", {"observedGeneration": 1}, namespace=NAMESPACE
        )
        await create(self.admin, NODES, {"metadata": {"name": "n"}})
        await set_status(self.admin, NODES, "n", {"conditions": [READY]})
        metadata = {"name": "llama-1-a", "labels": labels, "ownerReferences": [owned(replica_set)]}
        pod = {"metadata": metadata, "spec": {**spec, "nodeName": "n"}}
        await create(self.admin, PODS, pod, namespace=NAMESPACE)
        told = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [READY]}
        await set_status(self.admin, PODS, "llama-1-a", told, namespace=NAMESPACE)

    def write_config(self) -> None:
        made = document(
            pools=[{"name": "pool", "scaleTargetRef": {"name": "llama"}, "priceUSDPerHour": "1"}],
            metrics={"port": self.pods.port, "periodSeconds": 1},
            maxReplicas=self._maximum,
        )
        self.config.write_text(yaml.safe_dump(made))

    async def start(self, account: str, *more: str) -> Daemon:
        made = Daemon(self, account, len(self._daemons), *more)
        self._daemons.append(made)
        await made.start()
        await until(lambda: made.said("cluster.synced"))
        return made

    async def ask_for_more(self) -> None:
        """One more replica, written by somebody."""
        self._maximum += 1
        self.write_config()
        async with asyncio.timeout(30):
            while await self.replicas() != self._maximum:
                await asyncio.sleep(0.2)

    async def replicas(self) -> int:
        found = await self.admin.call("get", DEPLOYMENTS, namespace=NAMESPACE, name="llama")
        return found["spec"]["replicas"]

    async def lease(self) -> dict[str, Any]:
        found = await self.admin.call("get", LEASES, namespace=HOME, name=HOME)
        return found["spec"]

    def audited(self) -> list[dict[str, Any]]:
        """What was written, or was to be, so far, in order."""
        lines = (self.folder / "audit.log").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def writers(self, *, since: int = 0) -> list[str]:
        """Accounts of the daemons whose writes were accepted, the lease's left out, in order."""
        prefix = f"system:serviceaccount:{NAMESPACE}:"
        return [
            each["user"]["username"].removeprefix(prefix)
            for each in self.audited()[since:]
            if each["user"]["username"].startswith(prefix)
            and each["objectRef"]["resource"] != "leases"
            and each["responseStatus"]["code"] < 300
        ]

    async def end(self) -> None:
        for each in self._daemons:
            await each.end()
        await self.pods.stop()


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    policy = tmp_path / "audit.yaml"
    policy.write_text(AUDIT)
    monkeypatch.setenv(
        "APISERVER_ARGS",
        f"--audit-policy-file={policy} --audit-log-path={tmp_path / 'audit.log'} "
        "--audit-log-mode=blocking-strict",
    )
    control_plane = ControlPlane(tmp_path / "control-plane")
    await control_plane.script("start")
    try:
        async with await control_plane.admin() as admin:
            made = Room(control_plane, admin, tmp_path)
            await made.set_up()
            try:
                yield made
            finally:
                await made.end()
    finally:
        await control_plane.script("stop")


async def test_one_acts_whatever_becomes_of_the_other(room: Room):
    first = await room.start("a")
    await until(first.leads)
    await room.ask_for_more()
    second = await room.start("b")
    await until(lambda: second.said("lease.held"))
    await room.ask_for_more()
    assert set(room.writers()) == {"a"}
    assert second.said("scale.applied") == second.said("scale.decided") == []

    # Killed: nothing is given back, and the lease runs out.
    first.process.kill()
    await until(second.leads, timeout_s=TAKEOVER_S)
    mark = len(room.audited())
    await room.ask_for_more()
    assert set(room.writers(since=mark)) == {"b"}
    assert (await room.lease())["leaseTransitions"] == 1

    # Stopped, as a machine that hangs: another takes over, and when it goes on it writes nothing.
    third = await room.start("a")
    await until(lambda: third.said("lease.held"))
    second.process.send_signal(signal.SIGSTOP)
    await until(third.leads, timeout_s=TAKEOVER_S)
    mark = len(room.audited())
    assert second.leads(), "it does not know yet"
    await room.ask_for_more()
    second.process.send_signal(signal.SIGCONT)
    await room.ask_for_more()
    await until(lambda: not second.leads())
    await room.ask_for_more()
    assert room.writers(since=mark) == ["a"] * 3
    assert_the_lease_was_never_taken_back(room.audited()[mark:], account="b")
    assert second.said("command.broke") == second.said("task.broke") == []

    # Asked to end: it gives the lease back, and need not be waited for.
    third.process.send_signal(signal.SIGTERM)
    await until(second.leads, timeout_s=RELEASE_S)
    assert await third.process.wait() == 0
    assert third.said("lease.released")
    mark = len(room.audited())
    await room.ask_for_more()
    assert set(room.writers(since=mark)) == {"b"}
    assert (await room.lease())["leaseTransitions"] == 3


def assert_the_lease_was_never_taken_back(audited: list[dict[str, Any]], *, account: str) -> None:
    for each in audited:
        if each["user"]["username"].endswith(f":{account}"):
            assert each["objectRef"]["resource"] == "leases", each
            assert each["responseStatus"]["code"] == 409, each
