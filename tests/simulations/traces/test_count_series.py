"""Counts a step become as many requests in it; what is not counted is a hole, what is assumed is said."""

from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import TraceError
from simulations.traces.files import open_lines
from simulations.traces.formats.count_series import draw
from simulations.traces.spec import trace_spec
from simulations.traces.trace import read_trace

COUNTS = "t_s,requests\n0,30\n60,0\n120,90.5\n180,90.5\n240,\n360,5\n"


def written(folder: Path, text: str = COUNTS) -> str:
    path = folder / "counts.csv"
    path.write_text(text)
    return str(path)


def test_each_step_has_its_requests_and_parts_are_carried_on(tmp_path: Path):
    asked = trace_spec(written(tmp_path) + ",input=100,output=20")
    with open_lines(asked.path) as lines:
        arrivals = draw(lines, asked).requests.arrival_ns
    minutes = np.bincount(arrivals // (60 * 10**9))
    assert minutes.tolist() == [30, 0, 90, 91, 0, 0, 5]
    assert np.all(np.diff(arrivals) >= 0)


def test_what_is_not_counted_is_a_hole(tmp_path: Path):
    trace = read_trace(written(tmp_path) + ",input=100,output=20")
    (hole,) = trace.holes_s
    assert hole[1] - hole[0] == pytest.approx(120)  # an empty count, and a step that is not there
    assert any("1 holes" in note for note in trace.notes)


def test_lengths_that_are_assumed_are_said_loudly(tmp_path: Path):
    trace = read_trace(written(tmp_path))
    assert any("assumed are input=1000 and output=600" in note for note in trace.notes)
    given = read_trace(written(tmp_path) + ",input=100,output=20")
    assert not any("assumed" in note for note in given.notes)


def test_means_of_the_file_are_used_step_by_step(tmp_path: Path):
    text = "t_s,requests,input_tokens,output_tokens\n0,4000,100,10\n60,4000,1000,50\n120,10,,\n"
    trace = read_trace(written(tmp_path, text))
    assert trace.notes == ()
    prompts, outputs = trace.requests.prompt_tokens, trace.requests.output_tokens
    assert prompts[:4000].mean() == pytest.approx(100, rel=0.06)
    assert prompts[4000:8000].mean() == pytest.approx(1000, rel=0.06)
    assert outputs[4000:8000].mean() == pytest.approx(50, rel=0.06)


def test_a_part_has_the_requests_of_the_whole(tmp_path: Path):
    path = written(tmp_path)
    whole = read_trace(path + ",input=100,output=20").requests
    part = read_trace(path + ",input=100,output=20,from=2m").requests
    assert part.prompt_tokens.tolist() == whole.prompt_tokens[30:].tolist()
    thin = read_trace(path + ",input=100,output=20,thin=0.5").requests
    assert len(thin) == 108


@pytest.mark.parametrize(
    ("text", "settings", "found"),
    [
        ("t_s,requests\n0,5\n", "", "1 steps; write two or more"),
        (COUNTS + "300,5\n", "", "line 8: t_s is 300, not after the row above it"),
        (COUNTS + "420\n", "", "line 8: 1 fields"),
        (COUNTS + "420,some\n", "", "line 8: requests is 'some'"),
        (COUNTS + "420,-5\n", "", "line 8: requests is '-5'"),
        (COUNTS + "soon,5\n", "", "line 8: t_s is 'soon'"),
        (COUNTS, ",input=0", "input is '0'; write a number from 1"),
        (COUNTS, ",rate=3", "no setting 'rate' of count-series"),
        (COUNTS + "420,1e9\n", "", "at most 50000000 are drawn at once; ask for a part"),
        ("t_s,requests\n0,0\n60,0\n", "", "no request in the part"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, settings: str, found: str):
    with pytest.raises(TraceError) as caught:
        read_trace(written(tmp_path, text) + settings)
    assert found in str(caught.value)
