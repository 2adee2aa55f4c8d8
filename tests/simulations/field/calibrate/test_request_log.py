"""Logs of requests: what can be read, and what is said where it cannot."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import TraceError
from simulations.field.calibrate.request_log import read_request_log

CSV = "t_s,input_tokens,output_tokens,ttft_s,e2e_s,replica\n12.5,100,11,0.2,1.2,b\n10,50,1,0.1,0.1,a\n"
JSON = (
    '{"t_s": 12.5, "input_tokens": 100, "output_tokens": 11, "ttft_s": 0.2, "e2e_s": 1.2, "replica": "b"}\n'
    '\n{"t_s": 10, "input_tokens": 50, "output_tokens": 1, "ttft_s": 0.1, "e2e_s": 0.1, "replica": "a"}\n'
)


@pytest.mark.parametrize(
    "body", [CSV.encode(), JSON.encode(), gzip.compress(CSV.encode(), mtime=0)]
)
def test_csv_json_lines_and_gzip_by_replica_on_one_clock(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(body)
    a, b = read_request_log(path)
    assert a.columns.arrival_ns.tolist() == [0]
    assert b.columns.arrival_ns.tolist() == [2_500_000_000]
    assert b.columns.prompt_tokens.tolist() == [100]
    assert b.tpot_s.tolist() == [pytest.approx(0.1)]
    assert np.isnan(a.tpot_s).all()


def test_without_the_column_all_are_one_replicas(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("t_s,input_tokens,output_tokens,ttft_s,e2e_s\n5,1,2,0.1,0.2\n3,1,2,0.1,0.2\n")
    (only,) = read_request_log(path)
    assert only.columns.arrival_ns.tolist() == [0, 2_000_000_000]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no requests in it; write a header and rows of t_s,input_tokens"),
        (b"t_s,input_tokens\n1,2\n", "line 2: not all of t_s, input_tokens, output_tokens"),
        (CSV.encode().replace(b"0.2", b"soon"), "line 2: not all of"),
        (CSV.encode().replace(b"1.2", b"0.1"), "line 2: 0 < ttft_s <= e2e_s does not hold"),
        (CSV.encode().replace(b",0.1,0.1,", b",nan,0.1,"), "line 3: 0 < ttft_s <= e2e_s"),
        (b'{"t_s": 1\n', "line 1: no JSON object"),
        (gzip.compress(CSV.encode(), mtime=0)[:40], "the gzip stream is truncated"),
        (b"\xff\xfe", "not text"),
    ],
)
def test_what_is_no_log_is_named(tmp_path: Path, body: bytes, says: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(body)
    with pytest.raises(TraceError) as caught:
        read_request_log(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        read_request_log(tmp_path / "nothing.csv")
