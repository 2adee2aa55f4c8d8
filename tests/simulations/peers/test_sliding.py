"""Means over windows, and averages out of counters that restart and vanish."""

import pytest

from simulations.peers.sliding import SlidingMean, TokenAverages
from tests.simulations.peers.views import page


def test_a_window_forgets_at_its_edge():
    window = SlidingMean(60.0)
    assert window.mean(0.0) is None
    window.add(0.0, 10.0)
    window.add(30.0, 20.0)
    assert window.mean(59.9) == 15.0
    assert window.mean(60.0) == 20.0
    assert window.values(60.0) == [20.0]
    assert window.mean(90.0) is None


def tokens(finished: int, prompt: int, output: int):
    return page(finished=finished, prompt_tokens=prompt, generation_tokens=output)


def test_averages_are_increments_over_increments():
    averages = TokenAverages(300.0)
    averages.add(0.0, {"a": tokens(100, 999_999, 999_999)})  # before the window: unknown
    assert averages.prompt_tokens is None
    averages.add(15.0, {"a": tokens(110, 1_009_999, 1_000_999)})
    assert averages.prompt_tokens == pytest.approx(1000.0)
    assert averages.output_tokens == pytest.approx(100.0)
    assert averages.finished_requests == 10


def test_a_counter_that_fell_has_restarted_and_a_pod_that_vanished_is_no_loss():
    averages = TokenAverages(300.0)
    averages.add(0.0, {"a": tokens(100, 50_000, 5_000), "b": tokens(10, 10_000, 1_000)})
    averages.add(15.0, {"a": tokens(5, 2_500, 250)})
    assert averages.finished_requests == 5
    assert averages.prompt_tokens == pytest.approx(500.0)


def test_old_increments_are_forgotten():
    averages = TokenAverages(60.0)
    averages.add(0.0, {"a": tokens(0, 0, 0)})
    averages.add(15.0, {"a": tokens(10, 1_000, 100)})
    averages.add(90.0, {"a": tokens(10, 1_000, 100)})
    assert averages.prompt_tokens is None
