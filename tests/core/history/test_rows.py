"""Rows as a store of metrics gives them, put right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.history.rows import ROWS_MAX, SoundRows, sound_rows

NAN = math.nan
EVER = math.inf


def given_rows(*rows: tuple[float, float], running: float = 2.0) -> HistoryColumns:
    """Rows as (end, arrivals per second)."""
    at = np.array([end for end, _ in rows])
    same = np.full(len(rows), running)
    return HistoryColumns(
        at=at,
        span_s=60.0,
        arrivals_per_s=np.array([rate for _, rate in rows]),
        completed_per_s=same,
        running_requests=same,
        waiting_requests=same,
        kv_usage_replicas=same,
        replicas=same,
    )


def put_right(rows: HistoryColumns, *, after: float = -EVER, until: float = EVER) -> SoundRows:
    return sound_rows(rows, after=after, until=until)


def arrivals(sound: SoundRows) -> list[tuple[float, float | None]]:
    rates = [None if math.isnan(rate) else rate for rate in sound.rows.arrivals_per_s.tolist()]
    return list(zip(sound.rows.at.tolist(), rates, strict=True))


@pytest.mark.parametrize(
    ("rule", "rows", "expected", "left_out"),
    [
        ("in order they stay", [(60, 1.0), (120, 2.0)], [(60, 1.0), (120, 2.0)], 0),
        ("they are put in order", [(120, 2.0), (60, 1.0)], [(60, 1.0), (120, 2.0)], 0),
        (
            "a moment counts once, as it was said first",
            [(60, 1.0), (120, 2.0), (120, 7.0)],
            [(60, 1.0), (120, 2.0)],
            1,
        ),
        (
            "two that are nearly one moment are one",
            [(60, 1.0), (120, 2.0), (121, 7.0)],
            [(61, 1.0), (121, 2.0)],
            1,
        ),
        (
            "what lacks is unknown and not zero",
            [(60, 1.0), (240, 2.0)],
            [(60, 1.0), (120, None), (180, None), (240, 2.0)],
            0,
        ),
        ("a moment that is none is left out", [(60, 1.0), (NAN, 2.0)], [(60, 1.0)], 1),
    ],
)
def test_rows_are_put_right(rule, rows, expected, left_out):
    sound = put_right(given_rows(*rows))
    assert arrivals(sound) == expected, rule
    assert sound.left_out == left_out


@pytest.mark.parametrize("nonsense", [-1.0, -0.01, math.inf, -math.inf, NAN])
def test_what_cannot_be_is_unknown(nonsense):
    """A rate below zero is a counter that began anew."""
    sound = put_right(given_rows((60, 1.0), (120, nonsense), (180, 3.0)))
    assert arrivals(sound) == [(60, 1.0), (120, None), (180, 3.0)]
    assert sound.known.tolist() == [True, True, True], "what is in flight is known"
    blind = put_right(given_rows((60, 1.0), (120, nonsense), (180, 3.0), running=NAN))
    assert blind.known.tolist() == [True, False, True]


def test_only_what_is_asked_for_is_taken():
    rows = given_rows(*((60.0 * minute, float(minute)) for minute in range(1, 11)))
    sound = put_right(rows, after=180.0, until=479.0)
    assert arrivals(sound) == [(60.0 * minute, float(minute)) for minute in range(4, 8)]
    assert sound.left_out == 6


def test_nothing_known_is_nothing():
    for rows in (given_rows(), given_rows((60, NAN), (120, NAN), running=NAN)):
        sound = put_right(rows)
        assert len(sound.rows) == 0
        assert sound.left_out == 0
    none_in_time = put_right(given_rows((60, 1.0)), after=60.0)
    assert (len(none_in_time.rows), none_in_time.left_out) == (0, 1)


def test_a_row_from_long_ago_costs_no_memory():
    sound = put_right(given_rows((60, 1.0), (1e15, 2.0), (1e15 + 60, 3.0)))
    assert len(sound.rows) <= ROWS_MAX
    assert sound.rows.arrivals_per_s[-1] == 3.0


@given(
    rows=st.lists(
        st.tuples(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True)),
        max_size=30,
    ),
    after=st.floats(allow_nan=False),
    until=st.floats(allow_nan=False),
)
def test_whatever_comes_is_in_order_bounded_and_no_more_than_came(rows, after, until):
    with np.errstate(over="ignore", invalid="ignore"):
        sound = put_right(given_rows(*rows), after=after, until=until)
    at = sound.rows.at
    assert len(at) <= ROWS_MAX
    assert np.all(np.diff(at) >= 0.0)
    assert int(np.count_nonzero(sound.known)) + sound.left_out == len(rows)
    rates = sound.rows.arrivals_per_s
    assert np.all(np.isnan(rates) | ((rates >= 0.0) & np.isfinite(rates)))
