"""Files of a known shape with other units: read as what they are, or refused, never taken for another."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autoscaler.errors import TraceError
from simulations.traces.trace import Trace, read_trace


def rows(
    *,
    block: int,
    unit_s: float,
    count: int = 60,
    gap_s: float = 60.0,
    bailian: bool = False,
    whole: bool = True,
) -> list[Mapping[str, Any]]:
    """An hour of requests, one a minute, in Mooncake's names."""
    rng = random.Random(block)
    found = []
    for number in range(count):
        tokens = rng.randrange(1, 4000)
        at = number * gap_s / unit_s
        row = {
            "timestamp": int(at) if whole else at + 0.5,
            "input_length": tokens,
            "output_length": 10,
            "hash_ids": list(range(-(-tokens // block))),
        }
        found.append({"chat_id": number, "turn": 1, **row} if bailian else row)
    return found


def read(tmp_path: Path, told: list[Mapping[str, Any]], behind: str = "") -> Trace:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in told))
    return read_trace(f"{path}{behind}")


@pytest.mark.parametrize(
    ("told", "behind", "block"),
    [
        pytest.param(rows(block=512, unit_s=0.001), "", 512, id="Mooncake's own"),
        pytest.param(rows(block=16, unit_s=1.0, bailian=True), "", 16, id="Bailian's (seconds, 16 tokens)"),
        pytest.param(rows(block=16, unit_s=1.0, bailian=True, whole=False), "", 16, id="Bailian's, with fractions"),
        pytest.param(rows(block=16, unit_s=1.0), ",unit=s", 16, id="without a chat_id, and said"),
        pytest.param(rows(block=64, unit_s=0.001), ",unit=ms", 64, id="blocks of 64"),
        pytest.param(rows(block=512, unit_s=1.0), ",unit=s", 512, id="seconds, and said"),
        pytest.param(rows(block=512, unit_s=1e-6), ",unit=us", 512, id="microseconds"),
    ],
)  # fmt: skip
def test_an_hour_is_an_hour(tmp_path: Path, told, behind, block):
    """It was read as 3.6 s with blocks of 512, and 3.44 % attained of what attains 100 %."""
    trace = read(tmp_path, told, behind)
    assert trace.end_ns == 59 * 60 * 10**9
    assert trace.requests.block_tokens == block


@pytest.mark.parametrize(
    ("told", "says"),
    [
        pytest.param(rows(block=16, unit_s=1.0), "blocks of 16 tokens", id="not Mooncake's blocks"),
        pytest.param(rows(block=512, unit_s=1.0, whole=False), "whole milliseconds", id="fractions"),
        pytest.param(rows(block=512, unit_s=1.0, gap_s=0.25, count=1000), "requests with .* within", id="a rate that nobody has"),
        pytest.param(rows(block=512, unit_s=1e-9), "requests in .* days", id="nanoseconds"),
    ],
)  # fmt: skip
def test_a_unit_that_is_not_known_is_asked_for(tmp_path: Path, told, says):
    with pytest.raises(TraceError, match=says):
        read(tmp_path, told)


def test_a_unit_must_be_one(tmp_path: Path):
    with pytest.raises(TraceError, match="write one of s, ms, us, ns"):
        read(tmp_path, rows(block=512, unit_s=1.0), ",unit=h")


@pytest.mark.parametrize(("step_s", "says"), [(1e-6, "within"), (1e4, "days")])
def test_times_of_other_formats_are_held_against_what_is_possible(tmp_path: Path, step_s, says):
    """A plain CSV names its seconds; in another unit its rate gives it away."""
    path = tmp_path / "plain.csv"
    lines = [f"{step_s * number},100,10\n" for number in range(60)]
    path.write_text("t_s,input_tokens,output_tokens\n" + "".join(lines))
    with pytest.raises(TraceError, match=says):
        read_trace(str(path))


def test_what_was_reported(tmp_path: Path):
    """Two requests an hour apart with the fields of qwen-bailian-usagetraces-anon."""
    told = [
        {"chat_id": n, "parent_chat_id": -1, "timestamp": 3600.0 * n, "input_length": 32,
         "output_length": 10, "type": "text", "turn": 1, "hash_ids": [1, 2 + n]}
        for n in range(2)
    ]  # fmt: skip
    trace = read(tmp_path, told)
    assert trace.end_ns == 3600 * 10**9
    assert trace.requests.block_tokens == 16


def test_ids_that_fit_no_block_are_said(tmp_path: Path):
    told = [
        {"timestamp": 0, "input_length": 64, "output_length": 1, "hash_ids": [1, 2]},
        {"timestamp": 9, "input_length": 4096, "output_length": 1, "hash_ids": [1, 2]},
    ]
    (note,) = read(tmp_path, told).notes
    assert "fit no size of a block" in note
