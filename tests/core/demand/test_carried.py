"""A queue is held to what was expected of it, and teaches what a replica carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from autoscaler.core.contract.spec import Targets
from autoscaler.core.demand.carried import CarriedMemory, watch_queue
from autoscaler.core.demand.demand import DemandMemory, measure_demand
from autoscaler.core.demand.readings import Queueing
from autoscaler.core.tuning import TUNING
from tests.core.checkpoints import through_json
from tests.core.pods import Pod, answering, columns

TICK_S = 5.0
SERVICE_S = 0.5
TARGET = 32.0


def watched(
    memory: CarriedMemory,
    *,
    begin: float,
    seconds: float,
    waiting: Callable[[int], float],
    finished_per_s: float = 5.0,
    queueing: int = 2,
    ready: int = 2,
    offered: float = 0.2,
) -> float:
    """Let two replicas have a queue, or none where nobody waits; return when it was."""
    at = begin
    for tick in range(int(seconds / TICK_S)):
        at = begin + tick * TICK_S
        waits = waiting(tick)
        watch_queue(
            memory,
            at=at,
            queueing=None
            if waits <= 0.0
            else Queueing(
                replicas=queueing,
                waiting=waits,
                finished=finished_per_s * TICK_S * queueing,
                replica_s=TICK_S * queueing,
            ),
            ready=ready,
            offered=offered,
            backlog_replica_s=waits * SERVICE_S / TARGET,
            service_s=SERVICE_S,
            target=TARGET,
        )
    return at


def growing(tick: int) -> float:
    return 20.0 + 3.0 * tick


def nobody(_tick: int) -> float:
    return 0.0


def taught() -> tuple[CarriedMemory, float]:
    memory = CarriedMemory()
    at = watched(memory, begin=1000.0, seconds=120.0, waiting=growing)
    return memory, at


def test_a_queue_that_outlives_its_forecast_says_what_a_replica_carries():
    memory, _ = taught()
    # 5 requests a second of half a second each are 2.5 in flight where 32 were promised
    assert memory.ratio == pytest.approx(TUNING.carried_safe_ratio * 2.5 / 32.0, rel=0.01)
    assert memory.taught_at is not None


def test_before_its_forecast_is_over_it_says_nothing():
    memory = CarriedMemory()
    watched(memory, begin=1000.0, seconds=TUNING.queue_patience_s, waiting=growing)
    assert memory == replace(memory, ratio=1.0, taught_at=None)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"waiting": lambda _tick: 50.0}, id="a gauge that is stuck"),
        pytest.param({"waiting": growing, "finished_per_s": 0.0}, id="an engine that hangs"),
        pytest.param(
            {"waiting": growing, "queueing": 1, "ready": 3}, id="one hot replica of three"
        ),
        pytest.param(
            {"waiting": lambda tick: growing(tick) if tick % 4 else 0.0},
            id="bursts that are served",
        ),
        pytest.param(
            {"waiting": growing, "finished_per_s": 60.0},
            id="replicas that carry what they are told to",
        ),
    ],
)
def test_what_refutes_no_target(given):
    memory = CarriedMemory()
    watched(memory, begin=1000.0, seconds=1200.0, **given)
    assert memory.ratio == 1.0


def test_replicas_that_come_because_of_a_queue_do_not_end_its_account():
    """It is where it was; that they have none says nothing of what the first one carries."""
    memory = CarriedMemory()
    at = watched(memory, begin=1000.0, seconds=30.0, waiting=growing, queueing=1, ready=1)
    watched(memory, begin=at + TICK_S, seconds=90.0, waiting=growing, queueing=1, ready=3)
    assert memory.ratio == pytest.approx(TUNING.carried_safe_ratio * 2.5 / 32.0, rel=0.01)


def test_a_queue_that_is_left_at_few_of_the_replicas_that_had_it_is_a_matter_of_routing():
    memory = CarriedMemory()
    at = watched(memory, begin=1000.0, seconds=30.0, waiting=growing, queueing=5, ready=5)
    watched(memory, begin=at + TICK_S, seconds=1200.0, waiting=growing, queueing=1, ready=5)
    assert memory.ratio == 1.0


def test_what_was_taught_is_still_known_at_the_next_peak():
    memory, at = taught()
    lesson = memory.ratio
    watched(memory, begin=at + 5.0, seconds=20 * 3600.0, waiting=nobody, offered=0.02)
    assert lesson <= memory.ratio < lesson + 0.15


def test_replicas_that_carry_more_without_a_queue_take_a_lesson_back():
    memory, at = taught()
    watched(memory, begin=at + 5.0, seconds=700.0, waiting=nobody, offered=1.2)
    assert memory.ratio == pytest.approx(0.6, rel=0.01)


def test_a_lesson_is_part_of_the_memory():
    memory, _ = taught()
    assert through_json(memory) == memory


def test_pages_of_an_overrun_replica_teach_it():
    """From the samples themselves: a queue grows at a replica that finishes 5 requests a second."""
    memory = DemandMemory()
    pod = Pod(name="a", sampled_at=0.0)
    targets = Targets(in_flight_requests=TARGET, waiting_requests=5.0, kv_usage_ratio=0.8)
    demand = None
    for tick in range(120):
        calm = tick < 60
        pod = replace(
            pod,
            sampled_at=TICK_S * tick,
            running=1.0 if calm else 12.0,
            waiting=0.0 if calm else 10.0 * (tick - 59),
            finished=pod.finished + (10.0 if calm else 25.0),
        )
        replicas = columns(pod)
        demand = measure_demand(
            memory,
            at=TICK_S * tick,
            replicas=replicas,
            fresh=answering(replicas),
            targets=targets,
        )
    assert demand is not None
    assert demand.carried_ratio < 0.15
    assert "were seen to carry" in demand.message
