"""The recipes against the peers of the replay, which are held against every recorded sync of the real controllers."""

from __future__ import annotations

import random

import pytest

from autoscaler.core.contract.spec import Behavior, PolicyType, ScalingPolicy, ScalingRules
from autoscaler.core.hindsight.recipes import (
    KEDA_BEHAVIOR,
    WAITING_EACH,
    Bounds,
    Replicas,
    hpa_proposal,
    keda_proposal,
    sync,
)
from autoscaler.core.hpa import HpaMemory
from simulations.peers.hpa.controller import HpaController
from simulations.peers.hpa.metrics import PodPhase, PodView, Scale
from simulations.peers.hpa.spec import HpaSpec
from simulations.peers.hpa.target import external, per_pod, pods, total
from simulations.peers.rules.keda import DOWN_POLICY, DOWN_WINDOW_S, THRESHOLD
from tests.extent import sample

TARGET = 8.0
MOST = 30
START_S = 180.0
EXPLICIT = Behavior(
    scale_up=ScalingRules(
        stabilization_window_s=30,
        policies=(ScalingPolicy(type=PolicyType.PODS, value=2, period_s=60),),
    ),
    scale_down=ScalingRules(
        stabilization_window_s=120,
        policies=(ScalingPolicy(type=PolicyType.PERCENT, value=20, period_s=60),),
        tolerance_ratio=0.05,
    ),
)


def scale(*, at: float, asked: int, ready: int) -> Scale:
    """A target whose starting pods run and have no sample yet."""
    phases = [PodPhase.READY] * ready + [PodPhase.RUNNING] * (asked - ready)
    return Scale(
        at=at,
        spec_replicas=asked,
        status_replicas=asked,
        ready_pods=ready,
        pod_count=asked,
        pods={f"pod-{row}": PodView(phase=phase) for row, phase in enumerate(phases)},
    )


def loads(seed: int, steps: int) -> list[float]:
    """Requests a replica of the first fleet: levels, jumps and silence."""
    rng = random.Random(seed)
    told, load = [], rng.uniform(0.0, 40.0)
    for _ in range(steps):
        if rng.random() < 0.1:
            load = rng.choice([0.0, rng.uniform(0.0, 20.0), rng.uniform(0.0, 300.0)])
        told.append(max(0.0, load * rng.uniform(0.8, 1.25)))
    return told


@pytest.mark.parametrize("behavior", [None, EXPLICIT], ids=["legacy", "behavior"])
@pytest.mark.parametrize("seed", sample(range(24), day=range(4)))
def test_the_hpa_asks_for_what_the_real_rule_asks_for(seed: int, behavior: Behavior | None):
    spec = HpaSpec(min_replicas=2, max_replicas=MOST, metrics=(pods(TARGET),), behavior=behavior)
    theirs = HpaController(spec, first_replicas=3, at=0.0)
    memory = HpaMemory(recommendations=[(0.0, 3)])
    asked, ready, starting = 3, 3, []
    for step, load in enumerate(loads(seed, 400), start=1):
        at = 15.0 * step
        ready += sum(count for ready_at, count in starting if ready_at <= at)
        starting = [each for each in starting if each[0] > at]
        held = [int(load) // ready + (row < int(load) % ready) for row in range(ready)]
        reading = per_pod({f"pod-{row}": float(requests) for row, requests in enumerate(held)})
        answer = theirs.sync(scale(at=at, asked=asked, ready=ready), [reading]).replicas
        proposal = hpa_proposal(
            float(sum(held)), Replicas(asked, ready), target=TARGET, behavior=behavior
        )
        ours = sync(
            memory, proposal, at=at, current=asked, behavior=behavior, bounds=Bounds(2, MOST)
        )
        assert ours == answer, f"at {at}"
        assert memory.recommendations == theirs.memory.recommendations
        if answer != asked:
            theirs.rescaled(at=at, before=asked, after=answer)
        if answer > asked:
            starting.append((at + START_S, answer - asked))
        while answer < asked:  # those that start go first
            if starting:
                ready_at, count = starting.pop()
                if count > 1:
                    starting.append((ready_at, count - 1))
            else:
                ready -= 1
            asked -= 1
        asked = answer


@pytest.mark.parametrize("seed", sample(range(24), day=range(4)))
def test_keda_asks_for_what_the_real_rule_asks_for(seed: int):
    down = ScalingRules(stabilization_window_s=int(DOWN_WINDOW_S), policies=(DOWN_POLICY,))
    spec = HpaSpec(
        min_replicas=1,
        max_replicas=MOST,
        metrics=(external(THRESHOLD),),
        behavior=Behavior(scale_down=down),
    )
    theirs = HpaController(spec, first_replicas=2, at=0.0)
    memory = HpaMemory(recommendations=[(0.0, 2)])
    asked = 2
    for step, load in enumerate(loads(seed, 400), start=1):
        at, waiting = 15.0 * step, float(int(load))
        answer = theirs.sync(scale(at=at, asked=asked, ready=asked), [total(waiting)]).replicas
        ours = sync(
            memory,
            keda_proposal(waiting, Replicas(asked, asked)),
            at=at,
            current=asked,
            behavior=KEDA_BEHAVIOR,
            bounds=Bounds(1, MOST),
        )
        assert ours == answer, f"at {at}"
        if answer != asked:
            theirs.rescaled(at=at, before=asked, after=answer)
        asked = answer


def test_the_recipe_is_the_peers():
    assert THRESHOLD == WAITING_EACH
    assert KEDA_BEHAVIOR.scale_down == ScalingRules(
        stabilization_window_s=int(DOWN_WINDOW_S), policies=(DOWN_POLICY,)
    )


def test_who_cannot_be_read_changes_nothing_but_the_bounds():
    assert hpa_proposal(5.0, Replicas(3, 0), target=TARGET, behavior=None) is None
    held = HpaMemory()
    assert sync(held, None, at=0.0, current=3, behavior=None, bounds=Bounds(1, 9)) == 3
    assert sync(held, None, at=0.0, current=12, behavior=None, bounds=Bounds(1, 9)) == 9
    assert sync(held, 1, at=0.0, current=1, behavior=None, bounds=Bounds(2, 9)) == 2
