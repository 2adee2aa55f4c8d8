"""Sums over a sliding span."""

from __future__ import annotations

import pytest

from autoscaler.core.demand.ratio_window import RatioWindow
from tests.core.checkpoints import through_json


def test_what_is_older_than_the_span_leaves():
    window = RatioWindow(span_s=60.0, bucket_s=10.0)
    for tick in range(100):
        window.add(5.0 * tick, numerator=2.0, denominator=1.0)
    assert window.denominator == pytest.approx(12.0, abs=2.0)
    assert window.numerator == 2.0 * window.denominator


def test_a_long_silence_empties_it():
    window = RatioWindow(span_s=60.0, bucket_s=10.0)
    window.add(0.0, numerator=9.0, denominator=3.0)
    window.add(1000.0, numerator=0.0, denominator=0.0)
    assert (window.numerator, window.denominator) == (0.0, 0.0)


def test_sums_do_not_drift():
    window = RatioWindow(span_s=60.0, bucket_s=10.0)
    for tick in range(50_000):
        window.add(0.5 * tick, numerator=0.1, denominator=1e9 if tick < 100 else 0.1)
    assert window.numerator == pytest.approx(window.denominator, rel=1e-12)


def test_a_checkpoint_goes_on_alike():
    window = RatioWindow(span_s=60.0, bucket_s=10.0)
    for tick in range(33):
        window.add(3.3 * tick, numerator=0.1 * tick, denominator=1.0)
    other = through_json(window)
    for tick in range(33, 66):
        for each in (window, other):
            each.add(3.3 * tick, numerator=0.1 * tick, denominator=1.0)
        assert (window.numerator, window.denominator) == (other.numerator, other.denominator)
