"""Blocks are counted without dividing, and exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from simulations.serving.kernel.division import BITS, reciprocal

DIVISORS = st.one_of(
    st.integers(1, (1 << BITS) - 1),
    st.integers(0, BITS - 1).map(lambda bits: 1 << bits),
    st.integers(1, 4096),
)


@given(divisor=DIVISORS, quotient=st.integers(0, 1 << BITS), beyond=st.integers(-1, 1))
def test_the_product_is_the_quotient_on_both_sides_of_every_multiple(
    divisor: int, quotient: int, beyond: int
) -> None:
    most = (1 << BITS) - 1
    dividend = min(most, max(0, min(quotient, most // divisor) * divisor + beyond))
    factor, shift = reciprocal(divisor)
    assert dividend * factor >> shift == dividend // divisor


@given(divisor=DIVISORS)
def test_the_largest_product_fits_int64(divisor: int) -> None:
    factor, shift = reciprocal(divisor)
    assert factor * ((1 << BITS) - 1) < 1 << 63
    assert shift < 64
