"""Quantities as the HPA controller reads them: whole milli-units, away from zero."""

import pytest

from autoscaler.errors import SettingsError
from simulations.peers.hpa.quantities import milli


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("12", 12_000),
        ("4500m", 4500),
        ("0.02k", 20_000),
        ("1Gi", 2**30 * 1000),
        ("2e3", 2_000_000),
        ("49999999u", 50_000),  # 49,999.999 milli-units round up
        ("1n", 1),
        ("-1n", -1),  # away from zero on both sides
        ("-2", -2000),
        ("1.", 1000),
        (".5", 500),
    ],
)
def test_a_quantity_is_whole_milli_units_away_from_zero(quantity: str, expected: int):
    assert milli(quantity) == expected


@pytest.mark.parametrize("text", ["", "five", "1Q", "1 k", "1kk", "--1", "١"])
def test_what_is_no_quantity_is_named(text: str):
    with pytest.raises(SettingsError, match="no Kubernetes quantity"):
        milli(text)
