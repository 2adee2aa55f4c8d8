"""A history taken in by the engine: as if it had been running, and nothing twice."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.contract.events import Event, HistoryRead
from autoscaler.core.contract.history import HistoryColumns, HistoryEnd
from autoscaler.core.contract.spec import ForecastMode, Mode
from autoscaler.core.engine import build_engine
from autoscaler.core.forecast.residuals import HALF_ATOMS, LEADS_S
from autoscaler.core.guards.stabilization import down_window_s
from tests.builders import model, specified
from tests.core.checkpoints import through_json
from tests.core.history.days import (
    BEGIN_AT,
    DAY_S,
    TICK_S,
    Looking,
    Traffic,
    ramps_at_eight,
    spec,
)

pytestmark = pytest.mark.slow
HOUR_S = 3600.0
RESTART_S = 2 * DAY_S + 6 * HOUR_S
"""Two hours before the ramp of the third day."""


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return Traffic.of(ramps_at_eight, seconds=RESTART_S + 4 * HOUR_S)


def restarted(traffic: Traffic, *, at: float = RESTART_S, **what: object) -> Looking:
    looking = Looking(traffic, spec(**what))
    looking.begin(at)
    return looking


def proposals(looking: Looking) -> np.ndarray:
    return np.array(
        [
            math.nan if d.proposal_replicas is None else d.proposal_replicas
            for d in looking.decisions
        ]
    )


@pytest.mark.timeout(600)
def test_two_days_read_propose_before_the_third_mornings_ramp_what_two_days_lived_do(traffic):
    lived = Looking(traffic, spec())
    lived.begin(0.0)
    lived.look(6 * HOUR_S, RESTART_S)
    read, blank = restarted(traffic), restarted(traffic)
    taken = read.read(traffic.history(since=6 * HOUR_S, until=RESTART_S), at=RESTART_S)
    assert taken.end is HistoryEnd.TAKEN
    assert (taken.rows, taken.known_ratio) == (2880, 1.0)
    for looking in (lived, read, blank):
        looking.decisions.clear()
        looking.look(RESTART_S, RESTART_S + 4 * HOUR_S)
    as_lived, as_read, as_blank = (proposals(each) for each in (lived, read, blank))
    difference = float(np.mean(np.abs(as_lived - as_read)))
    print(f"\n{difference:.3f} replicas; blank {np.nanmean(np.abs(as_lived - as_blank)):.3f}")
    assert difference <= 0.15
    assert np.max(np.abs(as_lived - as_read)) <= 1
    for replicas in range(4, int(as_lived.max()) + 1):
        first = [float(np.argmax(each >= replicas)) * TICK_S for each in (as_lived, as_read)]
        assert abs(first[0] - first[1]) <= 180.0, f"{replicas} replicas are asked for at one time"
    assert np.nanmean(np.abs(as_lived - as_blank)) >= 3 * difference, "else nothing was learnt"


def test_a_history_foresees_at_once(traffic):
    read, blank = restarted(traffic), restarted(traffic)
    read.read(traffic.history(until=RESTART_S), at=RESTART_S)
    for looking in (read, blank):
        looking.look(RESTART_S, RESTART_S + 60.0)
    assert read.decisions[0].measures.forecast_replicas is not None
    assert blank.decisions[-1].measures.forecast_replicas is None
    assert read.memory.demand.service_time.measured_s == pytest.approx(8.0, rel=0.05)
    assert "offered load" in read.decisions[0].trail[0].message, "the service time is known"


@pytest.mark.parametrize("cold_start_s", [60.0, 180.0, 600.0])
def test_a_restart_with_a_history_shrinks_nothing_before_a_window_was_seen(traffic, cold_start_s):
    """The window is of what was observed, whatever is remembered of before."""
    looking = restarted(traffic, cold_start_s=cold_start_s)
    looking.spec = replace(looking.spec, mode=Mode.ACTIVE)
    looking.begin(RESTART_S)
    looking.read(traffic.history(until=RESTART_S), at=RESTART_S)
    looking.look(RESTART_S, RESTART_S + HOUR_S)
    first = looking.decisions[0]
    assert first.proposal_replicas < first.current_replicas, "the history says that it could"
    shrinks = next(
        decision.at
        for decision in looking.decisions
        if decision.desired_replicas < decision.current_replicas
    )
    window_s = down_window_s(looking.spec, cold_start_s=cold_start_s)
    assert shrinks - first.at >= window_s > 0.0


def test_nothing_is_learnt_twice(traffic):
    read = restarted(traffic)
    history = traffic.history(until=RESTART_S)
    read.read(history, at=RESTART_S)
    before = read.engine.checkpoint()
    again = read.read(history, at=RESTART_S + 1.0)
    assert again.end is HistoryEnd.NOTHING_NEW
    assert (again.rows, again.left_out) == (0, len(history))
    after = read.engine.checkpoint()
    assert after.pop("at") != before.pop("at")
    assert after == before


def test_what_was_observed_is_left_out(traffic):
    """A history that comes late, and reaches up to now, teaches what was before the first look."""
    until_s = 600.0
    late, early = restarted(traffic), restarted(traffic)
    early.read(traffic.history(until=RESTART_S), at=RESTART_S)
    for looking in (late, early):
        looking.look(RESTART_S, RESTART_S + until_s)
    taken = late.read(traffic.history(until=RESTART_S + until_s), at=RESTART_S + until_s)
    assert taken.until_at == BEGIN_AT + RESTART_S
    assert taken.left_out == until_s / 60.0
    for looking in (late, early):
        looking.decisions.clear()
        looking.look(RESTART_S + until_s, RESTART_S + until_s + HOUR_S)
    assert np.max(np.abs(proposals(late) - proposals(early))) <= 1
    assert np.mean(np.abs(proposals(late) - proposals(early))) <= 0.1


def test_a_late_history_changes_nothing_that_was_learnt_since(traffic):
    """What ticks have put by slot stays where it is: their residuals are taken in as without it."""
    seen = []
    for with_history in (True, False):
        looking = restarted(traffic)
        looking.look(RESTART_S, RESTART_S + 300.0)
        before = looking.memory.forecast.busy.seen.copy()
        if with_history:
            looking.read(traffic.history(until=RESTART_S), at=RESTART_S + 300.0)
            before = looking.memory.forecast.busy.seen.copy()
        looking.look(RESTART_S + 300.0, RESTART_S + 1500.0)
        seen.append(looking.memory.forecast.busy.seen - before)
    # batches end at other ticks, so one of them may lie between
    assert np.max(np.abs(seen[0] - seen[1])) <= 36


def test_a_model_that_is_not_there_is_a_typed_nothing(traffic):
    looking = restarted(traffic)
    before = looking.engine.checkpoint()
    event = HistoryRead(
        id=3, at=BEGIN_AT + RESTART_S, model="serving/gone", history=traffic.history(until=600.0)
    )
    outcome = looking.engine.handle(event)
    assert outcome.history is not None
    assert outcome.history.end is HistoryEnd.UNKNOWN_MODEL
    assert (outcome.decisions, outcome.commands) == ((), ())
    after = looking.engine.checkpoint()
    del before["at"], after["at"]
    assert after == before
    assert build_engine().handle(event).history == outcome.history, "nor before any specification"


def shuffled(history: HistoryColumns, rows: np.ndarray) -> HistoryColumns:
    parts = {
        name: getattr(history, name)[rows] for name in HistoryColumns.__slots__ if name != "span_s"
    }
    return HistoryColumns(span_s=history.span_s, **parts)


def test_the_order_of_rows_and_rows_that_are_there_twice_change_nothing(traffic):
    history = traffic.history(until=RESTART_S, since=RESTART_S - 6 * HOUR_S)
    rows = np.arange(len(history))
    twice = np.concatenate([rows[::-1], rows[::3]])
    plain, odd = restarted(traffic), restarted(traffic)
    plain.read(history, at=RESTART_S)
    taken = odd.read(shuffled(history, twice), at=RESTART_S)
    assert taken.left_out == len(rows[::3])
    assert odd.engine.checkpoint() == plain.engine.checkpoint()


def holed(history: HistoryColumns, rows: slice, value: float) -> HistoryColumns:
    """With this value in every column of some rows."""
    parts = {}
    for name in HistoryColumns.__slots__:
        if name not in ("at", "span_s"):
            column = getattr(history, name).copy()
            column[rows] = value
            parts[name] = column
    return replace(history, **parts)


@pytest.mark.parametrize("value", [math.nan, -3.0, math.inf])
def test_a_gap_and_a_counter_that_began_anew_are_unknown_and_not_zero(traffic, value):
    """Three hours at noon of which nothing is known: no ramp down, no ramp up, no idle model."""
    noon = slice(720, 900)  # minutes of the second day
    history = traffic.history(until=RESTART_S, since=DAY_S)
    whole, gap, zero = restarted(traffic), restarted(traffic), restarted(traffic)
    whole.read(history, at=RESTART_S)
    taken = gap.read(holed(history, noon, value), at=RESTART_S)
    assert taken.rows == len(history) - 180
    assert taken.known_ratio == pytest.approx(1.0 - 180 / len(history))
    zero.read(holed(history, noon, 0.0), at=RESTART_S)
    for looking in (whole, gap, zero):
        looking.look(RESTART_S, RESTART_S + HOUR_S)
    longest = len(LEADS_S) - 1
    assert gap.memory.forecast.idle.seen[longest] == 0.0
    assert zero.memory.forecast.idle.seen[longest] > 0.0
    assert np.max(np.abs(proposals(gap) - proposals(whole))) <= 1
    assert np.mean(np.abs(proposals(gap) - proposals(whole))) <= 0.1
    far = [_far(each) for each in (whole, gap, zero)]
    assert far[1] == pytest.approx(far[0], abs=0.003)
    assert far[2] > far[0] + 0.01, "else a zero would have been harmless"


def _far(looking: Looking) -> float:
    """The share of demand that was more than four replicas off (at one replica), the longest lead ahead."""
    busy = looking.memory.forecast.busy
    shares = busy.mass[-1, 0] / busy.total[-1]
    return float(shares[np.abs(HALF_ATOMS) > 1.1].sum())


def test_a_model_whose_forecast_is_off_learns_how_long_requests_take(traffic):
    looking = restarted(traffic, forecast=ForecastMode.OFF)
    taken = looking.read(traffic.history(until=RESTART_S), at=RESTART_S)
    assert taken.end is HistoryEnd.TAKEN
    assert looking.memory.demand.service_time.measured_s is not None
    assert not looking.memory.forecast.busy.seen.any()


def test_the_event_is_read_back_as_it_was_written(traffic):
    history = holed(traffic.history(until=6 * HOUR_S), slice(3, 9), math.nan)
    event = HistoryRead(id=7, at=BEGIN_AT, model="serving/llama", history=history)
    read = through_json(event, Event)
    for name in HistoryColumns.__slots__:
        assert np.array_equal(getattr(read.history, name), getattr(history, name), equal_nan=True)
    assert (read.id, read.at, read.model) == (7, BEGIN_AT, "serving/llama")


def test_a_checkpoint_with_a_history_is_no_larger_than_one_of_a_life(traffic):
    """It is what is learnt that is kept, and not the rows."""

    def size(looking: Looking) -> int:
        return len(msgspec.json.encode(looking.engine.checkpoint()))

    read, blank = restarted(traffic), restarted(traffic)
    read.read(traffic.history(until=RESTART_S), at=RESTART_S)
    for looking in (read, blank):
        looking.look(RESTART_S, RESTART_S + 1800.0)
    assert size(read) <= 1.1 * size(blank)


def test_a_restored_engine_goes_on_as_the_one_that_read(traffic):
    read = restarted(traffic)
    read.read(traffic.history(until=RESTART_S), at=RESTART_S)
    restored = restarted(traffic)
    restored.engine = type(read.engine).restore(
        read.engine.settings, msgspec.json.decode(msgspec.json.encode(read.engine.checkpoint()))
    )
    for looking in (read, restored):
        looking.look(RESTART_S, RESTART_S + 900.0)
    assert proposals(read).tolist() == proposals(restored).tolist()
    assert read.engine.checkpoint() == restored.engine.checkpoint()


_NUMBERS = st.one_of(
    st.just(math.nan), st.floats(-10.0, 1e6), st.sampled_from([0.0, 1e12, math.inf, -math.inf])
)


@given(
    rows=st.lists(st.tuples(*[_NUMBERS] * 6), min_size=1, max_size=40),
    ends=st.lists(st.floats(-1e5, 1e3), min_size=40, max_size=40),
    span_s=st.sampled_from([1.0, 15.0, 60.0, 300.0]),
)
def test_whatever_it_says_what_is_remembered_stays_finite(rows, ends, span_s):
    engine = build_engine()
    llama = model()
    engine.handle(specified(llama, at=BEGIN_AT))
    columns = np.array(rows, dtype=np.float64).T
    history = HistoryColumns(
        at=BEGIN_AT + np.array(ends[: len(rows)]),
        span_s=span_s,
        arrivals_per_s=columns[0],
        completed_per_s=columns[1],
        running_requests=columns[2],
        waiting_requests=columns[3],
        kv_usage_replicas=columns[4],
        replicas=columns[5],
    )
    engine.handle(HistoryRead(id=1, at=BEGIN_AT, model=llama.key, history=history))
    memory = engine._memory.models[llama.key].forecast
    for state in (memory.busy, memory.idle):
        assert np.all(np.isfinite(state.mass))
        assert np.all(state.mass >= 0.0)
        assert np.all(np.isfinite(state.loss))
