from __future__ import annotations

import pytest
import structlog

from autoscaler.core.contract.commands import EvictPod
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import Observed
from autoscaler.daemon.loop import Handled
from autoscaler.daemon.telemetry.listeners.drains import DrainListener
from autoscaler.daemon.telemetry.metrics import Metrics
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


class Following:
    """A listener that is told of observations; what it logs of each."""

    def __init__(self) -> None:
        self.listener = DrainListener(Metrics(tuple))

    def follow(self, event: Observed, commands: tuple[EvictPod, ...] = ()) -> list[dict]:
        outcome = Outcome(commands=commands)
        with structlog.testing.capture_logs() as logs:
            self.listener.handled(
                Handled(event=event, outcome=outcome, observe_s=0.0, decide_s=0.0)
            )
        return logs


def test_a_drain_begins_with_the_first_eviction_not_with_the_notice():
    drains = Following()
    assert drains.follow(look(100, left=2)) == []
    assert drains.follow(look(101, left=2), (evict("on-demand-r0000"),)) == []
    (begun,) = drains.follow(look(102, left=2), EVICTION)
    assert (begun["event"], begun["node"]) == ("drain.started", "s1")
    assert drains.follow(look(103, left=2), EVICTION) == []


def test_it_ends_when_the_last_replica_is_gone():
    drains = Following()
    drains.follow(look(102, left=2), EVICTION)
    assert drains.follow(look(110, left=1)) == []
    (ended,) = drains.follow(look(125, left=0))
    assert (ended["node"], ended["outcome"]) == ("s1", "Finished")
    assert (ended["replicas"], ended["duration_s"]) == (2, 23.0)
    assert drains.follow(look(126, left=0)) == []


@pytest.mark.parametrize(
    ("last", "event", "outcome"),
    [
        pytest.param(look(161, left=1), "drain.overran", "Overran", id="the deadline comes first"),
        pytest.param(
            look(105, left=1, doomed=False), "drain.finished", "Withdrawn", id="it is taken back"
        ),
        pytest.param(
            look(150, left=0, doomed=False), "drain.finished", "Finished", id="node and replica go"
        ),
    ],
)
def test_it_ends_otherwise_too(last, event, outcome):
    drains = Following()
    drains.follow(look(102, left=2), EVICTION)
    (ended,) = drains.follow(last)
    assert (ended["event"], ended["outcome"]) == (event, outcome)
