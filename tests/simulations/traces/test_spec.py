"""What may stand behind a path, and parts of recordings: the same requests that the whole has there."""

import math
from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import TraceError
from simulations.traces.spec import split_spec, trace_spec
from simulations.traces.trace import read_trace


@pytest.mark.parametrize(
    ("text", "path", "settings"),
    [
        ("a/b.csv.gz", "a/b.csv.gz", {}),
        ("b.csv,from=1d,days=2", "b.csv", {"from": "1d", "days": "2"}),
        ("b.csv,model=Qwen/Qwen3-32B", "b.csv", {"model": "Qwen/Qwen3-32B"}),
        ("b.csv,log_type=Conversation log", "b.csv", {"log_type": "Conversation log"}),
        ("one, two.csv", "one, two.csv", {}),
        ("b.csv,from=", "b.csv", {"from": ""}),
    ],
)
def test_settings_stand_behind_the_path(text: str, path: str, settings: dict[str, str]):
    assert split_spec(text) == (Path(path), settings)


def test_a_file_of_that_very_name_is_a_path(tmp_path: Path):
    path = tmp_path / "b.csv,from=1"
    path.write_text("t_s,input_tokens,output_tokens\n0,1,1\n")
    assert split_spec(str(path)) == (path, {})
    assert read_trace(str(path)).name == "b.csv,from=1"


def test_a_folder_may_have_a_comma_and_an_equals_sign(tmp_path: Path):
    folder = tmp_path / "a,b=1"
    folder.mkdir()
    path = folder / "c.csv"
    path.write_text("t_s,input_tokens,output_tokens\n0,1,1\n")
    assert split_spec(f"{path},thin=0.5") == (path, {"thin": "0.5"})


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("36h", 129_600), (".5d", 43_200)],
)
def test_durations(duration: str, seconds: float):
    assert trace_spec(f"x.csv,from={duration}").from_s == seconds


def test_a_part_has_a_length_in_hours_or_days():
    assert trace_spec("x.csv,hours=6").length_s == 21_600
    assert trace_spec("x.csv,from=1h,days=0.5").to_s == 3600 + 43_200
    assert math.isinf(trace_spec("x.csv").length_s)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x.csv,from=noon", "from is 'noon'; write seconds, or 90m, 36h, 2d"),
        ("x.csv,from=-1d", "from is '-1d'"),
        ("x.csv,hours=0", "a part of no length; write hours or days above 0"),
        ("x.csv,hours=-1", "hours is '-1'; write a number from 0"),
        ("x.csv,days=nan", "days is 'nan'"),
        ("x.csv,hours=1,days=1", "hours and days; write one of them"),
        ("x.csv,thin=0", "thin is 0 and keeps nothing"),
        ("x.csv,thin=2", "thin is '2'; write a number from 0 to 1"),
        ("x.csv,seed=-1", "seed is '-1'; write a whole number >= 0"),
        ("x.csv,seed=1,seed=2", "seed is given twice"),
        ("x.csv,repeat=0", "repeat is '0'; write a whole number from 1 to 999"),
        ("x.csv,repeat=1.5", "repeat is '1.5'"),
        ("", "no path"),
    ],
)
def test_a_wrong_spec_is_said(text: str, found: str):
    with pytest.raises(TraceError) as caught:
        trace_spec(text)
    assert found in str(caught.value)


PLAIN = "t_s,input_tokens,output_tokens\n" + "".join(f"{10 * n},{n},1\n" for n in range(1, 1001))
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:{minute:02}:30.0,{minute},1\n" for minute in range(60)
)
MOONCAKE = "".join(
    f'{{"timestamp": {n * 1000}, "input_length": {n}, "output_length": 5, "hash_ids": [{n}, 7]}}\n'
    for n in range(600)
)


@pytest.mark.parametrize(
    ("body", "settings", "prompts"),
    [
        (PLAIN, "from=100,hours=0.5", range(10, 190)),
        (PLAIN, "from=2h", range(720, 1001)),
        (PLAIN, "hours=1", range(1, 360)),
        (AZURE, "from=10m,hours=0.25", range(10, 25)),
        (MOONCAKE, "from=1m,hours=0.05", range(60, 240)),
    ],
)
def test_a_part_is_what_the_whole_has_there(
    tmp_path: Path, body: str, settings: str, prompts: range
):
    path = tmp_path / "trace.csv"
    path.write_text(body)
    trace = read_trace(f"{path},{settings}")
    assert trace.name == f"trace,{settings}"
    assert trace.requests.prompt_tokens.tolist() == list(prompts)
    assert trace.requests.arrival_ns[0] == 0


def test_a_part_keeps_its_prefix_blocks(tmp_path: Path):
    path = tmp_path / "trace.jsonl"
    path.write_text(MOONCAKE)
    requests = read_trace(f"{path},from=9m").requests
    assert requests.blocks is not None
    assert requests.blocks.tolist()[:4] == [540, 7, 541, 7]


def test_thinning_keeps_a_share_and_the_same_requests_of_every_part(tmp_path: Path):
    path = tmp_path / "trace.csv"
    path.write_text(PLAIN)
    whole = read_trace(f"{path},thin=0.3").requests.prompt_tokens.tolist()
    assert len(whole) == pytest.approx(300, abs=45)
    part = read_trace(f"{path},thin=0.3,from=5000").requests.prompt_tokens.tolist()
    assert part == [number for number in whole if number >= 500]
    assert read_trace(f"{path},thin=0.3,seed=1").requests.prompt_tokens.tolist() != whole


def test_a_recording_plays_several_times_a_mean_gap_apart(tmp_path: Path):
    path = tmp_path / "trace.csv"
    path.write_text(PLAIN)
    trace = read_trace(f"{path},from=5000,hours=1,repeat=3")
    once = read_trace(f"{path},from=5000,hours=1")
    arrivals = once.requests.arrival_ns
    assert (
        trace.repeat_s == 3600.0
    )  # 360 requests, one every ten seconds: the last gap is like the others
    assert once.repeat_s == 0.0
    assert trace.requests.arrival_ns.tolist() == [
        int(at) + again * 3600 * 10**9 for again in range(3) for at in arrivals
    ]
    assert trace.requests.prompt_tokens.tolist() == 3 * once.requests.prompt_tokens.tolist()
    assert trace.name == "trace,from=5000,hours=1,repeat=3"


def test_prefixes_of_a_repetition_are_its_own(tmp_path: Path):
    path = tmp_path / "trace.jsonl"
    path.write_text(MOONCAKE)
    once = read_trace(str(path)).requests
    twice = read_trace(f"{path},repeat=2").requests
    assert once.blocks is not None
    assert twice.blocks is not None
    first, second = np.split(twice.blocks, 2)
    assert first.tolist() == once.blocks.tolist()
    shift = int(once.blocks.max()) + 1
    assert (second - shift).tolist() == once.blocks.tolist()


def test_a_part_without_requests_says_where_there_are_some(tmp_path: Path):
    path = tmp_path / "trace.csv"
    path.write_text(PLAIN)
    with pytest.raises(TraceError, match="the recording runs from 10 s to 10000 s; name a part"):
        read_trace(f"{path},from=1d")


def test_a_setting_that_the_format_has_not_is_said(tmp_path: Path):
    path = tmp_path / "trace.csv"
    path.write_text(PLAIN)
    with pytest.raises(TraceError, match="no setting 'tenant' of plain-csv; write one of from, h"):
        read_trace(f"{path},tenant=5")
