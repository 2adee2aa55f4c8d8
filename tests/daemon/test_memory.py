"""What the daemon remembers does not grow with the ticks it has made, in simulated time.

The engine, and everything that listens to it, over a fleet whose replicas come and go. Allocated blocks are
counted, not bytes of the process: the allocator gives those back when it likes.
"""

from __future__ import annotations

import gc
import logging
import sys

import pytest
import structlog

from tests.benchmarks.tick import Story
from tests.builders import specified
from tests.daemon.telemetry.test_telemetry import Stage
from tests.extent import examples

TICKS = examples(day=3_000, night=10_000)
BLOCKS_PER_TICK_MAX = 0.1
"""In the second half of the ticks: whatever keeps one object of each tick has ten times as many."""


@pytest.fixture(autouse=True)
def _no_logs():
    kept = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**kept)


def blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.slow
def test_memory_is_flat_over_thousands_of_ticks():
    stage, story = Stage(), Story(replicas=8)
    stage.feed(specified(story.spec()))
    counted: list[int] = []
    for number in range(1, TICKS + 1):
        event = story.look()
        stage.at = event.at
        [decision] = stage.feed(event).decisions
        story.follow(decision)
        if number % 100 == 0:
            stage.samples()
            stage.status.page()
        if number % (TICKS // 10) == 0:
            counted.append(blocks())
    half, end = max(counted[3:6]), max(counted[-2:])
    assert story.born > 2 * story.replicas, "replicas came and went"
    assert end - half < BLOCKS_PER_TICK_MAX * TICKS / 2, counted
