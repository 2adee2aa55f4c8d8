"""Prices of the user's own."""

from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.errors import SettingsError
from simulations.serving.profiles.profiles import PROFILES
from simulations.world.market.prices import priced
from tests.simulations.world.world_builder import PROFILE


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text)
    return path


def test_given_prices_hold_for_all_gpus_of_a_replica(tmp_path: Path):
    path = written(tmp_path, "[H100]\nusd_per_hour = 3\nspot_usd_per_hour = 1.5\n")
    four = priced(PROFILES["llama-3.3-70b/4xH100"], path)
    assert (four.usd_per_hour, four.spot_usd_per_hour) == (12.0, 6.0)
    assert replace(four, in_flight_target=9).usd_per_hour == 12.0


def test_what_is_not_given_is_listed(tmp_path: Path):
    path = written(tmp_path, "[H100]\nusd_per_hour = 3\n")
    assert priced(PROFILE, path) is PROFILE
    listed = PROFILES["llama-3.1-8b/1xH100"]
    assert priced(listed, path).spot_usd_per_hour == listed.spot_usd_per_hour


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "holds no GPU"),
        ("[H100\n", "cannot be read"),
        ("[TPU]\nusd_per_hour = 3\n", "no GPU 'TPU'; write one of L40S"),
        ("H100 = 3\n", "H100 is 3; write usd_per_hour and spot_usd_per_hour below"),
        ("[H100]\nusd = 3\n", "no key 'usd'"),
        ("[H100]\nusd_per_hour = 0\n", "usd_per_hour is 0; write dollars above 0"),
        ("[H100]\nspot_usd_per_hour = 'cheap'\n", "spot_usd_per_hour is 'cheap'"),
        ("[H100]\nusd_per_hour = true\n", "usd_per_hour is True"),
        ("[H100]\nusd_per_hour = nan\n", "usd_per_hour is nan"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, found: str):
    with pytest.raises(SettingsError) as caught:
        priced(PROFILE, written(tmp_path, text))
    assert found in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read"):
        priced(PROFILE, tmp_path / "none.toml")
