"""Schedules made by who knows the whole trace: three families, each with a few numbers to turn.

- `StaticOracle`: a fleet of one size.
- `QueueOracle`: the cheapest way of the program of one queue (`bounds.queue`) at a price of a late
  request, its prefills taken to last longer by a factor (decodes run beside them), its raises pulled
  forward by a start and a margin.
- `AheadOracle`: a share of the offered load, mean by mean over equal parts of time, the most of a start
  and a margin ahead and of a while back.

Each names its neighbours: what a search tries next where one of them is on the hull.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from simulations.agenda import NS
from simulations.bounds.queue import Prefills, QueueProgram, QueueTerms, queue_grid
from simulations.bounds.queue_bound import least_prefills
from simulations.replay.conditions import Conditions
from simulations.replay.schedule import ReplicaSchedule
from simulations.serving.columns import RequestColumns
from simulations.serving.offered_demand import offered_replicas

STEP_S = 5.0
"""Of a schedule."""
SWEEP_CELLS = 4e7
"""Of the queue's program: a tenth of the bound's, there are dozens of them."""
PROGRAMS_KEPT = 3
"""Each holds a few numbers a request."""
FACTOR_STEP = 1.12
PRICE_STEP = 2.0
SHARE_STEP = 1.12
LEAD_STEP_S = 30.0
BACK_STEP_S = 120.0
MEAN_STEP = 2.0


class TraceView:
    """What all oracles of one trace and seed look at; what is dear is made once."""

    def __init__(self, requests: RequestColumns, conditions: Conditions) -> None:
        """`requests` are scaled already."""
        profile = conditions.tested_profile
        self.conditions = conditions
        self.requests = requests
        self.span_s = max(float(requests.arrival_ns[-1]) / NS if len(requests) else 0.0, STEP_S)
        self.steps = math.ceil(self.span_s / STEP_S)
        self.start_s = conditions.cold_start.mean_s
        self._limits_s = conditions.objective.ttft_limits_s(requests, profile)
        self._queue_programs = functools.lru_cache(maxsize=PROGRAMS_KEPT)(self._queue_program)
        self.queue_replicas = functools.cache(self._queue_replicas)
        """By factor and price: replicas of the queue's cheapest way in each step of a schedule."""

    @functools.cached_property
    def offered(self) -> FloatArray:
        """Offered load of each step, in replicas."""
        load = offered_replicas(self.requests, self.conditions.tested_profile, window_s=STEP_S)
        offered: FloatArray = np.zeros(self.steps)
        offered[: len(load)] = load[: self.steps]
        return offered

    def _queue_program(self, factor: float) -> QueueProgram:
        """Prefills that last so many times their least."""
        profile = self.conditions.tested_profile
        least = least_prefills(self.requests, profile, self._limits_s)
        most = self.conditions.replicas_max
        grid = queue_grid(self.span_s, replicas_max=most, cells=SWEEP_CELLS)
        usd_per_s = profile.usd_per_hour / 3600.0
        # the last replica is always paid for
        paid = np.maximum(np.arange(most + 1), 1) * usd_per_s
        return QueueProgram(
            Prefills(
                arrival_s=least.arrival_s, work_s=least.work_s * factor, limit_s=least.limit_s
            ),
            QueueTerms(
                usd_per_s=np.tile(paid, (grid.steps, 1)),
                raise_usd=np.full(grid.steps, self.start_s * usd_per_s),
            ),
            grid,
        )

    def _queue_replicas(self, factor: float, price_s: float) -> FloatArray:
        """As if replicas came at once."""
        program = self._queue_programs(factor)
        usd = price_s * self.conditions.tested_profile.usd_per_hour / 3600.0
        found = program.schedule(usd).replicas
        step_s = program.grid.step_s
        at = np.minimum((np.arange(self.steps) * STEP_S / step_s).astype(int), len(found) - 1)
        if step_s >= STEP_S:
            return np.asarray(found[at], dtype=np.float64)
        # the most of each step
        most: FloatArray = np.maximum.reduceat(found, at).astype(np.float64)
        return most

    def schedule(
        self, needed: FloatArray, *, lead_s: float, back_s: float = 0.0
    ) -> ReplicaSchedule:
        """So many replicas ready when they are needed: asked for a start and `lead_s` before."""
        ahead = max(0, math.ceil((self.start_s + lead_s) / STEP_S))
        back = round(back_s / STEP_S)
        padded = np.concatenate([np.zeros(back), needed, np.zeros(ahead)])
        most = np.lib.stride_tricks.sliding_window_view(padded, ahead + back + 1).max(axis=1)
        asked: IntArray = np.clip(np.ceil(most - 1e-9), 1, self.conditions.replicas_max).astype(
            np.int64
        )
        return ReplicaSchedule(step_s=STEP_S, replicas=asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticOracle:
    """Always so many."""

    replicas: int

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.replicas} replicas"

    def schedule(self, view: TraceView) -> ReplicaSchedule:
        """What it asks for."""
        return ReplicaSchedule(
            step_s=STEP_S, replicas=np.full(view.steps, self.replicas, dtype=np.int64)
        )

    def neighbours(self, turn: float = 1.0) -> Iterator[Oracle]:
        """One more and one less."""
        del turn
        yield replace(self, replicas=self.replicas + 1)
        if self.replicas > 1:
            yield replace(self, replicas=self.replicas - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOracle:
    """The cheapest way of one queue."""

    factor: float
    """A prefill lasts so many times its least."""
    price_s: float
    """Of a late request, in seconds of a replica."""
    lead_s: float
    """Asked for so long before a mean start, negative: later."""

    def __str__(self) -> str:
        """As a person reads it."""
        return f"queue x{self.factor:.3g} at {self.price_s:.3g} s, lead {self.lead_s:g} s"

    def schedule(self, view: TraceView) -> ReplicaSchedule:
        """What it asks for."""
        return view.schedule(view.queue_replicas(self.factor, self.price_s), lead_s=self.lead_s)

    def neighbours(self, turn: float = 1.0) -> Iterator[Oracle]:
        """One number turned at a time, by a step, or by that share of it."""
        yield replace(self, lead_s=self.lead_s + LEAD_STEP_S * turn)
        yield replace(self, lead_s=self.lead_s - LEAD_STEP_S * turn)
        yield replace(self, factor=round(self.factor * FACTOR_STEP**turn, 4))
        yield replace(self, factor=round(self.factor / FACTOR_STEP**turn, 4))
        yield replace(self, price_s=self.price_s * PRICE_STEP**turn)
        yield replace(self, price_s=self.price_s / PRICE_STEP**turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class AheadOracle:
    """A share of the offered load ahead."""

    share: float
    mean_s: float
    lead_s: float
    back_s: float

    def __str__(self) -> str:
        """As a person reads it."""
        return (
            f"ahead x{self.share:.3g} of {self.mean_s:g} s, lead {self.lead_s:g} s, "
            f"held {self.back_s:g} s"
        )

    def schedule(self, view: TraceView) -> ReplicaSchedule:
        """What it asks for."""
        steps = max(1, round(self.mean_s / STEP_S))
        starts = np.arange(0, view.steps, steps)
        width = np.diff(np.append(starts, view.steps))
        mean = np.repeat(np.add.reduceat(view.offered, starts) / width, width)
        # whole replicas before the most is taken: a peak is not averaged away
        return view.schedule(
            np.ceil(mean * self.share - 1e-9), lead_s=self.lead_s, back_s=self.back_s
        )

    def neighbours(self, turn: float = 1.0) -> Iterator[Oracle]:
        """One number turned at a time, by a step, or by that share of it."""
        yield replace(self, share=round(self.share * SHARE_STEP**turn, 4))
        yield replace(self, share=round(self.share / SHARE_STEP**turn, 4))
        yield replace(self, mean_s=self.mean_s * MEAN_STEP**turn)
        yield replace(self, mean_s=max(STEP_S, self.mean_s / MEAN_STEP**turn))
        yield replace(self, lead_s=self.lead_s + LEAD_STEP_S * turn)
        yield replace(self, lead_s=max(0.0, self.lead_s - LEAD_STEP_S * turn))
        yield replace(self, back_s=self.back_s + BACK_STEP_S * turn)
        yield replace(self, back_s=max(0.0, self.back_s - BACK_STEP_S * turn))


Oracle: TypeAlias = StaticOracle | QueueOracle | AheadOracle


def static_oracles(replicas_max: int) -> list[StaticOracle]:
    """Fleets of every size, of large ones every few; the largest among them."""
    sizes = sorted({round(n) for n in np.geomspace(1, replicas_max, 12)})
    return [StaticOracle(replicas=size) for size in sizes]


def generous_oracles(replicas_max: int) -> list[Oracle]:
    """What misses next to nothing: static fleets, and fleets that follow the load from far ahead and let go late."""
    return [
        *static_oracles(replicas_max),
        *(
            AheadOracle(share=share, mean_s=30.0, lead_s=lead_s, back_s=back_s)
            for share, lead_s, back_s in (
                (1.3, 120.0, 600.0),
                (1.8, 120.0, 600.0),
                (1.8, 300.0, 3600.0),
                (2.6, 300.0, 3600.0),
            )
        ),
    ]


def coarse_oracles(replicas_max: int) -> list[Oracle]:
    """Where a search begins: static fleets, and a wide grid."""
    return [
        *static_oracles(replicas_max),
        *(
            QueueOracle(factor=factor, price_s=price_s, lead_s=lead_s)
            for factor in (1.2, 1.7)
            for price_s in (2.0, 16.0)
            for lead_s in (0.0, 60.0)
        ),
        *(
            AheadOracle(share=share, mean_s=mean_s, lead_s=lead_s, back_s=back_s)
            for share, mean_s, lead_s, back_s in (
                # as the reference that is called lookahead
                (1.0, 10.0, 15.0, 0.0),
                (0.6, 10.0, 60.0, 0.0),
                (0.7, 30.0, 60.0, 0.0),
                (1.0, 30.0, 60.0, 0.0),
                (0.6, 120.0, 0.0, 120.0),
                (1.0, 120.0, 0.0, 120.0),
                (0.8, 300.0, 60.0, 0.0),
            )
        ),
    ]
