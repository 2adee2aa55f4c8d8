"""Spot recordings: two formats by content, unrolled over any span, and a market of machines."""

import gzip
from pathlib import Path

import pytest

from autoscaler.errors import TraceError
from simulations.agenda import NS
from simulations.rng import stream
from simulations.spot import MachineLife, SpotHistory, SpotMarket, read_spot
from tests.require import traces_folder

EVENTS = "t_ms,event,node\n0,add,a\n0,add,b\n60000,remove,a\n90000,add,c\n120000,remove,b\n"
COUNTS = (
    "time,instances\n"
    "2021-12-10 13:00:00,3\n2021-12-10 13:01:00,3\n2021-12-10 13:02:00,3\n"
    "2021-12-10 13:01:00,1\n2021-12-10 13:02:00,1\n2021-12-10 13:03:00,1\n"
    "2021-12-10 13:02:00,2\n2021-12-10 13:03:00,2\n2021-12-10 13:04:00,2\n"
)


def life(up_s: float, down_s: float) -> MachineLife:
    return MachineLife(up_ns=int(up_s * NS), down_ns=int(down_s * NS))


@pytest.mark.parametrize("zipped", [False, True])
def test_machines_that_come_and_go_by_name(tmp_path: Path, *, zipped: bool):
    path = tmp_path / "market.csv.gz"
    path.write_bytes(gzip.compress(EVENTS.encode()) if zipped else EVENTS.encode())
    history = read_spot(path)
    assert history.name == "market"
    assert history.lives == (life(0, 60), life(0, 120), life(90, 180))
    assert history.span_ns == 180 * NS


def test_of_a_moment_told_several_times_the_last_is_the_reading(tmp_path: Path):
    path = tmp_path / "counts.csv"
    path.write_text(COUNTS)
    lives = read_spot(path).lives
    alive = [sum(x.up_ns <= t * 60 * NS < x.down_ns for x in lives) for t in range(5)]
    assert alive == [3, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("when,what\n1,2\n", "line 1: no known spot format"),
        ("", "no known spot format"),
        ("t_ms,event,node\n", "holds no machine"),
        ("t_ms,event,node\n5,add,a\n4,add,b\n", "line 3: '4,add,b'"),
        ("t_ms,event,node\n5,remove,a\n", "line 2"),
        ("t_ms,event,node\n5,add,a\n6,add,a\n", "line 3"),
        ("t_ms,event,node\nsoon,add,a\n", "line 2"),
        ("time,instances\nnoon,5\n", "line 2"),
        ("time,instances\n2021-12-10 13:00:00,many\n", "line 2"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, found: str):
    path = tmp_path / "market.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=found):
        read_spot(path)


def test_a_truncated_gzip_is_said(tmp_path: Path):
    path = tmp_path / "market.csv.gz"
    path.write_bytes(gzip.compress(EVENTS.encode())[:-12])
    with pytest.raises(TraceError, match="cannot be read"):
        read_spot(path)


def test_a_recording_begins_anew_as_often_as_needed():
    history = SpotHistory(name="x", span_ns=100 * NS, lives=(life(0, 40), life(30, 100)))
    unrolled = sorted(
        (x.up_ns // NS, x.down_ns // NS)
        for x in history.unrolled(offset_ns=50 * NS, until_ns=160 * NS)
    )
    assert unrolled == [(0, 50), (50, 90), (80, 150), (150, 190)]


def test_a_market_sells_each_machine_once_while_it_lives():
    market = SpotMarket([life(0, 100), life(10, 50)], stream(1, "test"))
    first = market.take(0)
    assert first == life(0, 100)
    assert market.take(5) is None
    assert market.next_change_ns() == 10 * NS
    assert market.take(10 * NS) == life(10, 50)
    market.give_back(life(0, 100))
    assert market.take(99 * NS) == life(0, 100)
    market.give_back(life(0, 100))
    assert market.take(100 * NS) is None


@pytest.mark.traces
def test_the_recorded_markets_hold_what_their_publishers_say():
    folder = traces_folder() / "spot"
    aws = read_spot(folder / "bamboo_aws_p3.csv.gz")
    assert aws.span_ns / (3600 * NS) == pytest.approx(11.4, abs=0.05)
    assert _mean_alive(aws) == pytest.approx(24.0, abs=0.1)
    gcp = read_spot(folder / "bamboo_gcp_v100_us-east1-c.csv.gz")
    assert gcp.span_ns / (3600 * NS) == pytest.approx(24.2, abs=0.05)
    assert _mean_alive(gcp) == pytest.approx(77, abs=1.5)


def _mean_alive(history: SpotHistory) -> float:
    return sum(x.down_ns - x.up_ns for x in history.lives) / history.span_ns
