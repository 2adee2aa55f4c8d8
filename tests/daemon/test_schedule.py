from __future__ import annotations

import math

import pytest

from autoscaler.core.contract.state import Interruption, InterruptionKind
from autoscaler.daemon.schedule import Schedule, is_urgent

LOST, TERMINATION = InterruptionKind.LOST, InterruptionKind.TERMINATION
DISRUPTION, RISK = InterruptionKind.DISRUPTION, InterruptionKind.RISK


def interruption(kind: InterruptionKind, *, noticed_at: float, deadline_at: float | None):
    return Interruption(
        node="n", kind=kind, source="x", noticed_at=noticed_at, deadline_at=deadline_at
    )


def schedule(at: float = 100.0) -> Schedule:
    return Schedule(tick_s=5.0, at=at)


def test_the_first_tick_is_due_at_once_and_the_next_on_the_grid():
    made = schedule()
    assert made.due_at == 100.0
    made.note_observation(at=100.3, interruptions=())
    assert made.due_at == 105.0
    made.note_observation(at=105.2, interruptions=())
    assert made.due_at == 110.0


def test_ticks_that_were_missed_are_skipped_not_made_up_for():
    made = schedule()
    made.note_observation(at=100.0, interruptions=())
    made.note_observation(at=123.0, interruptions=())
    assert made.due_at == 125.0


def test_an_early_cut_leaves_the_grid_where_it_is():
    made = schedule()
    made.note_observation(at=100.0, interruptions=())
    made.hasten(at=102.0, gap_s=0.1)
    assert made.due_at == 102.0
    made.note_observation(at=102.0, interruptions=())
    assert made.due_at == 105.0


def test_hastened_cuts_keep_their_distance():
    made = schedule()
    made.note_observation(at=100.0, interruptions=())
    made.hasten(at=100.1, gap_s=0.5)
    assert made.due_at == 100.5


def test_the_soonest_of_several_wishes_counts():
    made = schedule()
    made.note_observation(at=100.0, interruptions=())
    made.hasten(at=103.0, gap_s=0.5)
    made.hasten(at=102.0, gap_s=0.1)
    made.hasten(at=104.0, gap_s=0.1)
    assert made.due_at == 102.0


def test_while_an_interruption_runs_the_grid_is_a_second():
    made = schedule()
    doomed = interruption(TERMINATION, noticed_at=99.0, deadline_at=130.0)
    made.note_observation(at=100.0, interruptions=(doomed,))
    assert made.due_at == 101.0


@pytest.mark.parametrize(
    ("kind", "noticed_at", "deadline_at", "at", "urgent"),
    [
        pytest.param(TERMINATION, 0.0, 120.0, 119.0, True, id="before its deadline"),
        pytest.param(TERMINATION, 0.0, 120.0, 149.0, True, id="shortly after it"),
        pytest.param(TERMINATION, 0.0, 120.0, 151.0, False, id="long after it: it is over"),
        pytest.param(DISRUPTION, 0.0, None, 59.0, True, id="a drain that has just begun"),
        pytest.param(DISRUPTION, 0.0, None, 61.0, False, id="a drain that takes its time"),
        pytest.param(RISK, 0.0, None, 1.0, False, id="a risk: nothing is drained"),
        pytest.param(LOST, 0.0, None, 59.0, True, id="a node just lost"),
        pytest.param(LOST, 0.0, None, 61.0, False, id="a node that stays lost for hours"),
    ],
)
def test_what_is_urgent(kind, noticed_at, deadline_at, at, urgent):
    found = interruption(kind, noticed_at=noticed_at, deadline_at=deadline_at)
    assert is_urgent((found,), at=at) is urgent


def test_nothing_is_urgent_without_interruptions():
    assert not is_urgent((), at=math.inf)
