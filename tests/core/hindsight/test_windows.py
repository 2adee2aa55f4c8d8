"""Sums over windows: what is in them, and what has left them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from autoscaler.core.contract.codec import from_builtins, to_builtins
from autoscaler.core.hindsight.windows import SLOTS, SPANS_S, HindsightWindows


def windows() -> HindsightWindows:
    made = HindsightWindows()
    made.begin(2)
    return made


def test_nothing_is_nothing():
    assert windows().totals(at=1e9).tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize("seed", range(6))
def test_each_window_has_what_came_in_it_met_within_a_slot(seed: int):
    """Against a plain list; also over pauses longer than a window, and asked for later than the last step."""
    rng = random.Random(seed)
    made, came, at = windows(), [], 1.7e9 + rng.uniform(0.0, 1e6)
    for _ in range(3000):
        at += rng.choice(
            [15.0, 15.0, 15.0, 400.0, rng.uniform(0.0, 4e4) if rng.random() < 0.1 else 15.0]
        )
        came.append((at, 15.0, rng.uniform(0.0, 900.0)))
        made.add(np.array(came[-1][1:]), at=at)
        if rng.random() < 0.95:
            continue
        now = at + rng.choice([0.0, 7.0, 5_000.0, 2e5])
        for span_s, slots, total in zip(SPANS_S, SLOTS, made.totals(at=now).tolist(), strict=True):
            slot_s = span_s / slots
            since = (now // slot_s - slots) * slot_s
            within = [each for each in came if each[0] >= since]
            assert total == pytest.approx([sum(e[1] for e in within), sum(e[2] for e in within)], rel=2e-3)  # fmt: skip


def test_memory_does_not_grow_and_a_checkpoint_goes_on():
    made = windows()
    for step in range(20_000):
        made.add(np.array([15.0, np.nan if step == 19_000 else 1.0]), at=15.0 * step)
    copy = from_builtins(to_builtins(made, HindsightWindows), HindsightWindows)
    for each in (made, copy):
        each.add(np.array([15.0, 1.0]), at=15.0 * 20_000)
    assert to_builtins(made, HindsightWindows) == to_builtins(copy, HindsightWindows)
    np.testing.assert_array_equal(made.totals(at=300_015.0), copy.totals(at=300_015.0))
    assert made.slots.shape == (sum(SLOTS), 2)
    hour, day, _ = copy.totals(at=300_015.0)
    assert not np.isnan(hour[1])
    assert np.isnan(day[1]), "unknown is never zero"
