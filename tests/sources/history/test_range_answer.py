"""Whatever a Prometheus answers to a query over a range: values on the grid, or a word."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import SourceError
from autoscaler.sources.history.expressions import INTERVAL_S_MAX, INTERVAL_S_MIN
from autoscaler.sources.history.reader import HistoryOutcome
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.turns import at_once
from autoscaler.sources.prometheus.range_answer import RANGE_SERIES_MAX, QueryGrid, range_steps
from tests.extent import examples
from tests.sources.history.fake import FakePrometheus, Query, as_asked
from tests.sources.history.test_reader import read
from tests.sources.test_fuzz import JSON, KEYS, NUMBERS, expect_word
from tests.sources.test_work import PIECES

GRID = QueryGrid(0, 60, 5)
MOMENTS = st.one_of(
    st.integers(-2, 6).map(lambda place: 60 * place),
    st.floats(),
    st.sampled_from([10**400, "60", None, [], True, "1e400"]),
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer of some series, with something else in the place of one or two of its parts."""
    values = draw(st.lists(st.tuples(MOMENTS, NUMBERS).map(list), max_size=8))
    series: dict[str, Any] = {"metric": {"figure": "running"}, "values": values}
    whole: dict[str, Any] = {
        "status": "success",
        "data": {"resultType": "matrix", "result": [series] * draw(st.integers(0, 2))},
    }
    for _ in range(draw(st.integers(0, 2))):
        part = draw(st.sampled_from([whole, whole["data"], series]))
        if isinstance(part, dict):
            part[draw(st.sampled_from([*KEYS, "figure"]))] = draw(JSON)
    return json.dumps(whole).encode()


@pytest.mark.slow
@settings(max_examples=examples(day=60, night=2000))
@given(
    body=st.one_of(answers(), st.binary(max_size=200), st.lists(PIECES, max_size=20).map(b"".join))
)
def test_any_answer_over_a_range(body: bytes):
    try:
        found = at_once(range_steps(body, grid=GRID))
    except SourceError as error:
        expect_word(error)
        return
    assert len(found.series) <= RANGE_SERIES_MAX
    for each in found.series:
        assert each.values.shape == (GRID.points,)
        assert all(isinstance(label, str) for label in each.labels.values())
    assert all(warning.isprintable() for warning in found.warnings)


def over_a_range(*values: Any, metric: Any = None, count: int = 1) -> bytes:
    series = {"metric": {"figure": "running"} if metric is None else metric, "values": list(values)}
    data = {"resultType": "matrix", "result": [series] * count}
    return json.dumps({"status": "success", "data": data}).encode()


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        pytest.param(over_a_range([10**400, "1"]), ReadOutcome.NOT_METRICS, id="a moment of 400 digits"),
        pytest.param(over_a_range([0, 10**400]), ReadOutcome.NOT_METRICS, id="a value of 400 digits"),
        pytest.param(over_a_range([0, ["1"]]), ReadOutcome.NOT_METRICS, id="a value that is a list"),
        pytest.param(over_a_range([0]), ReadOutcome.NOT_METRICS, id="a moment alone"),
        pytest.param(over_a_range(None), ReadOutcome.NOT_METRICS, id="no pair"),
        pytest.param(over_a_range(metric=["x"]), ReadOutcome.NOT_METRICS, id="labels that are a list"),
        pytest.param(over_a_range(metric={"figure": ["x"]}), ReadOutcome.NOT_METRICS, id="a label that is a list"),
        pytest.param(over_a_range(count=RANGE_SERIES_MAX + 1), ReadOutcome.TOO_LARGE, id="too many series"),
        pytest.param(b"[" * 2000, ReadOutcome.NOT_METRICS, id="nested"),
        pytest.param(b"<html>\xff", ReadOutcome.NOT_METRICS, id="a page of a proxy"),
    ],
)  # fmt: skip
def test_what_is_no_answer_over_a_range_is_a_word(body: bytes, outcome: ReadOutcome):
    with pytest.raises(SourceError) as caught:
        at_once(range_steps(body, grid=GRID))
    expect_word(caught.value)
    assert caught.value.outcome == outcome


def test_moments_off_the_grid_cost_no_memory_and_say_nothing():
    odd = [math.inf, -math.inf, math.nan, 1e308, -60, 300, 59.5]
    body = over_a_range(*([at, "7"] for at in odd), [120, "3"])
    (series,) = at_once(range_steps(body, grid=GRID)).series
    np.testing.assert_array_equal(series.values, [math.nan, math.nan, 3.0, math.nan, math.nan])


@pytest.mark.parametrize("samples", ["Inf", "-Inf", "NaN", "0", "-1", "1e308", "1e-308"])
async def test_whatever_is_said_of_the_pace_of_scrapes_it_is_one_that_a_server_can_have(
    samples: str,
):
    def answer(query: Query) -> web.StreamResponse:
        return as_asked(query) if not query.probes else paced(query, samples)

    found = await read(FakePrometheus(answer), days=1.0)
    assert found.outcome is HistoryOutcome.WHOLE
    assert found.interval_s is not None
    assert INTERVAL_S_MIN <= found.interval_s <= INTERVAL_S_MAX


def paced(query: Query, text: str) -> web.Response:
    values = [[at, text] for at in query.moments]
    data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
    return web.json_response({"status": "success", "data": data})
