"""Numbers in few bytes: as near as the notches are, and whatever is read, nothing but GarbledError."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.knowledge.packing import GarbledError, Notches, Packer, Unpacker
from tests.extent import examples

FINE: Notches = {"ratio": 1e4, "count": 2_000}
COARSE: Notches = {"ratio": 100.0, "count": 50}
MAGNITUDES = st.lists(st.just(0.0) | st.floats(1e-9, 1e9), min_size=1, max_size=40)


@settings(max_examples=examples(day=60, night=2_000), deadline=None)
@given(values=MAGNITUDES, notches=st.sampled_from([FINE, COARSE]))
def test_a_magnitude_keeps_as_much_of_itself_as_its_levels_are_apart(values, notches):
    column = np.array(values)
    packer = Packer()
    packer.notches(column, **notches)
    unpacker = Unpacker(packer.packed())
    found = unpacker.notches(column.shape, **notches)
    unpacker.end()
    step = notches["ratio"] ** (1.0 / (notches["count"] - 1))
    least = column.max() / notches["ratio"]
    for was, now in zip(column, found, strict=True):
        if was >= least:
            assert was / step <= now <= was * step
        else:
            assert now == 0.0 or now <= least * step, "too small to matter"


@settings(max_examples=examples(day=60, night=2_000), deadline=None)
@given(values=MAGNITUDES)
def test_what_was_read_is_written_the_same_again(values):
    packer = Packer()
    packer.notches(np.array(values), **FINE)
    once = packer.packed()
    again = Packer()
    again.notches(Unpacker(once).notches((len(values),), **FINE), **FINE)
    assert again.packed() == once


@settings(max_examples=examples(day=60, night=5_000), deadline=None)
@given(packed=st.binary(max_size=60))
def test_whatever_is_read_is_a_number_that_can_be_or_refused(packed):
    for take in (
        lambda unpacker: unpacker.floats(3),
        lambda unpacker: unpacker.moments(2, until=1e10),
        lambda unpacker: unpacker.counts(3, most=5),
        lambda unpacker: unpacker.notches((2, 3), **FINE),
        lambda unpacker: unpacker.notches((4,), **COARSE),
        lambda unpacker: unpacker.text(),
    ):
        try:
            found = take(Unpacker(packed))
        except GarbledError:
            continue
        numbers = [] if isinstance(found, str) else [each for each in found if each is not None]
        assert np.isfinite(np.array(numbers, dtype=np.float64)).all()


def test_less_than_there_should_be_is_refused():
    with pytest.raises(GarbledError, match="less"):
        Unpacker(b"\x01").counts(1)


def test_more_than_there_should_be_is_refused():
    with pytest.raises(GarbledError, match="more"):
        Unpacker(b"\x01").end()
