"""The election against API servers: one that behaves, one that fails in every way, and one that lies."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from autoscaler.kube.api.client import Client, connect
from autoscaler.kube.lease.contender import LeaseTimes
from autoscaler.kube.lease.election import (
    MARGIN_S,
    STOP_ANNOTATION,
    Election,
    PresentFence,
)
from simulations.box.local_cluster import LocalCluster
from simulations.box.local_cluster.api.faults import ApiFault, ApiFaultKind
from tests.kube.api_server import ScriptedServer, answer, page, refuse

pytestmark = pytest.mark.slow

NAMESPACE = "inference-autoscaler"
SHORT = LeaseTimes(lease_s=1.0, renew_s=0.6, retry_s=0.2, call_s=0.5)


class Skipping:
    """A monotonic clock that the test sends ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


class Room:
    """An API server, and processes that come and go."""

    def __init__(self, cluster: LocalCluster, client: Client) -> None:
        self.cluster, self.client = cluster, client
        self.unfit = ""

    @property
    def record(self) -> dict[str, Any]:
        found = self.cluster.store.find("leases", NAMESPACE, "one")
        return found["spec"] if found else {}

    def election(
        self,
        identity: str,
        *,
        times: LeaseTimes = SHORT,
        clock: Callable[[], float] = time.monotonic,
    ) -> Election:
        return Election(
            self.client,
            namespace=NAMESPACE,
            name="one",
            rng=random.Random(identity),
            identity=identity,
            times=times,
            clock=clock,
            unfit=lambda: self.unfit,
        )

    def given_back(self) -> None:
        """As a holder that was here before left it."""
        self.cluster.apply(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "one", "namespace": NAMESPACE, "labels": {"by": "hand"}},
                "spec": {"holderIdentity": "", "leaseTransitions": 7},
            }
        )

    def annotate(self, **annotations: str | None) -> None:
        """As `kubectl annotate` does."""

        def change(lease: dict[str, Any]) -> None:
            found = {**lease["metadata"].get("annotations", {}), **annotations}
            lease["metadata"]["annotations"] = {k: v for k, v in found.items() if v is not None}

        self.cluster.store.modify("leases", NAMESPACE, "one", change)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with (
        LocalCluster(controllers=False, folder=tmp_path) as cluster,
        await connect(str(cluster.kubeconfig)) as client,
    ):
        cluster.apply({"kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield Room(cluster, client)


@contextlib.asynccontextmanager
async def taking_part(election: Election) -> AsyncIterator[Election]:
    running = asyncio.create_task(election.run())
    try:
        yield election
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def until(holds: Callable[[], object], *, timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


async def test_the_first_makes_it_waits_and_holds_it_and_the_next_stands_by(room: Room):
    async with taking_part(room.election("a")) as first:
        await until(lambda: room.record)
        assert first.term() is None, "it may have been deleted under somebody"
        await until(first.term)
        async with taking_part(room.election("b")) as second:
            await until(lambda: second.holder == "a")
            for _ in range(20):
                await asyncio.sleep(0.1)
                assert (first.term(), second.term()) == (1, None)
    assert room.record["holderIdentity"] == "a"
    assert room.record["leaseTransitions"] == 0


async def test_what_else_stands_in_the_lease_stays(room: Room):
    room.given_back()
    async with taking_part(room.election("a")) as election:
        await until(election.term)
    found = room.cluster.store.get("leases", NAMESPACE, "one")
    assert found["metadata"]["labels"] == {"by": "hand"}
    assert found["spec"]["leaseTransitions"] == 8


@pytest.mark.parametrize(("value", "stops"), [("true", True), ("yes!", True), ("false", False)])
async def test_an_annotation_of_the_lease_stops_all_writes_until_it_is_taken_away(
    room: Room, value: str, *, stops: bool
):
    room.given_back()
    async with taking_part(room.election("a")) as election:
        await until(election.term)
        fence = election.fence()
        assert fence.write_s() > 0.0
        room.annotate(**{STOP_ANNOTATION: value})
        if not stops:
            for _ in range(10):
                await asyncio.sleep(0.1)
                assert election.term() == 1
            return
        await until(lambda: election.term() is None)
        assert fence.write_s() == PresentFence(election=election).write_s() == 0.0
        assert election.stopped.startswith("all writes are stopped by the annotation")
        assert value in election.stopped
        for _ in range(10):
            await asyncio.sleep(0.1)
            assert election.term() is None
        assert room.record["holderIdentity"] == "a", (
            "it holds the lease, so that nobody else begins"
        )
        room.annotate(**{STOP_ANNOTATION: None})
        await until(election.term)
        assert fence.write_s() > 0.0


async def test_who_is_killed_is_followed_once_the_lease_has_run_out(room: Room):
    room.given_back()
    async with taking_part(room.election("a")) as first:
        await until(first.term)
    async with taking_part(room.election("b")) as second:
        await until(lambda: second.holder == "a")
        await until(second.term)
        assert first.term() is None
    assert room.record["holderIdentity"] == "b"


async def test_who_gives_it_back_is_followed_at_once(room: Room):
    room.given_back()
    slow = LeaseTimes(lease_s=50.0, renew_s=30.0, retry_s=0.2)
    first, second = (room.election(name, times=slow) for name in ("a", "b"))
    running = asyncio.create_task(first.run())
    await until(first.term)
    async with taking_part(second):
        await until(lambda: second.holder == "a")
        running.cancel()
        await asyncio.wait((running,))
        with structlog.testing.capture_logs() as logs:
            await first.release(drained=True)
        assert logs[0]["event"] == "lease.released"
        assert first.term() is None
        await until(second.term, timeout_s=5.0)
    assert room.record["leaseTransitions"] == 9


async def test_with_a_write_on_its_way_it_is_left_to_run_out(room: Room):
    room.given_back()
    for drained in (False, True):
        election = room.election(f"a{drained}")
        async with taking_part(election):
            await until(election.term)
            if drained:
                election.fence().note_unanswered()
        with structlog.testing.capture_logs() as logs:
            await election.release(drained=drained)
        assert [line["event"] for line in logs] == ["lease.kept"]
        assert election.term() is None
        assert room.record["holderIdentity"] == election.identity


async def test_a_status_on_its_way_does_not_keep_it_from_being_given_back(room: Room):
    room.given_back()
    election = room.election("a")
    async with taking_part(election):
        await until(election.term)
        PresentFence(election=election).note_unanswered()
    await election.release(drained=True)
    assert room.record["holderIdentity"] == ""


async def test_who_decides_nothing_any_more_lets_it_run_out(room: Room):
    room.given_back()
    async with taking_part(room.election("a")) as election:
        await until(election.term)
        with structlog.testing.capture_logs() as logs:
            room.unfit = "the loop has not come round for 40 s"
            await until(lambda: election.term() is None and logs)
        (line,) = logs
        assert (line["event"], line["message"]) == ("lease.lost", room.unfit)
        room.unfit = ""
        await until(election.term)
        assert election.term() == 2
    assert (election.gained_total, election.lost_total) == (2, 1)


@pytest.mark.parametrize(
    "kind",
    [
        ApiFaultKind.HANG,
        ApiFaultKind.RESET,
        ApiFaultKind.BAD_GATEWAY,
        ApiFaultKind.UNAVAILABLE,
        ApiFaultKind.FORBIDDEN,
        ApiFaultKind.CONFLICT,
        ApiFaultKind.ANSWER_LOST,
    ],
)
async def test_a_server_that_fails_leaves_no_holder_and_one_that_is_mended_has_one(
    room: Room, kind: ApiFaultKind
):
    room.given_back()
    async with taking_part(room.election("a")) as first, taking_part(room.election("b")) as second:
        await until(lambda: first.term() or second.term())
        with room.cluster.faults.during(ApiFault(kind=kind, resource="leases")):
            await until(lambda: not first.term() and not second.term())
            for _ in range(10):
                await asyncio.sleep(0.1)
                assert (first.term(), second.term()) == (None, None)
        await until(lambda: first.term() or second.term())
        assert not (first.term() and second.term())


async def test_one_lost_answer_costs_nothing(room: Room):
    room.given_back()
    roomy = LeaseTimes(lease_s=3.0, renew_s=2.0, retry_s=0.2, call_s=0.5)
    lost = ApiFault(
        kind=ApiFaultKind.ANSWER_LOST, resource="leases", verbs=frozenset({"update"}), times=1
    )
    async with taking_part(room.election("a", times=roomy)) as election:
        await until(election.term)
        room.cluster.faults.inject(lost)
        await room.cluster.faults.hit(lost)
        renewed = room.record["renewTime"]
        await until(lambda: room.record["renewTime"] != renewed)
        assert election.term() == 1
    assert election.lost_total == 0


async def test_a_trouble_is_said_once_and_once_that_it_is_over(room: Room):
    room.given_back()
    refused = ApiFault(kind=ApiFaultKind.FORBIDDEN, resource="leases")
    with structlog.testing.capture_logs() as logs:
        async with taking_part(room.election("a")) as election:
            await until(election.term)
            with room.cluster.faults.during(refused):
                await until(lambda: election.term() is None and election.failures_total > 3)
            await until(election.term)
    assert [line["event"] for line in logs] == [
        "lease.gained",
        "lease.failed",
        "lease.lost",
        "lease.recovered",
        "lease.gained",
    ]
    assert "grant it (see deploy/)" in logs[1]["message"]
    assert "grant it (see deploy/)" in logs[2]["message"], "why it was lost"


@pytest.mark.parametrize("held", [False, True])
async def test_one_that_can_be_read_and_not_written_is_said_once_and_is_no_daemon_to_count_on(
    room: Room, held
):
    if held:  # by one that died
        async with taking_part(room.election("a")) as first:
            await until(first.term)
    refused = ApiFault(
        kind=ApiFaultKind.FORBIDDEN, resource="leases", verbs=frozenset({"create", "update"})
    )
    clock = Skipping()
    with structlog.testing.capture_logs() as logs, room.cluster.faults.during(refused):
        election = room.election("b", clock=clock)
        async with taking_part(election):
            await until(lambda: election.failures_total >= 3)
            assert election.silence() == ""
            clock.ahead_s += 31.0
            await until(lambda: election.failures_total >= 5)
            assert "lacks the verb" in election.silence()
    assert [line["event"] for line in logs].count("lease.failed") == 1
    assert "lease.recovered" not in [line["event"] for line in logs]


async def test_the_fence_is_of_its_term_and_closes_before_the_lease_runs_out(room: Room):
    room.given_back()
    election = room.election("a", times=LeaseTimes(lease_s=3.0, renew_s=0.6, retry_s=0.2))
    assert election.fence().write_s() == 0.0
    async with taking_part(election):
        await until(election.term)
        fence, present = election.fence(), PresentFence(election=election)
        assert 3.0 - 0.6 - MARGIN_S < fence.write_s() <= 3.0 - MARGIN_S
        room.unfit = "x"
        await until(lambda: election.term() is None)
        assert fence.write_s() == present.write_s() == 0.0
        room.unfit = ""
        await until(election.term)
        assert fence.write_s() == 0.0, "what was decided then is not done now"
        assert election.fence().write_s() > 0.0
        assert present.write_s() > 0.0, "how things are may be said in any term"


LEASE = {
    "metadata": {"name": "one", "namespace": NAMESPACE, "resourceVersion": "7", "uid": "u"},
    "spec": {"holderIdentity": "", "leaseDurationSeconds": 1},
}


@pytest.mark.parametrize(
    "lie",
    [
        answer({"kind": "Lease", "metadata": {"resourceVersion": "8"}, "spec": {}}),
        answer({}),
        answer(LEASE),
        answer({"kind": "Status", "status": "Success", "metadata": {}}),
        page(200),
        refuse(500, "InternalError", "etcdserver: leader changed"),
    ],
)
async def test_only_the_lease_itself_is_an_answer_to_a_write(tmp_path: Path, lie):
    async with ScriptedServer() as server:

        async def step(request):
            return await (answer(LEASE) if request.method == "GET" else lie)(request)

        server.always["call"] = step
        async with await server.client(tmp_path) as client:
            election = Election(
                client, namespace=NAMESPACE, name="one", rng=random.Random(1), times=SHORT
            )
            async with taking_part(election):
                await until(lambda: sum(r.method == "PUT" for r in server.requests) >= 2)
                assert election.term() is None
                assert election.failures_total >= 1


async def test_a_lease_that_cannot_be_read_is_nobodys_and_says_so(tmp_path: Path):
    broken = {**LEASE, "spec": {"holderIdentity": ["x"]}}
    async with ScriptedServer() as server:
        server.always["call"] = answer(broken)
        async with await server.client(tmp_path) as client:
            election = Election(
                client, namespace=NAMESPACE, name="one", rng=random.Random(1), times=SHORT
            )
            async with taking_part(election):
                await until(lambda: election.failures_total >= 2)
    assert "holderIdentity: a text" in election.problem
    assert election.problem.endswith("delete it")
    assert {request.method for request in server.requests} == {"GET"}
