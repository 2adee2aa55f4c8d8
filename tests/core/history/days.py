"""Days of one model's traffic, as an engine sees them and as a store of metrics tells them afterwards."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.events import HistoryRead
from autoscaler.core.contract.history import HistoryColumns, HistoryTaken
from autoscaler.core.contract.spec import Mode, ModelSpec, Targets
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from tests.builders import group, model, observed, seen, specified

BEGIN_AT = 1_700_006_400.0
"""A midnight."""
DAY_S = 86_400.0
TICK_S = 15.0
SERVICE_S = 8.0
IN_FLIGHT = 4.0
PODS = 4


def spec(**what: object) -> ModelSpec:
    made = model(minimum=1, maximum=30, mode=Mode.OBSERVE, **what)
    return replace(made, targets=Targets(in_flight_requests=IN_FLIGHT))


def ramps_at_eight(at: float) -> float:
    """Requests per second: a night, a ramp of 40 minutes at eight, a day, an evening."""
    hour = at % DAY_S / 3600.0
    night, day = 0.6, 4.0
    up = min(max((hour - 8.0) / (2.0 / 3.0), 0.0), 1.0)
    down = min(max((hour - 19.0) / 2.0, 0.0), 1.0)
    return night + (day - night) * (up - down)


@dataclass
class Traffic:
    """Requests that came, tick by tick, and what they were in flight; the same for whoever looks."""

    arrived: list[int]
    in_flight: list[float]
    finished: list[float]

    @classmethod
    def of(cls, rate: Callable[[float], float], *, seconds: float, seed: int = 1) -> Traffic:
        rng = random.Random(seed)
        held, finished = rate(0.0) * SERVICE_S, 0.0
        made = cls([], [], [])
        for tick in range(int(seconds / TICK_S)):
            mean = rate(tick * TICK_S) * TICK_S
            came = max(0, round(rng.gauss(mean, math.sqrt(mean))))
            left = math.exp(-TICK_S / SERVICE_S)
            before = held
            held = held * left + came / TICK_S * SERVICE_S * (1.0 - left)
            finished += before + came - held
            made.arrived.append(came)
            made.in_flight.append(held)
            made.finished.append(finished)
        return made

    def history(self, *, until: float, since: float = 0.0) -> HistoryColumns:
        """As a store of metrics would tell it; seconds since the begin."""
        per = round(60.0 / TICK_S)
        rows = range(int(since / 60.0), int(until / 60.0))
        finished = [0.0, *self.finished]
        held = [self.in_flight[0], *self.in_flight]

        def means(values: Sequence[float]) -> np.ndarray:
            return np.array([np.mean(values[row * per : (row + 1) * per]) for row in rows])

        ended = np.array([finished[(row + 1) * per] - finished[row * per] for row in rows])
        change = np.array([held[(row + 1) * per] - held[row * per] for row in rows])
        return HistoryColumns(
            at=BEGIN_AT + 60.0 * (np.array(list(rows), dtype=np.float64) + 1.0),
            span_s=60.0,
            arrivals_per_s=np.maximum(ended + change, 0.0) / 60.0,
            completed_per_s=np.maximum(ended, 0.0) / 60.0,
            running_requests=means(self.in_flight),
            waiting_requests=np.zeros(len(rows)),
            kv_usage_replicas=np.full(len(rows), np.nan),
            replicas=np.full(len(rows), float(PODS)),
        )


@dataclass
class Looking:
    """An engine that looks at it, from some moment on."""

    traffic: Traffic
    spec: ModelSpec
    engine: Engine = field(default_factory=lambda: build_engine(EngineSettings(tick_s=TICK_S)))
    decisions: list[Decision] = field(default_factory=list)

    def begin(self, at: float) -> None:
        self.engine.handle(specified(self.spec, at=BEGIN_AT + at))

    def read(self, history: HistoryColumns, *, at: float) -> HistoryTaken:
        event = HistoryRead(id=0, at=BEGIN_AT + at, model=self.spec.key, history=history)
        taken = self.engine.handle(event).history
        assert taken is not None
        return taken

    def look(self, since: float, until: float) -> None:
        for tick in range(int(since / TICK_S), int(until / TICK_S)):
            self.decisions += self._tick(tick)

    def _tick(self, tick: int) -> Iterator[Decision]:
        at = BEGIN_AT + (tick + 1) * TICK_S
        pods = group(
            ready=PODS,
            running=self.traffic.in_flight[tick] / PODS,
            sample_age_s=0.0,
            ready_age_s=at - BEGIN_AT + DAY_S,  # they were created long ago, all at one moment
        )
        rows = [replace(row, finished=self.traffic.finished[tick] / PODS) for row in pods]
        outcome = self.engine.handle(observed(seen(self.spec, rows), at=at))
        yield from outcome.decisions

    @property
    def memory(self):
        return self.engine._memory.models[self.spec.key]
