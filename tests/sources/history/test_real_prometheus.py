"""A past that a real Prometheus has, read back and held against what was."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from autoscaler.core.contract.events import HistoryRead
from autoscaler.core.contract.history import HistoryColumns, HistoryEnd
from autoscaler.core.engine import build_engine
from autoscaler.settings import PrometheusSettings
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.history.expressions import PastPods, everything, how_often
from autoscaler.sources.history.reader import HistoryOutcome, HistoryReader, PastRead
from autoscaler.sources.prometheus.client import PrometheusClient
from autoscaler.sources.prometheus.range_answer import QueryGrid
from tests.builders import model, on_demand, specified
from tests.simulations.real_prometheus import fill, prometheus
from tests.sources.history.past import NAMESPACE, PastPod, vllm_lines
from tests.sources.servers import reading

pytestmark = [pytest.mark.prometheus, pytest.mark.slow]

HOUR_S = 3600.0
SPAN_S = 3 * HOUR_S
PODS = PastPods(
    namespace=NAMESPACE,
    deployments=("llama",),
    model_names=frozenset({"llama"}),
    matchers=(),
    several_pages=False,
)


def begin() -> float:
    """Three hours ago and a little more, on a whole minute."""
    return math.floor((time.time() - SPAN_S - 300.0) / 60.0) * 60.0


async def read(
    folder: Path,
    pods: Iterable[PastPod],
    *,
    until: float,
    asked: PastPods = PODS,
    every_s: float = 15.0,
    without: Iterable[tuple[float, float]] = (),
    arguments: Iterable[str] = (),
) -> PastRead:
    fill(folder, "\n".join(vllm_lines(pods, every_s=every_s, without=without)))
    with prometheus(folder, arguments=tuple(arguments)) as url:
        async with reading() as reader:
            settings = PrometheusSettings(name="main", server_address=url)
            history = HistoryReader(PrometheusClient(settings))
            return await history.read(
                reader, asked, SOURCES["VLLM"].history, until=until, span_s=SPAN_S
            )


def at(history: HistoryColumns, moment: float) -> dict[str, float]:
    row = int(np.flatnonzero(history.at == moment)[0])
    names = ("arrivals_per_s", "completed_per_s", "running_requests", "waiting_requests")
    return {name: float(getattr(history, name)[row]) for name in (*names, "replicas")}


def busy(begun: float) -> Callable[[float], float]:
    """A request every second in even minutes, one every two in odd ones."""
    return lambda moment: 1.0 if int((moment - begun) // 60) % 2 == 0 else 0.5


@pytest.mark.parametrize("every_s", [15.0, 30.0, 60.0])
async def test_each_minute_is_told_as_it_was_whatever_the_pace_of_scraping(tmp_path, every_s):
    begun = begin()
    pod = PastPod(name="llama-7d9c5b6f4-xk2lp", since=begun, until=begun + SPAN_S, rate=busy(begun))
    found = await read(tmp_path, [pod], until=begun + SPAN_S, every_s=every_s)
    assert found.outcome is HistoryOutcome.WHOLE
    assert found.interval_s == pytest.approx(every_s, rel=0.15)
    history = found.history
    # A rate needs a window of samples before it.
    rates = history.completed_per_s[3:]
    rows = np.round((history.at[3:] - begun) / 60.0).astype(int)
    assert np.allclose(rates, np.where(rows % 2 == 1, 1.0, 0.5), atol=0.03)
    assert np.allclose(history.arrivals_per_s[3:], rates)
    assert set(history.running_requests[1:]) == {4.0}
    assert rates.sum() * 60.0 == pytest.approx(0.75 * 60.0 * len(rates), rel=0.01), "none is lost"


async def test_young_pods_do_not_look_as_if_they_were_seldom_scraped(tmp_path):
    begun = begin()
    pods = [
        PastPod(name="llama-7d9c5b6f4-xk2lp", since=begun, until=begun + HOUR_S),
        PastPod(name="llama-7d9c5b6f4-zz2lp", since=begun + SPAN_S - 120.0, until=begun + SPAN_S),
    ]
    found = await read(tmp_path, pods, until=begun + SPAN_S)
    assert found.interval_s == pytest.approx(15.0, rel=0.1)


async def test_pods_that_came_and_went_are_added_up_and_others_are_left_out(tmp_path):
    begun = begin()
    pods = [
        PastPod(name="llama-7d9c5b6f4-xk2lp", since=begun, until=begun + 2 * HOUR_S),
        PastPod(name="llama-6c5b9f7d8-zz2lp", since=begun + HOUR_S, until=begun + SPAN_S),
        PastPod(name="llama-chat-7d9c5b6f4-xk2lp", since=begun, until=begun + SPAN_S),
        PastPod(
            name="llama-6c5b9f7d8-zz9lp",
            since=begun,
            until=begun + SPAN_S,
            labels={"namespace": "others"},
        ),
        PastPod(
            name="llama-6c5b9f7d8-zz8lp",
            since=begun,
            until=begun + SPAN_S,
            labels={"model_name": "another"},
        ),
    ]
    history = (await read(tmp_path, pods, until=begun + SPAN_S)).history
    one = {"arrivals_per_s": 0.5, "completed_per_s": 0.5, "running_requests": 4.0}
    one |= {"waiting_requests": 0.0, "replicas": 1.0}
    for moment, count in ((0.5, 1), (1.5, 2), (2.5, 1)):
        expected = {name: count * value for name, value in one.items()}
        assert at(history, begun + moment * HOUR_S) == pytest.approx(expected, rel=0.05)


async def test_what_came_in_is_what_ended_and_what_is_held_more(tmp_path):
    """A queue builds up by one a second for ten minutes: that came, and did not end."""
    begun = begin()
    grows = begun + HOUR_S

    def waiting(moment: float) -> float:
        return min(max(moment - grows, 0.0), 600.0)

    pod = PastPod(name="llama-7d9c5b6f4-xk2lp", since=begun, until=begun + SPAN_S, waiting=waiting)
    history = (await read(tmp_path, [pod], until=begun + SPAN_S)).history
    assert at(history, grows + 300.0)["arrivals_per_s"] == pytest.approx(1.5, abs=0.05)
    assert at(history, grows + 300.0)["completed_per_s"] == pytest.approx(0.5, abs=0.02)
    assert at(history, grows + 1200.0)["arrivals_per_s"] == pytest.approx(0.5, abs=0.02)


async def test_a_pod_that_vanishes_with_what_it_held_is_no_fewer_arrivals(tmp_path):
    begun = begin()
    gone = begun + HOUR_S
    pods = [
        PastPod(name="llama-7d9c5b6f4-xk2lp", since=begun, until=gone, running=lambda _: 200.0),
        PastPod(name="llama-7d9c5b6f4-zz2lp", since=begun, until=begun + SPAN_S),
    ]
    history = (await read(tmp_path, pods, until=begun + SPAN_S)).history
    around = [at(history, gone + 60.0 * minute)["arrivals_per_s"] for minute in range(-2, 5)]
    assert min(around) >= 0.45


async def test_a_counter_that_began_anew_is_no_jump(tmp_path):
    begun = begin()
    pod = PastPod(
        name="llama-7d9c5b6f4-xk2lp",
        since=begun,
        until=begun + SPAN_S,
        restarts=(begun + HOUR_S + 20.0,),
    )
    history = (await read(tmp_path, [pod], until=begun + SPAN_S)).history
    assert np.nanmax(history.completed_per_s) <= 0.55
    assert np.nanmin(history.completed_per_s[3:]) >= 0.3


async def test_where_nothing_was_scraped_nothing_is_known(tmp_path):
    """And for no five minutes the last value, as a plain look at a gauge would have it."""
    begun = begin()
    gap = (begun + HOUR_S, begun + 2 * HOUR_S)
    pod = PastPod(name="llama-7d9c5b6f4-xk2lp", since=begun, until=begun + SPAN_S)
    history = (await read(tmp_path, [pod], until=begun + SPAN_S, without=[gap])).history
    inside = (history.at > gap[0] + 90.0) & (history.at < gap[1])
    for name in ("arrivals_per_s", "completed_per_s", "running_requests", "replicas"):
        assert np.isnan(getattr(history, name)[inside]).all(), name
    outside = (history.at > begun + 180.0) & ~(
        (history.at > gap[0]) & (history.at < gap[1] + 120.0)
    )
    assert not np.isnan(history.arrivals_per_s[outside]).any()


async def test_a_pod_that_is_scraped_twice_counts_once_and_one_with_two_pages_twice(tmp_path):
    begun = begin()
    pods = [
        PastPod(
            name="llama-7d9c5b6f4-xk2lp",
            since=begun,
            until=begun + SPAN_S,
            labels={"job": job, "instance": instance},
        )
        for job, instance in (("a", "10.0.0.1:8000"), ("b", "10.0.0.1:8001"))
    ]
    history = (await read(tmp_path, pods, until=begun + SPAN_S)).history
    found = at(history, begun + HOUR_S)
    assert (found["running_requests"], found["replicas"]) == (4.0, 1.0)
    assert found["completed_per_s"] == pytest.approx(0.5, abs=0.02)
    (tmp_path / "again").mkdir()
    several = PastPods(
        namespace=NAMESPACE,
        deployments=("llama",),
        model_names=frozenset(),
        matchers=(),
        several_pages=True,
    )
    history = (await read(tmp_path / "again", pods, until=begun + SPAN_S, asked=several)).history
    found = at(history, begun + HOUR_S)
    assert (found["running_requests"], found["replicas"]) == (8.0, 1.0)
    assert found["completed_per_s"] == pytest.approx(1.0, abs=0.04)


async def test_a_server_with_little_room_is_asked_in_smaller_pieces(tmp_path):
    """It really refuses what would load too many samples, and takes a quarter of it."""
    begun = begin()
    pods = [
        PastPod(name=f"llama-7d9c5b6f4-xk2l{end}", since=begun, until=begun + SPAN_S)
        for end in "bcdfgh"
    ]
    found = await read(tmp_path, pods, until=begun + SPAN_S, arguments=["--query.max-samples=2500"])
    assert found.outcome is HistoryOutcome.WHOLE, found.message
    assert found.queries > 2
    assert found.known_ratio > 0.95


@pytest.mark.parametrize("engine", SOURCES)
async def test_a_real_prometheus_takes_every_engine_s_expression(tmp_path, engine):
    grid = QueryGrid(1_700_000_000, 60, 3)
    with prometheus(tmp_path) as url:
        client = PrometheusClient(PrometheusSettings(name="main", server_address=url))
        async with reading() as reader:
            for text in (
                everything(PODS, SOURCES[engine].history, span_s=60.0, interval_s=30.0),
                how_often(PODS, SOURCES[engine].history),
            ):
                found = await client.query_range(
                    reader, text, grid=grid, deadline_s=20.0, owner="test"
                )
                assert found == ((), ())


async def test_the_engine_learns_from_what_a_real_prometheus_has(tmp_path):
    begun = begin()
    pods = [
        PastPod(name=f"llama-7d9c5b6f4-xk2l{end}", since=begun, until=begun + SPAN_S)
        for end in "bcd"
    ]
    read_history = (await read(tmp_path, pods, until=begun + SPAN_S)).history
    spec = model(pools=[on_demand("llama")])
    engine = build_engine()
    engine.handle(specified(spec, at=begun + SPAN_S))
    event = HistoryRead(id=1, at=begun + SPAN_S, model=spec.key, history=read_history)
    taken = engine.handle(event).history
    assert taken.end is HistoryEnd.TAKEN
    assert taken.known_ratio > 0.98
    memory = engine._memory.models[spec.key]
    assert memory.demand.service_time.measured_s == pytest.approx(8.0, rel=0.02)
    full_caches = 3 * 0.25 / spec.targets.kv_usage_ratio  # more than 12 requests over 32
    assert memory.forecast.history.mean(60) == pytest.approx(full_caches, rel=0.02)
