"""What was learnt of a model is written in 4 KiB and given back; what cannot be used changes nothing."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.attainment.windows import WindowMemory
from autoscaler.core.candidates import CandidatesMemory
from autoscaler.core.contract.events import HistoryRead, KnowledgeRead
from autoscaler.core.contract.knowledge import KnowledgeEnd, KnowledgeTaken
from autoscaler.core.contract.spec import Targets
from autoscaler.core.engine import Engine, EngineSettings
from autoscaler.core.forecast.residuals import Residuals
from autoscaler.core.knowledge.packing import GarbledError
from autoscaler.core.knowledge.part import Given, Grain
from autoscaler.core.knowledge.parts import LEAST_WORTH, PARTS, ROUGHENED
from autoscaler.core.knowledge.text import TEXT_BYTES_MAX, read_text, write_text
from autoscaler.core.memory import ModelMemory
from autoscaler.core.supply.cold_starts import ColdStartMemory, cold_start_s
from tests.builders import group, observed, seen
from tests.core.checkpoints import through_json
from tests.core.history.days import Traffic
from tests.core.knowledge.busy import SPEC, WEEK_S, WRITTEN_AT, busy, engine_of, memory_of
from tests.extent import examples
from tests.rows import Row

GIVEN = Given(at=WRITTEN_AT, written_at=WRITTEN_AT, spec=SPEC, preferred="a")


@pytest.fixture(scope="module")
def text() -> str:
    return written(busy(1))


def written(engine: Engine) -> str:
    found = engine.remember(SPEC.key)
    assert found is not None
    return found


def give(engine: Engine, text: str, *, at: float = WRITTEN_AT, model: str = SPEC.key):
    taken = engine.handle(KnowledgeRead(id=0, at=at, model=model, text=text)).knowledge
    assert taken is not None
    return taken


def given_back(text: str, *, age_s: float = 0.0) -> tuple[ModelMemory, KnowledgeTaken]:
    engine = engine_of(at=WRITTEN_AT + age_s)
    taken = give(engine, text, at=WRITTEN_AT + age_s)
    return memory_of(engine), taken


# -- round trip


@pytest.mark.slow
@settings(max_examples=examples(day=5, night=100), deadline=None)
@given(seed=st.integers(0, 10_000), grain=st.sampled_from(Grain))
def test_each_part_that_was_given_back_is_written_the_same_again(seed, grain):
    before, after = memory_of(busy(seed)), memory_of(engine_of())
    for name, part in PARTS.items():
        packed = part.pack(before, grain)
        assert packed is not None, name
        assert part.put_back(packed, after, GIVEN) == "", name
        if name in {"residuals", "budgets"}:
            continue  # their sums are made anew of what was rounded: see the tests below
        assert part.pack(after, grain) == packed, name


def test_what_is_not_there_is_not_written():
    assert engine_of().remember(SPEC.key) is None
    assert engine_of().remember("serving/nobody") is None


def test_a_fresh_model_has_no_part():
    assert [part.pack(ModelMemory(), Grain.FINE) for part in PARTS.values()] == [None] * len(PARTS)


@pytest.mark.slow
@pytest.mark.parametrize("grain", Grain)
def test_the_forecast_is_the_one_before(grain):
    before, after = memory_of(busy(3)), memory_of(engine_of())
    part = PARTS["residuals"]
    packed = part.pack(before, grain)
    assert packed is not None
    part.put_back(packed, after, GIVEN)
    step = 0.1 if grain is Grain.FINE else 0.5
    for was, now in (
        (before.forecast.busy, after.forecast.busy),
        (before.forecast.idle, after.forecast.idle),
    ):
        assert now.weights() == pytest.approx(was.weights(), abs=0.01)
        np.testing.assert_allclose(shares(now), shares(was), rtol=step, atol=0.01 * step)
        assert now.seen == pytest.approx(was.seen, rel=0.01)


def shares(residuals: Residuals) -> np.ndarray:
    found: np.ndarray = residuals.mass / residuals.mass.sum(axis=2, keepdims=True)
    return found


def test_the_error_budgets_are_the_ones_before():
    before, after = memory_of(busy(3)), memory_of(engine_of())
    packed = PARTS["budgets"].pack(before, Grain.FINE)
    assert packed is not None
    PARTS["budgets"].put_back(packed, after, GIVEN)
    was, now = before.attainment.windows, after.attainment.windows
    assert now.numbers == was.numbers
    np.testing.assert_allclose(now.totals[:, 0], was.totals[:, 0], rtol=0.01)
    missed = was.totals[:, 0] - was.totals[:, 2]
    np.testing.assert_allclose(now.totals[:, 0] - now.totals[:, 2], missed, rtol=0.01)


# -- size


@pytest.mark.slow
@settings(max_examples=examples(day=4, night=100), deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_model_takes_more_than_4_kib_whatever_its_numbers(seed):
    """Random numbers do not pack: this is more than any traffic makes. What matters most is there all the same."""
    found = written(busy(seed))
    assert len(found.encode()) <= TEXT_BYTES_MAX
    kept = read_text(found).parts
    assert {"cold-starts", "service-time", "capacity", "choice", "peaks"} <= kept.keys()


def test_what_is_roughened_or_left_out_is_a_part():
    assert set(LEAST_WORTH) | set(ROUGHENED) <= PARTS.keys()


def test_pools_with_long_names_are_no_reason_to_write_more():
    names = [f"{number:02d}-{'x' * 58}" for number in range(60)]
    engine = busy(2)
    starts = random.Random(1)
    memory_of(engine).cold_starts = {
        name: ColdStartMemory(
            measured_s=[starts.uniform(50.0, 500.0) for _ in range(20)], whole_s=[500.0] * 20
        )
        for name in names
    }
    assert len(written(engine).encode()) <= TEXT_BYTES_MAX


def test_it_says_for_people_what_it_is(text):
    plain = json.loads(text)
    assert plain["version"] == 1
    assert plain["model"] == SPEC.key
    assert plain["coldStartSeconds"]["a"] > 100.0
    assert plain["carriedRatio"] > 0.0
    assert plain["rule"]["share"] > 0.0


# -- what cannot be used


@pytest.mark.parametrize(
    ("change", "end"),
    [
        ({"version": 2}, KnowledgeEnd.OTHER_VERSION),
        ({"version": "1"}, KnowledgeEnd.UNREADABLE),
        ({"version": None}, KnowledgeEnd.UNREADABLE),
        ({"writtenAt": "yesterday"}, KnowledgeEnd.UNREADABLE),
        ({"writtenAt": True}, KnowledgeEnd.UNREADABLE),
        ({"writtenAt": 10**400}, KnowledgeEnd.UNREADABLE),
        ({"writtenAt": WRITTEN_AT + 3_600.0}, KnowledgeEnd.FROM_AHEAD),
        ({"learntFrom": WRITTEN_AT + 1.0}, KnowledgeEnd.FROM_AHEAD),
        ({"writtenAt": WRITTEN_AT - 2 * WEEK_S, "learntFrom": 0.0}, KnowledgeEnd.TOO_OLD),
        ({"told": [1.0, 2.0]}, KnowledgeEnd.UNREADABLE),
        ({"told": {}}, KnowledgeEnd.UNREADABLE),
        ({"packed": "garbage"}, KnowledgeEnd.UNREADABLE),
        ({"packed": 7}, KnowledgeEnd.UNREADABLE),
        ({"packed": "\u1234"}, KnowledgeEnd.UNREADABLE),
    ],
)
def test_what_is_not_ours_changes_nothing_and_says_why(text, change, end):
    engine = engine_of()
    before = engine.checkpoint()
    taken = give(engine, json.dumps({**json.loads(text), **change}))
    assert taken.end is end
    assert taken.message
    assert taken.parts == ()
    assert engine.checkpoint() == before


@pytest.mark.parametrize("found", ["", "null", "[]", "{}", "[" * 100_000, "x" * 10_000_000, "\x00"])
def test_garbage_is_unreadable(found):
    assert give(engine_of(), found).end is KnowledgeEnd.UNREADABLE


@settings(max_examples=examples(day=40, night=3_000), deadline=None)
@given(place=st.floats(0.0, 0.999), letter=st.characters(codec="utf-8"))
def test_a_letter_that_was_changed_never_breaks_it(text, place, letter):
    at = int(place * len(text))
    engine = engine_of()
    before = engine.checkpoint()
    taken = give(engine, text[:at] + letter + text[at + 1 :])
    if taken.end is not KnowledgeEnd.TAKEN:
        assert engine.checkpoint() == before


@settings(max_examples=examples(day=60, night=5_000), deadline=None)
@given(name=st.sampled_from(sorted(PARTS)), data=st.data())
def test_a_part_of_garbage_is_left_out_and_changes_nothing(name, data):
    packed = data.draw(st.binary(max_size=200))
    engine = engine_of()
    before = engine.checkpoint()
    try:
        why = PARTS[name].put_back(packed, memory_of(engine), GIVEN)
    except GarbledError:
        why = "garbled"
    assert why == "" or engine.checkpoint() == before


def test_a_model_that_the_fleet_does_not_have(text):
    taken = give(engine_of(), text, model="serving/nobody")
    assert taken.end is KnowledgeEnd.UNKNOWN_MODEL


def test_nothing_counts_twice(text):
    engine = engine_of()
    assert give(engine, text).end is KnowledgeEnd.TAKEN
    before = engine.checkpoint()
    assert give(engine, text).end is KnowledgeEnd.TAKEN_BEFORE
    assert engine.checkpoint() == before


def test_where_another_target_is_told_now_no_load_and_no_rule_is_taken(text):
    spec = replace(SPEC, targets=Targets(in_flight_requests=7.0))
    engine = engine_of(spec)
    taken = give(engine, text)
    assert taken.parts == tuple(
        name
        for name, part in PARTS.items()
        if not part.needs_target and name in read_text(text).parts
    )
    assert "capacity: another target or objective was told then" in taken.left_out
    assert not memory_of(engine, spec).candidates.settled


def test_a_part_of_another_layout_is_left_out_and_the_others_are_taken(text):
    parts = dict(read_text(text).parts)
    parts["capacity"] = 12_345, parts["capacity"][1]
    other = write_text(read_text(text)._replace(parts=parts), model=SPEC.key, said={})
    taken = give(engine_of(), other)
    assert "capacity: another version wrote it in another form" in taken.left_out
    assert "choice" in taken.parts


# -- age


def test_old_knowledge_is_doubted(text):
    """A day later a residual is worth what one of a day ago is; after two no rule decides by it."""
    young, _ = given_back(text)
    old, taken = given_back(text, age_s=2 * 86_400.0)
    assert old.candidates.capacity.judged == pytest.approx(young.candidates.capacity.judged / 16)
    assert not old.candidates.settled
    assert any(each.startswith("choice: it is too long ago") for each in taken.left_out)
    assert len(old.cold_starts["a"].measured_s) == 5
    assert len(young.cold_starts["a"].measured_s) == 20


def test_windows_are_never_full_by_what_was_known_before(text):
    """Nothing is scaled down before a whole window was observed: that is not in it."""
    memory, _ = given_back(text)
    assert memory.first_at is None
    assert memory.hpa.recommendations == type(memory.hpa.recommendations)()


# -- beside what is observed


def test_what_was_observed_since_stays():
    engine = engine_of()
    memory = memory_of(engine)
    memory.cold_starts["a"] = ColdStartMemory(measured_s=[77.0], whole_s=[78.0])
    memory.demand.carried.ratio, memory.demand.carried.taught_at = 0.9, WRITTEN_AT
    memory.demand.service_time.measured_s = 3.0
    memory.candidates.choice.chosen, memory.candidates.choice.since = 5, WRITTEN_AT
    taken = give(engine, written(busy(1)))
    assert memory.cold_starts["a"].measured_s[-1] == 77.0
    assert len(memory.cold_starts["a"].measured_s) == 20
    assert memory.demand.carried.ratio == 0.9
    assert "carried: queues have taught since" in taken.left_out
    assert memory.demand.service_time.measured_s == 3.0
    assert memory.candidates.choice.chosen == 5


def started(count: int, *, took_s: float, ago_s: float, name: str) -> list[Row]:
    rows = group("on-demand", ready=count, ready_age_s=ago_s, name=name)
    return [replace(row, age_s=ago_s + took_s) for row in rows]


def test_a_start_that_was_measured_before_is_not_measured_again():
    """The pods are still there; the one that became ready since is new."""
    engine = engine_of(at=WRITTEN_AT)
    give(engine, written(busy(1)))
    before = list(memory_of(engine).cold_starts["on-demand"].measured_s)
    at = WRITTEN_AT + 100.0
    known = started(3, took_s=150.0, ago_s=300.0, name="known")
    engine.handle(observed(seen(SPEC, known), at=at))
    assert memory_of(engine).cold_starts["on-demand"].measured_s == before
    fresh = engine_of(at=WRITTEN_AT)
    give(fresh, written(busy(1)))
    new = started(1, took_s=150.0, ago_s=50.0, name="new")
    fresh.handle(observed(seen(SPEC, known, new), at=at))
    assert memory_of(fresh).cold_starts["on-demand"].measured_s[-1] == 150.0


def test_the_first_look_with_unknown_demand_decides_by_what_is_known(text):
    """No sample yet: the load of now is not known, and nothing moves."""
    engine = engine_of()
    give(engine, text)
    unread = group("on-demand", ready=4)
    outcome = engine.handle(observed(seen(SPEC, unread), at=WRITTEN_AT + 30.0))
    assert outcome.commands == ()
    assert memory_of(engine).candidates.settled


@pytest.mark.parametrize(
    ("until", "rows"),
    [
        (-3_600.0, 0),  # within what was known
        (600.0, 10),  # the gap behind it
        (-WEEK_S + 600.0, 110),  # what was before
    ],
)
def test_a_history_teaches_nothing_of_a_time_that_was_known(until, rows):
    before = busy(1)
    for empty in ("fleets", "peaks"):  # so that the rest is not too much
        setattr(memory_of(before).candidates, empty, getattr(CandidatesMemory(), empty))
    memory_of(before).attainment.windows = WindowMemory()
    memory_of(before).forecast.idle.seen[:] = 0.0
    engine = engine_of(at=WRITTEN_AT)
    assert "residuals" in give(engine, written(before)).parts
    history = Traffic.of(lambda _: 2.0, seconds=7_200.0).history(until=7_200.0)
    moved = replace(history, at=history.at - history.at[-1] + WRITTEN_AT + until)
    event = HistoryRead(id=1, at=WRITTEN_AT + 900.0, model=SPEC.key, history=moved)
    taken = engine.handle(event).history
    assert taken is not None
    assert taken.rows == rows
    assert taken.left_out == 120 - rows


def test_what_was_taken_in_is_in_a_checkpoint(text):
    engine = engine_of()
    give(engine, text)
    again = Engine.restore(EngineSettings(), engine.checkpoint())
    assert again.checkpoint() == engine.checkpoint()
    assert written(again) == written(engine)


def test_the_event_is_recorded_as_it_is(text):
    event = KnowledgeRead(id=3, at=WRITTEN_AT, model=SPEC.key, text=text)
    assert through_json(event) == event


def test_a_start_counts_as_long_as_before(text):
    memory, _ = given_back(text)
    starts = memory_of(busy(1)).cold_starts["a"]
    assert cold_start_s(memory.cold_starts["a"], prior_s=180.0) == pytest.approx(
        cold_start_s(starts, prior_s=180.0), abs=0.1
    )
