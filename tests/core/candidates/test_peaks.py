"""The loads that rules look at, held against lists of all steps and of all replicas."""

from __future__ import annotations

import random

import pytest

from autoscaler.core.candidates.peaks import BLOCK, FINE, PeakMemory
from autoscaler.core.candidates.rules import MEANS_S, RULES, SHARES, WINDOWS, window_steps
from autoscaler.core.tuning import TUNING

START_S = 180.0
START_STEPS = round(START_S / TUNING.play_s)


def waves(seed: int, steps: int) -> list[float]:
    """Loads that stay, jump and fall."""
    chance = random.Random(seed)
    loads, load = [], 1.0
    for _ in range(steps):
        if chance.random() < 0.03:
            load = chance.choice((0.0, 0.5, 2.0, 7.0, 20.0)) * chance.random()
        loads.append(load * chance.uniform(0.8, 1.2))
    return loads


def means(loads: list[float]) -> list[list[float]]:
    found = []
    for mean_s in MEANS_S:
        span = round(mean_s / TUNING.play_s)
        found.append(
            [
                sum(loads[max(0, end - span) : end]) / min(span, end)
                for end in range(1, len(loads) + 1)
            ]
        )
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_peak_is_the_highest_load_of_its_window(seed):
    loads = waves(seed, 700)
    memory = PeakMemory()
    for load in loads:
        memory.add(load, cold_start_s=START_S)
    for row, series in enumerate(means(loads)):
        for window, span in enumerate(window_steps(START_S).tolist()):
            peak = memory.asked[row * WINDOWS + window]
            if span <= FINE:
                assert peak == pytest.approx(max(series[-span:]))
            else:  # by blocks: all of the window, and no more than a block before it
                # the block that is being filled may have just begun, and the whole ones lie behind it
                assert max(series[-(span - BLOCK) :]) - 1e-9 <= peak
                assert peak <= max(series[-(span + BLOCK) :]) + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_ready_is_what_replicas_would_be_that_start_one_by_one(seed):
    """Each asked for when the rule asks for more, the youngest given up first, ready one cold start later."""
    loads = waves(seed, 400)
    memory = PeakMemory()
    starts: list[list[int]] = [[] for _ in range(2 * WINDOWS)]
    for step, load in enumerate(loads):
        memory.add(load, cold_start_s=START_S)
        ready = memory.ready(START_S)
        for peak, began in enumerate(starts):
            asked = int(memory.asked[peak])
            del began[asked:]
            began.extend([step] * (asked - len(began)))
            if step >= START_STEPS:
                serving = sum(step - start >= START_STEPS - 1 for start in began)
                assert int(ready[peak]) == serving, (step, peak)


def test_before_a_window_is_full_what_is_known_counts():
    memory = PeakMemory()
    memory.add(3.0, cold_start_s=START_S)
    assert memory.asked.tolist() == [3.0] * len(memory.asked)
    assert memory.ready(START_S).tolist() == [3.0] * len(memory.asked)


def test_a_rule_says_what_it_does():
    assert RULES[0].said(START_S) == (
        "the highest load of 2 min (means of 30 s), replicas filled to 0.42"
    )
    assert len(RULES) == len(MEANS_S) * WINDOWS * len(SHARES)
    assert RULES[-1].said(START_S) == (
        "the highest load of 12 h (means of 120 s), replicas filled to 1.68"
    )
