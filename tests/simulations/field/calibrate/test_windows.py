"""Coefficients from metrics: an engine that is known, stepped, and scraped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from autoscaler.errors import SettingsError, SourceError
from simulations.field.calibrate.prometheus import read_windows
from simulations.field.calibrate.windows import MetricWindows, fit_windows
from simulations.field.capture.ranges import Grid, RangeReader, Series
from simulations.field.capture.signals import Subject
from simulations.serving.profiles.profiles import Profile
from simulations.serving.reference.engine import EngineSequence, StepResult
from simulations.serving.reference.replica import Replica
from simulations.studies.benchmark.traffic import conversations
from tests.simulations.field.calibrate.engines import BASE, FLOORS, TRUTH

pytestmark = pytest.mark.slow
SCRAPE_S = 15
BOUNDS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, math.inf)
SUBJECT = Subject(model_name="m")


class Scraped:
    """A replica's counters as a scraper finds them every 15 s."""

    def __init__(self, profile: Profile, *, requests: int, requests_per_s: float) -> None:
        self.profile = profile
        self.samples: list[dict[str, float]] = []
        self._now = dict.fromkeys(("sum", "generated", "prompt", "count", "ttft", "wait"), 0.0)
        self._buckets = [0] * len(BOUNDS)
        made = conversations(requests, requests_per_s=requests_per_s, seed=3)
        replica = Replica(profile, 0)
        rows = zip(made.arrival_ns, made.prompt_tokens, made.output_tokens, strict=True)
        arrivals = {}
        for number, (arrival, prompt, output) in enumerate(rows):
            arrivals[number] = int(arrival)
            replica.put(
                EngineSequence(
                    request=number,
                    prompt=int(prompt),
                    output=int(output),
                    prefix=(),
                    inbox_ns=int(arrival) + profile.before_ns,
                )
            )
        scrapes = int(made.arrival_ns[-1]) // (SCRAPE_S * 10**9)
        for scrape in range(scrapes):
            limit = (scrape + 1) * SCRAPE_S * 10**9
            while (given := replica.advance(limit)) is not None:
                self._step(given, arrivals)
            self._scrape(replica)

    def _step(self, given: StepResult, arrivals: Mapping[int, int]) -> None:
        prompts = sum(sequence.prompt for sequence in given.first)
        generated = len(given.gaps_ns) + len(given.first)
        tokens = prompts + generated
        self._buckets[next(i for i, bound in enumerate(BOUNDS) if tokens <= bound)] += 1
        self._now["sum"] += tokens
        self._now["generated"] += generated
        self._now["prompt"] += prompts
        self._now["count"] += len(given.first)
        for sequence in given.first:
            seen = given.end_ns + self.profile.after_ns
            self._now["ttft"] += (seen - arrivals[sequence.request]) / 1e9
            self._now["wait"] += (given.end_ns - sequence.queued_ns) / 1e9

    def _scrape(self, replica: Replica) -> None:
        page = replica.engine.gauges
        sample = {f"le{i}": float(sum(self._buckets[: i + 1])) for i in range(len(BOUNDS))}
        sample |= self._now
        sample["running"] = page.running_requests
        sample["usage"] = page.kv_usage_ratio
        self.samples.append(sample)

    def column(self, name: str) -> np.ndarray:
        return np.array([sample[name] for sample in self.samples])


NAMES = {
    "iteration_tokens_total_sum": "sum",
    "generation_tokens_total": "generated",
    "num_requests_running": "running",
    "kv_cache_usage_perc": "usage",
    "request_prompt_tokens_sum": "prompt",
    "request_prompt_tokens_count": "count",
    "time_to_first_token_seconds_sum": "ttft",
    "time_to_first_token_seconds_count": "count",
    "request_prefill_time_seconds_sum": "wait",
    "request_prefill_time_seconds_count": "count",
    "request_queue_time_seconds_count": "count",
}
"""The model's queue is empty before each step that admits, so all of the wait is prefill here."""


class FakeReader(RangeReader):
    """Answers as a Prometheus would that scraped these pods."""

    def __init__(self, pods: list[Scraped], *, without: str = "nothing") -> None:
        self._pods = pods
        self._without = without

    def series(self, query: str, _grid: Grid, **_: object) -> list[Series]:
        if self._without in query:
            return []
        found = []
        for number, pod in enumerate(self._pods):
            labels = {"namespace": "serving", "pod": f"llama-{number}", "instance": f"h{number}"}
            if "iteration_tokens_total_bucket" in query:
                found += [
                    Series(labels={**labels, "le": str(bound)}, values=pod.column(f"le{i}"))
                    for i, bound in enumerate(BOUNDS)
                ]
            elif "request_queue_time_seconds_sum" in query:
                found.append(Series(labels=labels, values=0 * pod.column("count")))
            else:
                found += [
                    Series(labels=labels, values=pod.column(column))
                    for name, column in NAMES.items()
                    if f"vllm:{name}{{" in query
                ]
        return found


def windows(pods: list[Scraped], **more: str) -> MetricWindows:
    points = min(len(pod.samples) for pod in pods)
    for pod in pods:
        del pod.samples[points:]
    grid = Grid(start=0, step=SCRAPE_S, points=points)
    room = (pods[0].profile.kv_blocks - 1) * pods[0].profile.block_tokens
    return read_windows(FakeReader(pods, **more), SUBJECT, grid, kv_tokens_max=room)


@pytest.fixture(scope="module")
def pods() -> list[Scraped]:
    """Two of one engine, one of them half idle: what differs can be told apart."""
    truth = replace(TRUTH, prefix_caching=False)
    return [
        Scraped(truth, requests=1200, requests_per_s=1.0),
        Scraped(truth, requests=3600, requests_per_s=3.0),
    ]


def test_a_known_engine_is_found_again(pods: list[Scraped]) -> None:
    found = fit_windows(windows(pods), BASE, FLOORS)
    made = found.profile
    assert found.residual_ratio < 0.03
    assert made.step_ns == pytest.approx(TRUTH.step_ns, rel=0.1)
    assert made.token_ns == pytest.approx(TRUTH.token_ns, rel=0.2)
    around = TRUTH.before_ns + TRUTH.after_ns
    assert made.before_ns + made.after_ns == pytest.approx(around, rel=0.4)
    assert abs(found.tpot_mean_error or 1) < 0.02
    assert found.samples > 100


def test_nothing_beats_the_hardware() -> None:
    impossible = replace(
        BASE,
        step_ns=4_000_000,
        token_ns=5_000,
        flat_tokens=90,
        kv_token_ns=10,
        prefix_caching=False,
    )
    made = fit_windows(
        windows([Scraped(impossible, requests=2000, requests_per_s=6.0)]), BASE, FLOORS
    ).profile
    assert made.step_ns >= FLOORS.step_ns
    assert made.token_ns >= FLOORS.token_ns
    assert made.kv_token_ns >= FLOORS.kv_token_ns


def test_an_idle_engine_teaches_nothing() -> None:
    idle = Scraped(replace(TRUTH, prefix_caching=False), requests=40, requests_per_s=0.05)
    with pytest.raises(SettingsError, match="windows had a busy engine and all of its metrics"):
        fit_windows(windows([idle]), BASE, FLOORS)


def test_without_the_count_of_steps_a_log_is_asked_for(pods: list[Scraped]) -> None:
    with pytest.raises(SourceError, match="use a request log"):
        windows(pods, without="iteration_tokens_total_bucket")
