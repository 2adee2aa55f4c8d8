from __future__ import annotations

from autoscaler.core.contract.commands import EvictPod
from autoscaler.daemon.telemetry.listeners.drains import DrainOutcome, Drains
from tests.builders import group, model, notice, observed, on_demand, seen, spot

SPEC = model(pools=[on_demand(), spot()])
DEADLINE = 160.0


def look(at: float, *, left: int, doomed: bool = True):
    """The spot node with so many replicas; another node beside it."""
    return observed(
        seen(SPEC, group("on-demand", ready=1), group("spot", ready=left, node="s1")),
        at=at,
        interruptions=[notice("s1", deadline_at=DEADLINE)] if doomed else [],
    )


def evict(pod: str) -> EvictPod:
    return EvictPod(
        id="1.1", model=SPEC.key, expires_at=1e9, namespace="serving", pod=pod, grace_s=30
    )


EVICTION = (evict("spot-r0000"),)


def test_a_drain_begins_with_the_first_eviction_not_with_the_notice():
    drains = Drains()
    assert drains.follow(look(100, left=2), ()) == ([], [])
    assert drains.follow(look(101, left=2), (evict("on-demand-r0000"),)) == ([], [])
    assert drains.follow(look(102, left=2), EVICTION) == (["s1"], [])
    assert drains.follow(look(103, left=2), EVICTION) == ([], [])


def test_it_ends_when_the_last_replica_is_gone():
    drains = Drains()
    drains.follow(look(102, left=2), EVICTION)
    assert drains.follow(look(110, left=1), ()) == ([], [])
    ((), (ended,)) = map(tuple, drains.follow(look(125, left=0), ()))
    assert (ended.node, ended.outcome) == ("s1", DrainOutcome.FINISHED)
    assert (ended.replicas, ended.duration_s) == (2, 23.0)
    assert drains.follow(look(126, left=0), ()) == ([], [])


def test_it_has_overrun_when_the_deadline_comes_first():
    drains = Drains()
    drains.follow(look(102, left=2), EVICTION)
    _, (ended,) = drains.follow(look(161, left=1), ())
    assert ended.outcome is DrainOutcome.OVERRAN


def test_a_notice_that_is_taken_back_ends_it_too():
    drains = Drains()
    drains.follow(look(102, left=2), EVICTION)
    _, (ended,) = drains.follow(look(105, left=1, doomed=False), ())
    assert ended.outcome is DrainOutcome.WITHDRAWN


def test_a_node_that_went_with_its_last_replica_was_drained():
    drains = Drains()
    drains.follow(look(102, left=2), EVICTION)
    _, (ended,) = drains.follow(look(150, left=0, doomed=False), ())
    assert ended.outcome is DrainOutcome.FINISHED
