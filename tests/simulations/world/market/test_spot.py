"""Spot recordings: three formats by content, unrolled over any span, and a market of machines."""

import gzip
from pathlib import Path

import pytest

from autoscaler.errors import TraceError
from simulations.agenda import NS
from simulations.rng import stream
from simulations.world.market.spot import MachineLife, SpotHistory, SpotMarket, read_spot
from tests.require import traces_folder

EVENTS = "t_ms,event,node\n0,add,a\n0,add,b\n60000,remove,a\n90000,add,c\n120000,remove,b\n"
COUNTS = (
    "time,instances\n"
    "2021-12-10 13:00:00,3\n2021-12-10 13:01:00,3\n2021-12-10 13:02:00,3\n"
    "2021-12-10 13:01:00,1\n2021-12-10 13:02:00,1\n2021-12-10 13:03:00,1\n"
    "2021-12-10 13:02:00,2\n2021-12-10 13:03:00,2\n2021-12-10 13:04:00,2\n"
)


def life(up_s: float, down_s: float, zone: str = "", kind: str = "") -> MachineLife:
    return MachineLife(
        up_ns=int(up_s * NS), down_ns=int(down_s * NS), zone=zone, instance_type=kind
    )


EAST, WEST = ("east", "v100"), ("west", "k80")


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
    with pytest.raises(TraceError, match="line 5: the gzip stream is truncated"):
        read_spot(path)


PROBES = (
    "time_utc,event,instance,zone,gpu,gpus\n"
    "2020-03-01T10:00:00.000Z,created,a,east,v100,1\n"
    "2020-03-01T10:00:01.000Z,running,a,east,v100,1\n"
    "2020-03-01T10:00:02.000Z,create_failed,b,,,\n"
    "2020-03-01T10:00:03.000Z,not_running,b,west,,\n"
    "2020-03-01T10:10:00.000Z,running,a,east,v100,1\n"
    "2020-03-01T10:20:00.000Z,not_running,a,east,v100,1\n"
    "2020-03-01T10:20:09.000Z,deleted,a,,v100,1\n"
    "2020-03-01T10:25:00.500Z,running,c,west,k80,1\n"
    "2020-03-01T10:30:00.000Z,created,a,east,v100,1\n"
    "2020-03-01T10:40:00.000Z,create_failed,b,,,\n"
)


@pytest.mark.parametrize(
    ("settings", "lives"),
    [
        (",slot=a", [life(0, 1200, *EAST), life(1800, 2400, *EAST)]),
        (",zone=east,gpu=v100", [life(0, 1200, *EAST), life(1800, 2400, *EAST)]),
        (",zone=west", [life(1500.5, 2400, *WEST)]),
        (",slot=b", []),
        (",slot=c,machines=3", [life(1500.5, 2400, *WEST)] * 3),
        ("", [life(0, 1200, *EAST), life(1500.5, 2400, *WEST), life(1800, 2400, *EAST)]),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_start_succeeds_while_the_probe_says_so(
    tmp_path: Path, settings: str, lives: list[MachineLife], *, zipped: bool
):
    path = tmp_path / "probes.csv"
    path.write_bytes(gzip.compress(PROBES.encode()) if zipped else PROBES.encode())
    history = read_spot(f"{path}{settings}")
    assert list(history.lives) == lives
    assert history.span_ns == 2400 * NS
    assert history.name == f"probes{settings}"


def test_in_a_slot_that_was_never_had_nothing_can_be_bought(tmp_path: Path):
    path = tmp_path / "probes.csv"
    path.write_text(PROBES)
    history = read_spot(f"{path},slot=b")
    lives = list(history.unrolled(offset_ns=5 * NS, until_ns=10_000 * NS))
    market = SpotMarket(lives, stream(1, "test"))
    assert market.take(0) is None
    assert market.next_change_ns() is None


@pytest.mark.parametrize(
    ("rows", "settings", "found"),
    [
        ("", ",slot=z", "no such slot; there are a (east, v100); b (west, gpu not said); c (west"),
        ("", ",zone=east,gpu=k80", "no such slot"),
        ("", ",machines=1.5", "machines is '1.5'; write a whole number"),
        ("", ",machines=0", "machines is '0'; write a number from 1"),
        ("", ",node=a", "no setting 'node' of availability probes; write one of slot, zone"),
        ("2020-03-01T10:39:00.000Z,running,a,east,v100,1\n", "", "line 12: '2020-03-01T10:39"),
        ("2020-03-01T11:00:00.000Z,lost,a,east,v100,1\n", "", "an event is one of created"),
        ("noon,running,a,east,v100,1\n", "", "line 12: 'noon,running,a,east,v100,1'; write time"),
        ("2020-03-01T11:00:00.000Z,running\n", "", "line 12"),
    ],
)
def test_what_is_wrong_with_probes_is_said(tmp_path: Path, rows: str, settings: str, found: str):
    path = tmp_path / "probes.csv"
    path.write_text(PROBES + rows)
    with pytest.raises(TraceError) as caught:
        read_spot(f"{path}{settings}")
    assert found in str(caught.value)


def test_machines_and_counts_have_no_slots(tmp_path: Path):
    path = tmp_path / "market.csv"
    path.write_text(EVENTS)
    with pytest.raises(TraceError, match="no setting 'slot' of this format"):
        read_spot(f"{path},slot=a")


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


def test_a_market_sells_by_zone_to_whom_asks_for_one():
    market = SpotMarket([life(0, 100, "a"), life(0, 100, "b")], stream(1, "test"))
    assert market.take(0, zone="c") is None
    assert market.take(0, zone="b") == life(0, 100, "b")
    assert market.take(0, zone="b") is None
    assert market.take(0) == life(0, 100, "a")


def test_probes_tell_the_zones_also_of_slots_that_were_never_had(tmp_path: Path):
    path = tmp_path / "probes.csv"
    path.write_text(PROBES)
    assert read_spot(path).zones == ("east", "west")
    assert read_spot(f"{path},slot=b").zones == ("west",)


BIDS = (
    "time_utc,zone,instance_type,product,price_usd_per_h\n"
    "2020-01-01T00:00:00.000Z,a,p3.2xlarge,Linux/UNIX,1.00\n"
    "2020-01-01T00:10:00.000Z,b,p3.2xlarge,Linux/UNIX,0.90\n"
    "2020-01-01T00:20:00.000Z,a,p3.2xlarge,Linux/UNIX,1.10\n"
    "2020-01-01T00:30:00.000Z,a,p3.2xlarge,Linux/UNIX,1.30\n"
    "2020-01-01T00:40:00.000Z,a,p3.2xlarge,Linux/UNIX,1.20\n"
)


def test_prices_are_a_market_at_a_bid(tmp_path: Path):
    """A machine is there while it costs no more; a zone whose first price comes later begins there."""
    path = tmp_path / "prices.csv"
    path.write_text(BIDS)
    a, b = ("a", "p3.2xlarge"), ("b", "p3.2xlarge")
    history = read_spot(f"{path},bid=1.2,machines=2")
    assert history.zones == ("a", "b")
    assert history.lives == (*[life(0, 1800, *a)] * 2, *[life(600, 2400, *b)] * 2)
    assert history.span_ns == 2400 * NS
    assert read_spot(f"{path},bid=0.95").lives == (life(600, 2400, *b),)
    assert read_spot(f"{path},bid=0.95,zone=a").lives == ()


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ("", "prices are a market only at a bid; write bid="),
        (",bid=1,slot=a", "no setting 'slot' of prices as a market; write one of"),
        (",bid=1,machines=1.5", "machines is '1.5'; write a whole number"),
        (",bid=much", "bid"),
        (",bid=1,zone=z", "no zone 'z'; write one of a, b"),
    ],
)
def test_what_is_wrong_with_a_bid_is_said(tmp_path: Path, settings: str, found: str):
    path = tmp_path / "prices.csv"
    path.write_text(BIDS)
    with pytest.raises(TraceError) as caught:
        read_spot(f"{path}{settings}")
    assert found in str(caught.value)


@pytest.mark.traces
def test_the_recorded_markets_hold_what_their_publishers_say():
    folder = traces_folder() / "spot"
    aws = read_spot(folder / "bamboo_aws_p3.csv.gz")
    assert aws.span_ns / (3600 * NS) == pytest.approx(11.4, abs=0.05)
    assert _mean_alive(aws) == pytest.approx(24.0, abs=0.1)
    gcp = read_spot(folder / "bamboo_gcp_v100_us-east1-c.csv.gz")
    assert gcp.span_ns / (3600 * NS) == pytest.approx(24.2, abs=0.05)
    assert _mean_alive(gcp) == pytest.approx(77, abs=1.5)
    probes = read_spot(folder / "toad_gcp_2020-03-01.csv.gz")
    assert probes.span_ns / (3600 * NS) == pytest.approx(69, abs=0.5)
    # one of the nine slots was never had; the best one was had for most of the time
    assert read_spot(f"{folder / 'toad_gcp_2020-03-01.csv.gz'},slot=instance3").lives == ()
    best = read_spot(f"{folder / 'toad_gcp_2020-03-01.csv.gz'},zone=us-west1-b,gpu=v100")
    assert len(best.lives) == 25
    assert 0.8 < _mean_alive(best) < 1.0


def _mean_alive(history: SpotHistory) -> float:
    return sum(x.down_ns - x.up_ns for x in history.lives) / history.span_ns
