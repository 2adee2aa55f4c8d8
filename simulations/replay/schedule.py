"""A schedule that is replayed: so many replicas asked for at each moment, whatever happens.

Nothing is read and nothing is decided on the way. Everything else is as for a baseline: the same delay
of a write, cold starts drawn from the same stream, a node controller that cordons and evicts at a spot
notice. On a spot market there are two Deployments, and the market is known as well (`on_market`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from autoscaler.core.contract.state import CapacityType, IntArray
from simulations.agenda import NS, Agenda, Priority
from simulations.replay.conditions import Conditions
from simulations.replay.stage import (
    ON_DEMAND,
    SPOT,
    WRITE_NS,
    ReplayStage,
    drain_at_notices,
    make_stage,
    new_deployment,
    spot_lives,
)
from simulations.traces.trace import Trace
from simulations.world.market.spot import MachineLife
from simulations.world.objects import SimulatedDeployment
from simulations.world.world import SimulatedWorld

RETRY_NS = 5 * NS
"""After a write that was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSchedule:
    """Replicas over time."""

    step_s: float
    replicas: IntArray
    """Asked for in each step from the trace's start; the last holds to its end."""

    @property
    def digest(self) -> str:
        """The same for schedules that ask for the same."""
        text = f"{self.step_s} ".encode() + np.asarray(self.replicas, dtype=np.int64).tobytes()
        return hashlib.sha256(text).hexdigest()[:16]

    def at(self, at_ns: int) -> int:
        """Replicas that are asked for at this moment."""
        return int(self.replicas[min(int(at_ns / (self.step_s * NS)), len(self.replicas) - 1)])

    @property
    def changes_ns(self) -> list[int]:
        """When another number is asked for, the beginning left out."""
        steps = np.flatnonzero(np.diff(self.replicas)) + 1
        return [int(np.ceil(step * self.step_s * NS)) for step in steps.tolist()]


class _ScheduleLoop:
    """Writes what the schedule says into one Deployment."""

    def __init__(
        self,
        schedule: ReplicaSchedule,
        *,
        deployment: SimulatedDeployment,
        world: SimulatedWorld,
        agenda: Agenda,
    ) -> None:
        self._schedule = schedule
        self._deployment = deployment
        self._world = world
        self._agenda = agenda

    def start(self, *, end_ns: int) -> None:
        for change_ns in self._schedule.changes_ns:
            if change_ns <= end_ns:
                self._agenda.add(change_ns, self._ask, priority=Priority.OBSERVED)

    def _ask(self, at_ns: int) -> None:
        if self._world.faults.refuses(at_ns):
            self._agenda.add(at_ns + RETRY_NS, self._ask, priority=Priority.OBSERVED)
            return
        write_ns = at_ns + WRITE_NS + self._world.faults.write_delay_ns(at_ns)
        self._agenda.add(write_ns, partial(self._write, self._schedule.at(at_ns)))

    def _write(self, replicas: int, at_ns: int) -> None:
        self._world.scale(self._deployment, replicas, at_ns=at_ns)


def start_schedule(
    trace: Trace, schedule: ReplicaSchedule, conditions: Conditions, *, seed: int
) -> ReplayStage:
    """Set up a run under a schedule; its first replicas are ready, its changes are on the agenda."""
    parts = [(ON_DEMAND, CapacityType.ON_DEMAND, schedule)]
    if conditions.spot is not None:
        lives = spot_lives(conditions.spot, seed, trace.end_ns)
        start_s = conditions.cold_start.mean_s
        spot, on_demand = on_market(schedule, lives, start_s=start_s)
        parts = [
            (SPOT, CapacityType.SPOT, spot),
            (ON_DEMAND, CapacityType.ON_DEMAND, on_demand),
        ]
    deployments = [new_deployment(name, kind, replicas=part.at(0)) for name, kind, part in parts]
    stage = make_stage(trace, conditions, deployments, seed=seed)
    drain_at_notices(stage.world, stage.agenda)
    for deployment, (_, _, part) in zip(deployments, parts, strict=True):
        loop = _ScheduleLoop(part, deployment=deployment, world=stage.world, agenda=stage.agenda)
        loop.start(end_ns=stage.end_ns)
    return stage


def on_market(
    schedule: ReplicaSchedule, lives: Sequence[MachineLife], *, start_s: float
) -> tuple[ReplicaSchedule, ReplicaSchedule]:
    """The same on a spot market that is known beforehand: what is asked for on spot, and on demand.

    All is asked for on spot: what cannot be had there waits, and is not paid. On demand stands in for what
    the market has not got, from a start before until a start after, so that the one is there before the
    other goes. Which machine a replica gets is chance; where some are lost within a start, so
    large a share of the replicas is asked for in addition.
    """
    step_s, total = schedule.step_s, schedule.replicas
    steps = len(total)
    died = np.zeros(steps + 1)
    change = np.zeros(steps + 1)
    for life in lives:
        first, last = (int(ns / (step_s * NS)) for ns in (max(life.up_ns, 0), max(life.down_ns, 0)))
        # a machine counts from the first whole step that it is there to the last
        change[min(first + (life.up_ns > 0), steps)] += 1
        change[min(last, steps)] -= 1
        died[min(last, steps)] += 1
    there, died = np.cumsum(change)[:steps], died[:steps]
    around = int(np.ceil(start_s / step_s)) + 1
    padded = np.concatenate([np.full(around, there[0]), there, np.full(around, there[-1])])
    sure = np.lib.stride_tricks.sliding_window_view(padded, 2 * around + 1).min(axis=1)
    soon = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([died, np.zeros(around)]), around + 1
    ).sum(axis=1)
    lost = total * np.minimum(1.0, soon / np.maximum(there, 1.0))
    spot = (total + np.ceil(lost)).astype(np.int64)
    on_demand = np.maximum(0, total - sure).astype(np.int64)
    return (
        ReplicaSchedule(step_s=step_s, replicas=spot),
        ReplicaSchedule(step_s=step_s, replicas=on_demand),
    )
