"""What a daemon that has not emptied a node in time is excused for: what it could not know, and nothing more.

The whole way, against a daemon that never drains: whatever is left on the machine is either excused or found.
"""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.tick.parts import Parts
from simulations.box.local_cluster.api.faults import ApiFault, ApiFaultKind
from tests.seeded.invariants import CLUSTER_AGE_S_MAX, came_too_late, heard_too_late
from tests.seeded.run import Length, Run, run_seed
from tests.seeded.test_killed_between_writes import NODE, NOTICE_S, scenario

SHORT_S, LONG_S = 30.0, 120.0
"""From a notice to the end of its machine."""
OTHER = "od-0"
FOUND = f"emptied or said why: {NODE} still held"


@pytest.mark.parametrize(
    ("lead_s", "hidden_s", "excused"),
    [
        pytest.param(SHORT_S, 0.0, False, id="it was told at once"),
        pytest.param(SHORT_S, 2.0, False, id="a moment late"),
        pytest.param(SHORT_S, 5.0, False, id="25 s were left"),
        pytest.param(SHORT_S, 5.1, True, id="fewer were left"),
        pytest.param(SHORT_S, 20.0, True, id="10 s were left"),
        pytest.param(SHORT_S, SHORT_S, True, id="it never was told"),
        pytest.param(LONG_S, 10.0, False, id="of two minutes ten seconds are few"),
        pytest.param(LONG_S, 30.0, False, id="and so are thirty"),
        pytest.param(LONG_S, 96.0, False, id="so long it has to say itself that it cannot see"),
        pytest.param(50.0, CLUSTER_AGE_S_MAX, True, id="the longest that a watch may look healthy"),
        pytest.param(50.0, CLUSTER_AGE_S_MAX + 1.0, False, id="longer"),
        pytest.param(15.0, 1.9, False, id="a short one, told a moment late"),
        pytest.param(15.0, 2.1, True, id="and later"),
    ],
)
def test_a_notice_that_was_hidden(lead_s, hidden_s, excused):
    found = heard_too_late(said_at=100.0, heard_at=100.0 + hidden_s, deadline_at=100.0 + lead_s)
    assert found is excused


@pytest.mark.parametrize(("before_s", "excused"), [(0.5, True), (1.9, True), (2.1, False)])
def test_a_pod_that_came_in_the_last_moment(before_s, excused):
    assert came_too_late(bound_at=100.0 - before_s, deadline_at=100.0) is excused


def idle(situation: Any, *, memory: Any, writes: Any, raised: Any) -> None:
    """A drain that does nothing."""


def relabel(run: Run, node: str) -> None:
    """Somebody writes on a Node what is no notice."""
    run.world.store.modify(
        "nodes", "", node, lambda obj: obj["metadata"]["labels"].update(shelf="7")
    )


def violations(*, dialect: str, lead_s: float, silent: tuple[float, float]) -> tuple[str, ...]:
    """Of a run in which a node is noticed, and the watches of Nodes are silent from and to a time after that.

    Soon after they fell silent another Node changes, of which nobody is told then.
    """

    def begin(run: Run) -> None:
        fault = ApiFault(kind=ApiFaultKind.HANG, verbs=frozenset({"watch"}), resource="nodes")
        faults, (begins_s, ends_s) = run.world.api.faults, silent
        run.later(NOTICE_S + begins_s, lambda: faults.inject(fault))
        run.later(NOTICE_S + ends_s, lambda: faults.lift(fault))
        run.later(NOTICE_S, lambda: run.give_notice(NODE, dialect, lead_s))
        run.later(NOTICE_S + begins_s + 2.0, lambda: relabel(run, OTHER))

    report = run_seed(
        1,
        plan=(),
        scenario=scenario(),
        length=Length(chaos_s=NOTICE_S + lead_s + 5.0, calm_s=1.0),
        parts=Parts(drain=idle),
        begin=begin,
    )
    return report.violations


@pytest.mark.slow
@pytest.mark.parametrize("hidden_s", [8.0, 20.0])
def test_a_short_notice_that_a_silent_watch_hid_is_excused(hidden_s):
    assert violations(dialect="gke", lead_s=SHORT_S, silent=(-1.0, hidden_s)) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dialect", "lead_s", "silent"),
    [
        pytest.param("gke", SHORT_S, (-1.0, 2.0), id="a moment alone"),
        pytest.param("gke", SHORT_S, (5.0, 28.0), id="silent once it was told"),
        pytest.param("nth", LONG_S, (-1.0, 20.0), id="a long notice, told in time"),
        pytest.param("nth", LONG_S, (105.0, 118.0), id="a long one, silent at its end"),
    ],
)
def test_nothing_else_is(dialect, lead_s, silent):
    (found,) = violations(dialect=dialect, lead_s=lead_s, silent=silent)
    assert found.startswith(FOUND)
