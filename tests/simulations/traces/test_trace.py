"""Traces are told by content and read into columns; what is wrong is said with file and line."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import TraceError
from simulations.traces.formats.registry import TRACES
from simulations.traces.trace import read_trace, trace_name
from tests.require import traces_folder

PLAIN = "t_s,input_tokens,output_tokens\n10,100,7\n10.5,200,8\n12.000000001,300,9\n"
AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 23:59:59.9799600,4808,10\n2023-11-17 00:00:00.0319601,3180,8\n"
)
MOONCAKE = (
    '{"timestamp": 3000, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}\n'
    '{"timestamp": 3000, "input_length": 1200, "output_length": 6, "hash_ids": [0, 1, 2]}\n'
)


def written(
    folder: Path, text: str | bytes, *, name: str = "trace.bin", zipped: bool = False
) -> str:
    path = folder / name
    body = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(body) if zipped else body)
    return str(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_plain_csv(tmp_path: Path, *, zipped: bool):
    requests = read_trace(written(tmp_path, PLAIN, zipped=zipped)).requests
    assert requests.arrival_ns.tolist() == [0, 500_000_000, 2_000_000_001]
    assert requests.prompt_tokens.tolist() == [100, 200, 300]
    assert requests.output_tokens.tolist() == [7, 8, 9]
    assert requests.blocks is None


@pytest.mark.parametrize("zipped", [False, True])
def test_azure_csv_over_midnight_to_the_digit(tmp_path: Path, *, zipped: bool):
    requests = read_trace(written(tmp_path, AZURE, zipped=zipped)).requests
    assert requests.arrival_ns.tolist() == [0, 52_000_100]
    assert requests.prompt_tokens.tolist() == [4808, 3180]


@pytest.mark.parametrize("zipped", [False, True])
def test_mooncake_with_its_prefix_blocks(tmp_path: Path, *, zipped: bool):
    requests = read_trace(written(tmp_path, MOONCAKE, zipped=zipped)).requests
    assert requests.arrival_ns.tolist() == [0, 0]
    assert requests.block_tokens == 512
    assert requests.blocks is not None
    assert requests.blocks.tolist() == [0, 1, 0, 1, 2]
    assert requests.block_ends is not None
    assert requests.block_ends.tolist() == [2, 5]


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path):
    text = "output_tokens,user,t_s,input_tokens\r\n5,ann,1.5,100\r\n\r\n6,bob,2.5,200\r\n"
    requests = read_trace(written(tmp_path, "﻿" + text)).requests
    assert requests.output_tokens.tolist() == [5, 6]
    assert requests.arrival_ns.tolist() == [0, 1_000_000_000]


def test_azure_times_may_carry_a_zone(tmp_path: Path):
    text = AZURE.replace("9600,", "9600+00:00,").replace("9601,", "9601+00:00,")
    assert read_trace(written(tmp_path, text)).requests.arrival_ns.tolist() == [0, 52_000_100]


BROKEN = [
    ("no known format", "time,tokens\n1,2\n", "line 1", "known are"),
    ("an empty file", "\n\n", "empty", "name a trace"),
    ("a header alone", "t_s,input_tokens,output_tokens\n", "no request", "name a trace"),
    ("no text", b"\xff\xfe\x00\x01", "not text", "name a CSV"),
    ("negative tokens", PLAIN + "13,-5,1\n", "line 5", "negative token count (-5 in, 1 out)"),
    ("negative output", PLAIN + "13,5,-1\n", "line 5", "negative token count"),
    ("time runs back", PLAIN + "11,1,1\n", "line 5", "before the request above it"),
    ("a missing field", PLAIN + "13,5\n", "line 5", "2 fields"),
    ("a word for a count", PLAIN + "13,five,1\n", "line 5", "input_tokens is 'five'"),
    ("half a token", PLAIN + "13,5,1.5\n", "line 5", "output_tokens is '1.5'"),
    ("an endless count", PLAIN + "13,inf,1\n", "line 5", "input_tokens is 'inf'"),
    ("a huge count", PLAIN + "13,9999999999,1\n", "line 5", "9999999999 tokens"),
    ("a word for a time", PLAIN + "noon,5,1\n", "line 5", "t_s is 'noon'"),
    ("no time", PLAIN + "nan,5,1\n", "line 5", "t_s is 'nan'"),
    ("milliseconds since 1970 as seconds", PLAIN + "1e19,5,1\n", "line 5", "beyond 146 years"),
    ("a date that is none", AZURE + "2023-02-30 00:00:00,1,1\n", "line 4", "no such day"),
    ("a time that is none", AZURE + "yesterday,1,1\n", "line 4", "TIMESTAMP is 'yesterday'"),
    ("broken JSON", MOONCAKE + '{"timestamp": 1', "line 3", "no JSON"),
    ("JSON that is no object", MOONCAKE + "[]\n", "line 3", "Expected `object`, got `array`"),
    (
        "a missing JSON field",
        MOONCAKE + '{"timestamp": 4000}\n',
        "line 3",
        "missing required field `input_length`",
    ),
    (
        "blocks that are none",
        MOONCAKE + '{"timestamp":4000,"input_length":1,"output_length":1,"hash_ids":[-1]}\n',
        "line 3",
        "Expected `int` >= 0 - at `$.hash_ids[0]`",
    ),
]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("what", "text", "where", "found"), BROKEN, ids=[row[0] for row in BROKEN])
def test_what_is_wrong_is_said(
    tmp_path: Path, what: str, text: str | bytes, where: str, found: str, *, zipped: bool
):
    path = written(tmp_path, text, zipped=zipped)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert message.startswith(path), what
    assert where in message
    assert found in message


def test_a_truncated_gzip_is_said_with_the_line(tmp_path: Path):
    rows = "".join(f"{n},{n % 997},{n % 13}\n" for n in range(20_000))
    body = gzip.compress(b"t_s,input_tokens,output_tokens\n" + rows.encode())
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(body[: len(body) // 2])
    with pytest.raises(TraceError, match=r"cut\.csv\.gz: line \d+: the gzip stream is truncated"):
        read_trace(str(path))


def test_a_gzip_with_a_wrong_checksum_is_no_trace(tmp_path: Path):
    body = bytearray(gzip.compress(PLAIN.encode()))
    body[-8] ^= 0xFF
    with pytest.raises(TraceError, match="cannot be read: CRC check failed"):
        read_trace(written(tmp_path, bytes(body)))


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(TraceError, match=r"gone\.csv: cannot be read: No such file"):
        read_trace(str(tmp_path / "gone.csv"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b/azure2023_code.csv.gz", "azure2023_code"),
        ("x.jsonl", "x"),
        ("t56", "t56"),
        (".gz", ".gz"),
    ],
)
def test_the_name_is_the_file_without_its_endings(path: str, name: str):
    assert trace_name(Path(path)) == name


SAMPLES = {
    "azure-csv": "TIMESTAMP,ContextTokens,GeneratedTokens",
    "mooncake-jsonl": '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": []}',
    "burstgpt-csv": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "servegen-windows": "t,tenant,rate_rps,cv,iat_dist,shape,scale_s",
    "count-series": "t_s,requests,input_tokens,output_tokens",
    "plain-csv": "t_s,input_tokens,output_tokens",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_first_format_that_knows_a_line_is_the_one_of_the_file(name: str):
    known = [format_.name for format_ in TRACES if format_.recognizes(SAMPLES[name])]
    assert known[0] == name
    # counts that have tokens beside look like requests to plain CSV, which is asked later
    assert known[1:] == (["plain-csv"] if name == "count-series" else [])


def test_every_format_file_is_registered():
    folder = Path(__file__).parents[3] / "simulations" / "traces" / "formats"
    files = {
        path.stem.replace("_", "-")
        for path in folder.glob("*.py")
        if path.stem not in {"__init__", "registry"}
    }
    assert files == set(SAMPLES) == {format_.name for format_ in TRACES}


@pytest.mark.traces
@pytest.mark.slow
def test_recorded_traces_hold_what_their_publishers_say():
    folder = traces_folder() / "requests"
    azure = read_trace(str(folder / "azure2023_code.csv.gz")).requests
    assert len(azure) == 8819
    assert np.percentile(azure.prompt_tokens, [50, 95]).round().tolist() == [1469, 7303]
    mooncake = read_trace(str(folder / "mooncake_conversation.jsonl.gz"))
    assert len(mooncake.requests) == 12_031
    assert round(mooncake.end_ns / 3.6e12, 2) == 0.98
    assert mooncake.requests.blocks is not None
    reused = 1 - len(np.unique(mooncake.requests.blocks)) / len(mooncake.requests.blocks)
    assert 0.36 < reused < 0.38
