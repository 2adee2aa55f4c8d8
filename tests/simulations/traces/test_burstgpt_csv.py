"""BurstGPT's CSV, old and new: answered requests, by model; failures are counted, not made up."""

import gzip
from pathlib import Path

import pytest

from autoscaler.errors import TraceError
from simulations.traces.trace import read_trace

OLD = (
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,472,18,490,Conversation log\n"
    "45,ChatGPT,1087,0,1087,API log\n"
    "118,GPT-4,417,276,693,Conversation log\n"
    "118,ChatGPT,1360,647,2007,API log\n"
)
NEW = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5.5,-1,1.2,ChatGPT,472,18,490,Conversation log\n"
    "6.25,7,3.4,GPT-4,1087,230,1317,Conversation log\n"
)


def written(folder: Path, text: str, *, zipped: bool = False) -> str:
    path = folder / "BurstGPT_1.csv"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return str(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_failed_requests_are_left_out_and_counted(tmp_path: Path, *, zipped: bool):
    trace = read_trace(written(tmp_path, OLD, zipped=zipped))
    assert trace.requests.arrival_ns.tolist() == [0, 113 * 10**9, 113 * 10**9]
    assert trace.requests.prompt_tokens.tolist() == [472, 417, 1360]
    assert trace.requests.output_tokens.tolist() == [18, 276, 647]
    assert trace.notes == ("1 of 4 requests failed (0 response tokens) and are left out",)


@pytest.mark.parametrize(
    ("settings", "prompts"),
    [
        (",model=GPT-4", [417]),
        (",log_type=API log", [1360]),
        (",model=ChatGPT,log_type=Conversation log", [472]),
        (",from=60", [417, 1360]),
    ],
)
def test_a_model_or_a_log_type_can_be_asked_for(tmp_path: Path, settings: str, prompts: list[int]):
    trace = read_trace(written(tmp_path, OLD) + settings)
    assert trace.requests.prompt_tokens.tolist() == prompts


def test_later_releases_have_more_columns(tmp_path: Path):
    requests = read_trace(written(tmp_path, NEW)).requests
    assert requests.arrival_ns.tolist() == [0, 750_000_000]
    assert requests.output_tokens.tolist() == [18, 230]


@pytest.mark.parametrize(
    ("text", "settings", "found"),
    [
        (
            OLD,
            ",model=GPT-5",
            "it has model ChatGPT, GPT-4, and log_type Conversation log, API log",
        ),
        (OLD + "noon,GPT-4,1,1,2,API log\n", "", "line 6: Timestamp is 'noon'"),
        (OLD + "100,GPT-4,1,1,2,API log\n", "", "line 6: arrives 18 s before the request above"),
        (OLD + "200,GPT-4,1\n", "", "line 6: 3 fields"),
        (OLD + "200,GPT-4,1,some,2,API log\n", "", "line 6: Response tokens is 'some'"),
        (OLD + "200,GPT-4,-1,5,2,API log\n", "", "line 6: negative token count"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, settings: str, found: str):
    with pytest.raises(TraceError) as caught:
        read_trace(written(tmp_path, text) + settings)
    assert found in str(caught.value)
