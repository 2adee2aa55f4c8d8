"""What a replica carries is learnt from what was missed, whatever was told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoscaler.core.candidates.capacity import RATIOS, TOLD, CapacityMemory, Fleet
from autoscaler.core.candidates.fleet_model import chance_ratio, serve

TARGET, SERVICE_S, STEP_S, SLACK_S, BUDGET = 8.0, 4.0, 15.0, 1.0, 0.01


class World:
    """A fleet whose replicas carry `ratio` of what was told; what it misses is what the model says of it."""

    def __init__(self, ratio: float, *, base: float = 0.0) -> None:
        self.ratio, self.base = ratio, base
        self.in_flight = np.zeros(1)
        self.memory = CapacityMemory()
        self.at = 0.0
        self.missing: list[tuple[float, float]] = []

    def run(self, load: float, *, ready: float, hours: float, surprise: float = 0.0) -> None:
        """Play a load in replicas that carry what they really do."""
        rate = load * TARGET * self.ratio / SERVICE_S
        for _ in range(round(hours * 3600.0 / STEP_S)):
            self.at += STEP_S
            told = load * self.ratio
            flow = serve(
                self.in_flight,
                arrivals=rate * STEP_S,
                ready=np.array([ready]),
                seats=1.25 * TARGET * self.ratio,
                service_s=SERVICE_S,
                step_s=STEP_S,
                slack_s=SLACK_S,
            )
            self.in_flight = flow.in_flight
            chance = chance_ratio(
                told,
                ready=np.array([ready]),
                carried_ratio=np.array([self.ratio]),
                budget_ratio=BUDGET,
            )
            missed = max(float(flow.late_ratio[0]), float(chance[0]), surprise)
            missed = self.base + (1.0 - self.base) * missed
            self.missing.append((self.at, missed * rate * STEP_S))
            fleet = Fleet(
                arrivals=rate * STEP_S, load=told, ready=ready, service_s=SERVICE_S, step_s=STEP_S
            )
            self.memory.foresee(
                fleet, at=self.at, target=TARGET, slack_s=SLACK_S, budget_ratio=BUDGET
            )
            due = [each for each in self.missing if each[0] <= self.at - STEP_S]
            self.missing = self.missing[len(due) :]
            self.memory.compare(
                until=self.at - STEP_S,
                missed=math.fsum(each[1] for each in due),
                judged=len(due) * rate * STEP_S,
                passed_s=STEP_S,
            )


@pytest.mark.parametrize("ratio", [1 / 13, 0.25, 0.5, 1.0, 2.0])
def test_the_capacity_that_explains_what_was_missed_is_believed(ratio):
    world = World(ratio)
    for load in (1.5, 3.5, 2.0, 4.4, 3.0):  # of four replicas: now and then too much
        world.run(load, ready=4.0, hours=1.0)
    assert abs(math.log2(world.memory.ratio / ratio)) <= 0.25 + 1e-9
    assert world.memory.sureness_ratio > 0.5


def test_at_little_load_nothing_refutes_what_was_told():
    world = World(1.0)
    world.run(0.8, ready=4.0, hours=6.0)
    assert world.memory.ratio == 1.0


@pytest.mark.slow
def test_one_bad_quarter_of_an_hour_is_no_capacity():
    """Half of all requests miss at a load that replicas carried for hours and carry again: a router that hung."""
    world = World(1.0)
    world.run(3.3, ready=4.0, hours=3.0)
    world.run(3.3, ready=4.0, hours=0.25, surprise=0.5)
    world.run(3.3, ready=4.0, hours=8.0)
    assert world.memory.ratio >= RATIOS[TOLD - 2]


def test_what_misses_at_any_load_is_told_apart():
    world = World(1.0, base=0.05)
    for load in (0.5, 1.0, 2.0, 3.0, 2.0, 1.0):
        world.run(load, ready=4.0, hours=1.0)
    assert world.memory.base_ratio == pytest.approx(0.05, abs=0.005)
    assert world.memory.ratio >= RATIOS[TOLD - 2], "and is no want of capacity"


def test_without_requests_that_are_judged_nothing_is_learnt():
    memory = CapacityMemory()
    fleet = Fleet(arrivals=60.0, load=9.0, ready=1.0, service_s=SERVICE_S, step_s=STEP_S)
    for step in range(1, 400):
        memory.foresee(fleet, at=step * STEP_S, target=TARGET, slack_s=SLACK_S, budget_ratio=BUDGET)
        memory.compare(until=step * STEP_S, missed=0.0, judged=0.0, passed_s=STEP_S)
    assert memory.ratio == 1.0
    assert not memory.likelihood.any()
    assert len(memory.foreseen) == 0
