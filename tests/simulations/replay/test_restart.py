"""A daemon that dies in the middle of a day: with what was kept its successor goes on as it would have itself.

Both are shown the same observations, those of the replayed day; what the successor decides is held against what was
decided. Without anything kept it comes down to what it takes for enough, which here is half: that is what is prevented.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.events import Event, KnowledgeRead, Observed, SpecChanged
from autoscaler.core.contract.knowledge import KnowledgeEnd
from autoscaler.core.engine import build_engine
from autoscaler.core.knowledge.text import TEXT_BYTES_MAX
from simulations.replay.conditions import (
    ConditionsRequest,
    conditions_of,
    load_tested,
    with_maximum,
)
from simulations.replay.replay import run
from simulations.traces.generate import Recipe, generate
from simulations.traces.trace import Trace

RECIPE = Recipe(
    shape="diurnal", hours=5.0, rate_per_s=16.0, input_tokens=1200, output_tokens=30, seed=1
)
DIES_S = 2.5 * 3_600.0
"""In the middle of the peak."""
KEPT_BEFORE_S = 150.0
"""So old is what was kept when it dies."""
BACK_S = 60.0
WATCHED_S = 2.0 * 3_600.0


class Tick(NamedTuple):
    """What was decided on one observation, by who had run and by who begins."""

    after_s: float
    before: Decision
    now: Decision


@dataclass(frozen=True)
class Day:
    events: list[tuple[Event, tuple[Decision, ...]]]

    @property
    def begun_at(self) -> float:
        return self.events[0][0].at

    @property
    def spec(self) -> SpecChanged:
        return next(event for event, _ in self.events if isinstance(event, SpecChanged))

    @property
    def model(self) -> str:
        return self.spec.fleet.models[0].key

    def kept(self) -> str:
        """What the one that dies has written last."""
        engine = build_engine()
        for event, _ in self.events:
            if event.at - self.begun_at > DIES_S - KEPT_BEFORE_S:
                break
            engine.handle(event)
        text = engine.remember(self.model)
        assert text is not None
        return text

    def after(self, text: str | None) -> Iterator[Tick]:
        """Let another one begin, with what was kept or without."""
        engine = build_engine()
        begins_at = self.begun_at + DIES_S + BACK_S
        engine.handle(SpecChanged(id=0, at=begins_at, fleet=self.spec.fleet))
        if text is not None:
            event = KnowledgeRead(id=0, at=begins_at, model=self.model, text=text)
            taken = engine.handle(event).knowledge
            assert taken is not None
            assert taken.end is KnowledgeEnd.TAKEN
            assert taken.left_out == ()
        for event, decided in self.events:
            if not begins_at < event.at <= begins_at + WATCHED_S:
                continue
            now = engine.handle(event).decisions
            if isinstance(event, Observed):
                yield Tick(event.at - begins_at, decided[0], now[0])


@pytest.fixture(scope="module")
def day() -> Day:
    trace = Trace(name="generated", requests=generate(RECIPE))
    request = ConditionsRequest(
        profile="llama-3.1-8b/1xL40S", cold_start="standard", in_flight_target="x2"
    )
    made = with_maximum(load_tested(conditions_of(request), trace), trace)
    events: list[tuple[Event, tuple[Decision, ...]]] = []
    run(
        trace,
        "inference-aware",
        seed=0,
        conditions=made,
        listeners=[lambda event, outcome: events.append((event, outcome.decisions))],
    )
    return Day(events)


@pytest.fixture(scope="module")
def kept(day: Day) -> str:
    return day.kept()


@pytest.fixture(scope="module")
def after(day: Day, kept: str) -> list[Tick]:
    return list(day.after(kept))


@pytest.mark.slow
def test_what_is_kept_of_a_busy_day_is_all_of_it_and_small(kept: str):
    assert len(kept.encode()) <= TEXT_BYTES_MAX


@pytest.mark.slow
def test_the_forecast_after_it_is_the_forecast_before_it(after: list[Tick]):
    for tick in after:
        was, now = (each.measures.forecast_replicas for each in (tick.before, tick.now))
        assert was is not None
        assert now is not None
        # at first the load itself has to be seen anew: what arrives takes two looks
        tolerance = 0.15 if tick.after_s <= 900.0 else 0.03
        assert now == pytest.approx(was, rel=tolerance), f"{tick.after_s:.0f} s after it"


@pytest.mark.slow
def test_what_a_replica_carries_and_how_long_it_starts_are_known_at_once(after: list[Tick]):
    first = after[0]
    assert first.now.measures.carried_ratio == first.before.measures.carried_ratio
    assert first.now.measures.cold_start_s == pytest.approx(
        first.before.measures.cold_start_s, abs=0.1
    )


@pytest.mark.slow
def test_no_downward_move_is_caused_by_it(after: list[Tick]):
    """Never fewer than were decided on by who had never died, but for a moment, and one."""
    fewer = [tick for tick in after if desired(tick.now) < desired(tick.before)]
    assert len(fewer) <= 0.02 * len(after)
    assert all(desired(tick.now) >= desired(tick.before) - 1 for tick in fewer)


@pytest.mark.slow
def test_without_it_half_of_the_fleet_goes(day: Day):
    """What this is for; and that the tests above can fail."""
    without = list(day.after(None))
    assert min(desired(tick.now) / desired(tick.before) for tick in without) < 0.6


def desired(decision: Decision) -> int:
    assert decision.desired_replicas is not None
    return decision.desired_replicas
