"""How many requests a replica runs at once, as far as pages tell."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.core.hindsight.seats import SEATS_MOST, SeatsMemory
from tests.builders import group, model, observed, seen


def learn(memory: SeatsMemory, *groups: dict, looks: int = 1) -> float | None:
    rows = [group(ready=1, name=f"g{row}", **each) for row, each in enumerate(groups)]
    event = observed(seen(model(), *rows), at=0.0)
    replicas = event.models[0].replicas
    waiting = float(np.nansum(replicas.waiting_requests))
    for _ in range(looks):
        memory.learn(replicas, serving=replicas.ready, waiting=waiting)
    return memory.seats


def test_of_nobody_nothing_is_known():
    assert SeatsMemory().seats is None


def test_before_one_waited_it_is_what_the_kv_cache_would_hold():
    assert learn(SeatsMemory(), {"running": 30.0, "kv_usage": 0.25}, {"running": 10.0, "kv_usage": 0.25}) == pytest.approx(80.0)  # fmt: skip


def test_and_no_more_than_engines_run_by_default():
    assert learn(SeatsMemory(), {"running": 30.0, "kv_usage": 0.03}) == SEATS_MOST


def test_where_some_wait_it_is_what_runs_beside_them():
    """Whoever has room, because it is new, says nothing of those that are full."""
    memory = SeatsMemory()
    full = {"running": 128.0, "waiting": 60.0, "kv_usage": 0.5}
    assert learn(memory, full, {"running": 10.0, "kv_usage": 0.04}) == pytest.approx(
        256.0, rel=0.02
    )
    assert learn(memory, full, {"running": 10.0, "kv_usage": 0.04}, looks=6) == pytest.approx(128.0)


def test_few_that_wait_wait_for_the_next_step():
    memory = SeatsMemory()
    learn(memory, {"running": 12.0, "waiting": 2.0, "kv_usage": 0.1}, looks=200)
    assert memory.seats == pytest.approx(120.0)
