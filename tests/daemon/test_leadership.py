"""Two whole daemons in this process and one Lease: one acts, the other knows what it would do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from autoscaler import app
from autoscaler.app import DaemonOptions
from autoscaler.daemon.telemetry.metrics import PREFIX
from autoscaler.errors import SettingsError
from autoscaler.kube.api import access
from autoscaler.kube.lease.contender import LeaseTimes
from simulations.box.local_cluster.api.faults import ApiFault, ApiFaultKind
from tests.daemon.live import Live, live, until

SHORT = LeaseTimes(lease_s=2.0, renew_s=1.2, retry_s=0.4, call_s=1.0)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as made:
        made.cluster.apply({"kind": "Namespace", "metadata": {"name": "inference-autoscaler"}})
        yield made


@contextlib.asynccontextmanager
async def daemon(scene: Live, name: str) -> AsyncIterator[app.Daemon]:
    folder = scene.folder / name
    async with scene.daemon(leader_elect=True, lease_times=SHORT, record=folder) as made:
        made.config_watch._poll_s = 0.05
        await until(lambda: made.telemetry.status.unready() == ())
        yield made


def commands(made: app.Daemon, reason: str) -> float:
    labels = {"command": "SetReplicas", "reason": reason}
    return made.telemetry.registry.get_sample_value(f"{PREFIX}commands_total", labels) or 0.0


def leads(made: app.Daemon) -> bool:
    return made.telemetry.registry.get_sample_value(f"{PREFIX}leader") == 1.0


def desired(made: app.Daemon) -> int:
    return made.telemetry.status.page()["models"][0]["desired_replicas"]


def replicas(scene: Live) -> int:
    return scene.replicas("llama-spot") + scene.replicas("llama-on-demand")


def written(scene: Live) -> int:
    """Writes that are not the election's."""
    return sum(
        request.verb not in ("get", "list", "watch") and request.resource != "leases"
        for request in scene.cluster.api.requests
    )


@pytest.mark.slow
async def test_one_acts_and_the_other_decides_the_same_until_it_takes_over(scene: Live):
    async with contextlib.AsyncExitStack() as stays, contextlib.AsyncExitStack() as goes:
        first = await goes.enter_async_context(daemon(scene, "a"))
        scene.pods.running, scene.pods.waiting = 60, 20
        await until(lambda: replicas(scene) == 4)
        assert leads(first)
        second = await stays.enter_async_context(daemon(scene, "b"))
        await until(lambda: desired(second) == 4)
        before = written(scene)
        scene.write_config(maxReplicas=6)
        await until(lambda: replicas(scene) == 6)
        assert written(scene) == before + 1
        assert not leads(second)
        assert second.telemetry.status.unready() == ()
        assert first.election.identity in second.telemetry.status.standing_by()
        assert second.telemetry.status.page()["lease"]["holder"] == first.election.identity
        assert commands(second, "Accepted") == 0
        await goes.aclose()
        await until(lambda: leads(second))
        scene.write_config(maxReplicas=7)
        await until(lambda: replicas(scene) == 7)
        await until(lambda: commands(second, "Accepted") == 1)
        assert not leads(first)


@pytest.mark.slow
async def test_with_the_lease_out_of_reach_nothing_is_written_though_all_else_can_be(scene: Live):
    async with daemon(scene, "a") as made:
        await until(lambda: leads(made))
        out = ApiFault(kind=ApiFaultKind.HANG, resource="leases")
        with scene.cluster.faults.during(out):
            await until(lambda: not leads(made))
            before = written(scene)
            scene.pods.running, scene.pods.waiting = 60, 20
            await until(lambda: desired(made) == 4)
            await until(lambda: commands(made, "Standby") >= 3)
            assert written(scene) == before
        await until(lambda: replicas(scene) == 4)
        assert made.election.lost_total == 1


@pytest.mark.slow
async def test_a_write_that_hangs_is_given_up_while_the_lease_still_lasts(scene: Live):
    hangs = ApiFault(
        kind=ApiFaultKind.HANG, resource="deployments/scale", verbs=frozenset({"update"})
    )
    async with daemon(scene, "a") as made:
        await until(lambda: leads(made))
        with scene.cluster.faults.during(hangs):
            scene.pods.running, scene.pods.waiting = 60, 20
            # the time-out of a command is ten seconds, that of this lease two
            await until(lambda: commands(made, "Unavailable") >= 1, timeout_s=5.0)
        await until(lambda: replicas(scene) == 4)


# -- when there is an election


@pytest.mark.parametrize(
    ("given", "pod", "elects"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"kubeconfig": "here"}, True, False),
        ({"context": "x"}, True, False),
        ({"leader_elect": True}, False, True),
        ({"leader_elect": False}, True, False),
        ({"dry_run": True}, True, False),
    ],
)
def test_where_there_is_an_election(given, pod, elects, tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if pod:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert DaemonOptions(config=tmp_path, **given).elects() is elects


def test_a_dry_run_takes_no_lease(tmp_path):
    with pytest.raises(SettingsError, match="a dry run writes nothing"):
        DaemonOptions(config=tmp_path, dry_run=True, leader_elect=True).elects()


def test_the_namespace_of_the_pod_is_the_one_that_is_mounted(tmp_path):
    assert access.pod_namespace(tmp_path) == ""
    (tmp_path / "namespace").write_text("team\n")
    assert access.pod_namespace(tmp_path) == "team"
