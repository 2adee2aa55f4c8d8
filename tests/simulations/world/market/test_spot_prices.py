"""Spot prices that move: integrals, the cheapest zone, and a bound that stays one."""

import gzip
from pathlib import Path

import pytest

from autoscaler.core.contract.state import CapacityType
from autoscaler.errors import SettingsError, TraceError
from simulations.replay.conditions import ConditionsRequest, conditions_of
from simulations.results.scorecard import cost_usd
from simulations.serving.profiles.hardware import GPUS
from simulations.serving.profiles.profiles import PROFILES
from simulations.world.ledger import Payment
from simulations.world.market.prices import MarketProfile, lowest_spot_usd_per_hour, priced
from simulations.world.market.spot_prices import SpotPrices, read_price_history
from tests.require import traces_folder

HOUR = 3600 * 10**9
HISTORY = (
    "time_utc,zone,instance_type,product,price_usd_per_h\n"
    "2020-01-01T00:00:00.000Z,a,p3.8xlarge,Linux/UNIX,4.0\n"
    "2020-01-01T00:00:00.000Z,a,p2.xlarge,Linux/UNIX,0.5\n"
    "2020-01-01T01:00:00.000Z,b,p3.8xlarge,Linux/UNIX,2.0\n"
    "2020-01-01T02:00:00.000Z,b,p3.8xlarge,Linux/UNIX,8.0\n"
    "2020-01-01T04:00:00.000Z,a,p3.8xlarge,Linux/UNIX,6.0\n"
    "2020-01-01T05:00:00.000Z,a,p3.8xlarge,Linux/UNIX,6.0\n"
)
ONE = "llama-3.1-8b/1xH100"
FOUR = "llama-3.3-70b/4xH100"


def written(folder: Path, text: str = HISTORY, *, zipped: bool = False) -> str:
    path = folder / "prices.csv"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return str(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_without_a_zone_the_cheapest_of_each_moment_is_paid(tmp_path: Path, *, zipped: bool):
    spec = written(tmp_path, zipped=zipped) + ",instance_type=p3.8xlarge"
    prices = read_price_history(spec).prices
    # four GPUs; a at 4, then b at 2, then a again at 4, then a at 6 (b costs 8)
    assert prices.at_s == (0.0, 3600.0, 7200.0, 14_400.0)
    assert prices.usd_per_gpu_hour == (1.0, 0.5, 1.0, 1.5)
    assert prices.span_s == 5 * 3600
    assert prices.mean_usd_per_gpu_hour == pytest.approx((1 + 0.5 + 2 + 1.5) / 5)
    alone = read_price_history(spec + ",zone=a").prices
    assert alone.usd_per_gpu_hour == (1.0, 1.5)


SERIES = SpotPrices.of([(0.0, 1.0), (3600.0, 0.5), (7200.0, 2.0)], span_s=10_800.0)


@pytest.mark.parametrize(
    ("from_h", "to_h", "usd"),
    [(0, 1, 1.0), (0.5, 1.5, 0.75), (1, 3, 2.5), (0, 3, 3.5), (2.5, 3.5, 1.5), (0, 30, 35.0)],
)
def test_a_replica_pays_what_each_moment_cost_and_the_history_begins_anew(
    from_h: float, to_h: float, usd: float
):
    paid = SERIES.usd(from_ns=round(from_h * HOUR), to_ns=round(to_h * HOUR))
    assert paid == pytest.approx(usd)


@pytest.mark.parametrize(
    ("from_s", "until_h", "lowest"),
    [
        (0, 0.5, 1.0),
        (0, 2, 0.5),
        (7200, 0.5, 2.0),
        (7200, 1.5, 1.0),
        (7200, 2.5, 0.5),
        (0, 99, 0.5),
    ],
)
def test_the_lowest_price_is_that_of_the_trace_not_of_the_history(
    from_s: float, until_h: float, lowest: float
):
    series = SpotPrices.of(
        list(zip(SERIES.at_s, SERIES.usd_per_gpu_hour, strict=True)),
        span_s=SERIES.span_s,
        from_s=from_s,
    )
    assert series.lowest_usd_per_gpu_hour(until_ns=round(until_h * HOUR)) == lowest


def test_spot_is_charged_by_the_moment_and_on_demand_is_not(tmp_path: Path):
    spec = written(tmp_path) + ",instance_type=p3.8xlarge,on_demand=3.06"
    profile = priced(PROFILES[FOUR], spec)
    payments = [
        Payment(capacity_type=CapacityType.SPOT, from_ns=0, to_ns=2 * HOUR),
        Payment(capacity_type=CapacityType.SPOT, from_ns=4 * HOUR, to_ns=5 * HOUR),
        Payment(capacity_type=CapacityType.ON_DEMAND, from_ns=0, to_ns=HOUR),
    ]
    assert cost_usd(payments, profile) == pytest.approx(4 * (1.5 + 1.5 + 3.06))
    assert profile.spot_usd_per_hour == pytest.approx(4 * 1.0)  # what a policy is told: the mean
    assert lowest_spot_usd_per_hour(profile, until_ns=HOUR // 2) == 4 * 1.0
    assert lowest_spot_usd_per_hour(profile, until_ns=3 * HOUR) == 4 * 0.5


def test_the_trace_begins_where_it_is_told(tmp_path: Path):
    spec = written(tmp_path) + ",instance_type=p3.8xlarge,from=4h"
    profile = priced(PROFILES[ONE], spec)
    payment = Payment(capacity_type=CapacityType.SPOT, from_ns=0, to_ns=2 * HOUR)
    assert cost_usd([payment], profile) == pytest.approx(1.5 + 1.0)


def test_at_list_level_only_the_movement_counts(tmp_path: Path):
    spec = written(tmp_path) + ",instance_type=p3.8xlarge,level=list"
    profile = priced(PROFILES[ONE], spec)
    assert profile.spot_usd_per_hour == pytest.approx(GPUS["H100"].spot_usd_per_hour)
    assert isinstance(profile, MarketProfile)
    assert profile.spot_prices.usd_per_gpu_hour[3] == pytest.approx(
        1.5 * GPUS["H100"].spot_usd_per_hour
    )
    assert profile.usd_per_hour == PROFILES[ONE].usd_per_hour


@pytest.mark.parametrize(
    ("rows", "settings", "found"),
    [
        ("", "", "several of instance_type; write instance_type= with p2.xlarge, p3.8xlarge"),
        ("", ",instance_type=p9", "no instance_type 'p9'; write one of p2.xlarge, p3.8xlarge"),
        ("", ",instance_type=p2.xlarge,zone=b", "no zone 'b'; write one of a"),
        ("", ",instance_type=p2.xlarge,region=b", "no setting 'region' of a price history"),
        ("", ",instance_type=p2.xlarge,level=half", "level is 'half'; write recorded or list"),
        ("", ",instance_type=p2.xlarge,from=noon", "from is 'noon'"),
        ("2020-01-01T06:00:00.000Z,a,x.y,L,1\n", ",instance_type=x.y", "write gpus=NUMBER"),
        ("2020-01-01T00:00:00.000Z,a,x.y,L,1\n", ",instance_type=x.y", "line 8: 2020-01-01T00"),
        ("2020-01-01T06:00:00.000Z,a,x.y,L,0\n", "", "line 8: price_usd_per_h is '0'"),
        ("2020-01-01T06:00:00.000Z,a,x.y,L\n", "", "line 8: '2020-01-01T06"),
        ("noon,a,x.y,L,1\n", "", "line 8: 'noon,a,x.y,L,1'; write time_utc"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, rows: str, settings: str, found: str):
    with pytest.raises(TraceError) as caught:
        priced(PROFILES[ONE], written(tmp_path, HISTORY + rows) + settings)
    assert found in str(caught.value)


def test_flat_prices_have_no_settings(tmp_path: Path):
    path = tmp_path / "prices.toml"
    path.write_text("[H100]\nusd_per_hour = 3\n")
    with pytest.raises(SettingsError, match="only a history of prices has settings"):
        priced(PROFILES[ONE], f"{path},zone=a")


def test_a_history_of_spot_prices_needs_a_spot_market(tmp_path: Path):
    prices = written(tmp_path) + ",instance_type=p2.xlarge"
    with pytest.raises(SettingsError, match="name a market with --spot"):
        conditions_of(ConditionsRequest(profile=ONE, prices=prices))


@pytest.mark.traces
def test_the_recorded_history_has_what_its_publisher_says():
    path = traces_folder() / "spot" / "toad_aws_spot_prices_us-east-1.csv.gz"
    prices = read_price_history(f"{path},instance_type=p3.2xlarge,zone=us-east-1b").prices
    assert len(prices.at_s) <= 371
    assert min(prices.usd_per_gpu_hour) == 0.9328
    assert max(prices.usd_per_gpu_hour) == 1.2251
    assert prices.span_s / 86_400 == pytest.approx(91, abs=1.0)
    cheapest = read_price_history(f"{path},instance_type=p3.2xlarge").prices
    assert cheapest.mean_usd_per_gpu_hour < prices.mean_usd_per_gpu_hour
