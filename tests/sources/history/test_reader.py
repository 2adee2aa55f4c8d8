"""The reading of a past: what is put together, and what becomes of every way in which a server may fail."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from aiohttp import web

from autoscaler.sources.engines import SOURCES
from autoscaler.sources.history.expressions import PastPods
from autoscaler.sources.history.reader import (
    POINTS_PER_QUERY,
    QUERIES_MAX,
    HistoryOutcome,
    HistoryReader,
    PastRead,
)
from autoscaler.sources.prometheus.client import PrometheusClient
from tests.sources.history.fake import FakePrometheus, Query, as_asked, error, matrix, series
from tests.sources.servers import never, reading

UNTIL = 1_700_000_000.0
"""Twenty seconds into a minute."""
LAST = UNTIL - 20.0
DAY_S = 86_400.0
PODS = PastPods(
    namespace="serving",
    deployments=("llama",),
    model_names=frozenset(),
    matchers=(),
    several_pages=False,
)


async def read(
    server: FakePrometheus, *, days: float = 3.0, engine: str = "VLLM", **limits: float
) -> PastRead:
    async with server.running(), reading() as reader:
        history = HistoryReader(PrometheusClient(server.settings), **limits)
        return await history.read(
            reader, PODS, SOURCES[engine].history, until=UNTIL, span_s=days * DAY_S
        )


def days_known(found: PastRead) -> list[float]:
    """The share known of each day, the oldest first."""
    known = ~np.isnan(found.history.running_requests)
    return [float(day.mean()) for day in known.reshape(-1, POINTS_PER_QUERY)]


async def test_days_are_asked_for_one_by_one_the_newest_first_and_put_together():
    server = FakePrometheus()
    found = await read(server)
    assert found.outcome is HistoryOutcome.WHOLE
    assert (found.known_ratio, found.queries, found.interval_s, found.message) == (1.0, 4, 15.0, "")
    history = found.history
    assert len(history) == 3 * POINTS_PER_QUERY
    assert (history.at[-1], history.span_s) == (LAST, 60.0)
    assert np.array_equal(np.diff(history.at), np.full(len(history) - 1, 60.0))
    assert set(history.running_requests) == {8.0}
    assert set(history.completed_per_s) == {2.0}
    assert set(history.arrivals_per_s) == {2.5}, "what ended, and what is held more"
    assert set(history.replicas) == {2.0}
    ends = [query.end for query in server.asked]
    assert ends == [LAST, LAST - DAY_S, LAST - 2 * DAY_S]
    moments = sorted(at for query in server.asked for at in query.moments)
    assert moments == history.at.tolist(), "each once"


async def test_it_never_asks_for_more_points_than_prometheus_answers():
    server = FakePrometheus()
    await read(server, days=7.0)
    assert max(len(query.moments) for query in server.queries) <= 1_440


async def test_less_came_in_than_nothing_is_nothing():
    server = FakePrometheus(lambda query: as_asked(query, change=-9.0))
    assert set((await read(server, days=1.0)).history.arrivals_per_s) == {0.0}


async def test_a_figure_that_is_not_there_is_unknown():
    server = FakePrometheus()
    found = await read(server, days=1.0, engine="TGI")
    assert np.isnan(found.history.kv_usage_replicas).all()
    assert found.outcome is HistoryOutcome.WHOLE


@pytest.mark.parametrize("text", ["NaN", "+Inf"])
async def test_what_is_no_number_of_requests_is_kept_as_it_is_for_the_engine_to_judge(text):
    def answer(query: Query) -> web.Response:
        found = json.loads(as_asked(query).text)
        for each in found["data"]["result"]:
            each["values"][3][1] = text
        return web.json_response(found)

    found = await read(FakePrometheus(answer), days=1.0)
    assert not np.isfinite(found.history.completed_per_s[3])
    assert np.isfinite(found.history.completed_per_s[4:]).all()


async def test_gaps_stay_gaps():
    def answer(query: Query) -> web.Response:
        if query.probes:
            return as_asked(query)
        found = json.loads(as_asked(query).text)
        for each in found["data"]["result"]:
            del each["values"][10:70]
        return web.json_response(found)

    found = await read(FakePrometheus(answer), days=1.0)
    assert np.flatnonzero(np.isnan(found.history.arrivals_per_s)).tolist() == list(range(10, 70))
    assert found.known_ratio == 1.0 - 60 / 1440


async def test_moments_that_nobody_asked_for_and_doubled_ones_change_nothing():
    def answer(query: Query) -> web.Response:
        if query.probes:
            return as_asked(query)
        odd = [query.start - 60.0, query.start + 7.0, *query.moments, query.start, query.end + 60.0]
        return matrix(series(odd, 8.0, figure="running"), series(odd, 5.0, figure="surprise"))

    found = await read(FakePrometheus(answer), days=1.0)
    assert set(found.history.running_requests) == {8.0}
    assert np.isnan(found.history.completed_per_s).all()


async def test_no_series_is_empty_and_not_zero():
    server = FakePrometheus(lambda _: matrix())
    found = await read(server, days=2.0)
    assert found.outcome is HistoryOutcome.EMPTY
    assert (found.known_ratio, found.interval_s) == (0.0, 60.0)
    assert np.isnan(found.history.arrivals_per_s).all()


async def test_a_server_that_is_not_there_fails_at_once():
    server = FakePrometheus()
    async with server.running():
        pass
    async with reading() as reader:
        found = await HistoryReader(PrometheusClient(server.settings)).read(
            reader, PODS, SOURCES["VLLM"].history, until=UNTIL, span_s=DAY_S
        )
    assert (found.outcome, found.queries, found.refused) == (HistoryOutcome.FAILED, 1, False)
    assert "could not be read" in found.message


async def test_a_server_that_says_nothing_is_asked_once():
    async def silent(_query: Query) -> web.StreamResponse:
        return await never(None)

    found = await read(FakePrometheus(silent), query_s_max=0.2)
    assert (found.outcome, found.queries, found.refused) == (HistoryOutcome.FAILED, 1, False)
    assert "did not answer within 0.2 s" in found.message


async def test_what_came_before_the_time_was_up_is_used():
    """Each answer is in time, and all of them are not."""
    waiting: list[Query] = []

    async def slow(query: Query) -> web.StreamResponse:
        waiting.append(query)
        if len(waiting) > 3:
            return await never(None)
        return as_asked(query)

    found = await read(FakePrometheus(slow), days=4.0, query_s_max=30.0, read_s_max=1.0)
    assert found.outcome is HistoryOutcome.PARTIAL
    assert days_known(found) == [0.0, 0.0, 1.0, 1.0]
    assert "not all was answered within 1 s" in found.message


async def test_a_server_that_goes_away_in_the_middle_leaves_what_came():
    async def going(query: Query) -> web.StreamResponse:
        if query.end < LAST - DAY_S:
            return await never(None)
        return as_asked(query)

    server = FakePrometheus(going)
    found = await read(server, days=4.0, query_s_max=0.3)
    assert found.outcome is HistoryOutcome.PARTIAL
    assert days_known(found) == [0.0, 0.0, 1.0, 1.0]
    assert len(server.asked) == 4, (
        "whoever does not answer is asked for less once, and not for the rest"
    )


async def test_a_server_that_takes_too_long_for_a_day_is_asked_for_shorter_spans():
    """A fleet's day of rates takes some servers longer than any deadline; six hours do not."""

    async def slow(query: Query) -> web.StreamResponse:
        return await never(None) if len(query.moments) > 400 else as_asked(query)

    server = FakePrometheus(slow)
    found = await read(server, days=2.0, query_s_max=0.5)
    assert (found.outcome, found.known_ratio) == (HistoryOutcome.WHOLE, 1.0)
    assert found.queries == 1 + 1 + 2 * 4, "it was waited for once"
    ends = [query.end for query in server.asked[1:]]
    assert ends == sorted(ends, reverse=True), "the newest first"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda: web.Response(status=500, text="oops"), "answered 500"),
        (lambda: web.Response(body=b'{"status":"success","data":{"resu'), "no answer of a Prometheus"),
        (lambda: web.Response(text="<html>"), "no answer of a Prometheus"),
        (lambda: web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}}),
         "a vector came"),
        (lambda: matrix({"metric": {}, "values": [["now", "1"]]}), "no answer of a Prometheus"),
        (lambda: matrix(*({"metric": {"n": str(k)}, "values": []} for k in range(99))), "more than 64 series"),
    ],
)  # fmt: skip
async def test_half_of_the_answers_is_half_of_the_history(how, said):
    """Every other day is answered with something else."""

    async def answer(query: Query) -> web.StreamResponse:
        day = round((LAST - query.end) / DAY_S)
        return how() if day % 2 and not query.probes else as_asked(query)

    found = await read(FakePrometheus(answer), days=4.0)
    assert found.outcome is HistoryOutcome.PARTIAL
    assert days_known(found) == [0.0, 1.0, 0.0, 1.0]
    assert said in found.message


async def test_a_query_of_too_many_samples_is_cut_until_it_is_taken():
    """As Prometheus refuses it: 422, with a reason in the body."""
    limit = 400

    def answer(query: Query) -> web.Response:
        if len(query.moments) > limit:
            return error(
                422, "execution", "query processing would load too many samples into memory"
            )
        return as_asked(query)

    server = FakePrometheus(answer)
    found = await read(server, days=2.0)
    assert (found.outcome, found.known_ratio) == (HistoryOutcome.WHOLE, 1.0)
    assert found.queries == 1 + 2 * (1 + 4)
    moments = [at for q in server.asked if len(q.moments) <= limit for at in q.moments]
    assert sorted(moments) == found.history.at.tolist(), "each once"
    assert moments[0] > moments[-1], "the newest first"


async def test_more_than_eleven_thousand_points_are_refused_and_cut_like_that():
    def answer(query: Query) -> web.Response:
        if len(query.moments) > 720:
            return error(
                400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries"
            )
        return as_asked(query)

    found = await read(FakePrometheus(answer), days=1.0)
    assert found.outcome is HistoryOutcome.WHOLE


async def test_a_query_that_is_never_taken_is_not_asked_for_ever():
    server = FakePrometheus(lambda _: error(422, "execution", "many-to-many matching not allowed"))
    found = await read(server, days=7.0)
    assert (found.outcome, found.refused) == (HistoryOutcome.FAILED, True)
    assert "many-to-many" in found.message
    assert found.queries <= 6


async def test_the_number_of_queries_is_bounded():
    """The newest hour is taken, and nothing else."""

    def answer(query: Query) -> web.Response:
        return (
            as_asked(query)
            if query.end == LAST and len(query.moments) <= 100
            else error(422, "execution", "no")
        )

    server = FakePrometheus(answer)
    found = await read(server, days=7.0)
    assert found.outcome is HistoryOutcome.PARTIAL
    assert found.queries == len(server.queries) == QUERIES_MAX
    assert found.known_ratio > 0.0


async def test_what_is_said_beside_an_answer_is_told_and_takes_nothing_away():
    def answer(query: Query) -> web.Response:
        found = json.loads(as_asked(query).text)
        return web.json_response(
            {**found, "warnings": ["a store was not reached"], "infos": ["hm"]}
        )

    found = await read(FakePrometheus(answer), days=2.0)
    assert found.outcome is HistoryOutcome.WHOLE
    assert found.message == "a store was not reached; hm"


async def test_an_answer_is_parsed_in_pieces():
    """Others have their turn between the series of a day."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await read(FakePrometheus(), days=1.0)
    counting.cancel()
    assert turns > 6
