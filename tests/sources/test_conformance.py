"""What every engine's source must do: run over SOURCES, so that a new one is tested before its author."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

import autoscaler.sources.engines
from autoscaler.errors import SourceError
from autoscaler.kube.samples import HISTOGRAMS, HistogramSample, PodSample
from autoscaler.settings import EngineType
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.signals import EngineSource
from tests.sources.bodies import ENGINE_PAGES, page, with_value, without

_VLLM_TTFT = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    *(20, 40, 80, 160, 640, 2560),
)
_VLLM_TPOT = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    *(20, 40, 80),
)
_TGI_BOUNDS = tuple(itertools.accumulate([0.0001 * 1.5] + [1.5] * 34, lambda one, by: one * by))
"""As its source makes them: each 1.5 times the one before."""


def counted(bounds: Sequence[float], counts: Sequence[float]) -> HistogramSample:
    return HistogramSample(bounds=tuple(map(float, bounds)), counts=tuple(map(float, counts)))


LOADED = {
    # What a person reads off each page under load.
    "VLLM": PodSample(
        sampled_at=100.0,
        waiting_requests=8.0,
        running_requests=3.0,
        kv_usage_ratio=0.3913043478260869,
        finished_requests_total=29.0,
        aborted_requests_total=0.0,
        prompt_tokens_total=5938.0,
        generation_tokens_total=12957.0,
        preemptions_total=2.0,
        queue_time_s_total=1301.835404229,
        queued_requests_total=29.0,
        steps_total=3254.0,
        step_tokens_total=18895.0,
        ttft=counted(
            _VLLM_TTFT,
            (0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 8, 8, 12, 12, 12, 16, 24, 32, 32, 32, 32),
        ),
        tpot=counted(_VLLM_TPOT, (0, 0, 21, *[29] * 17)),
    ),
    "TGI": PodSample(
        sampled_at=100.0,
        waiting_requests=7.0,
        running_requests=32.0,
        kv_usage_ratio=28672 / 32768,
        finished_requests_total=1190.0,  # 24 were refused at the door
        prompt_tokens_total=382110.0,
        generation_tokens_total=209818.0,
        queue_time_s_total=673.7101104814383,
        queued_requests_total=1190.0,
        tpot=counted(_TGI_BOUNDS, (*[0] * 12, 1, 136, 957, 1188, *[1190] * 20)),
    ),
    "SGLang": PodSample(
        sampled_at=100.0,
        waiting_requests=17.0,
        running_requests=48.0,
        kv_usage_ratio=0.87,
        finished_requests_total=3000.0,
        prompt_tokens_total=1830000.0,
        generation_tokens_total=912345.0,
        preemptions_total=9.0,
        queue_time_s_total=2318.395649979221,
        queued_requests_total=3021.0,
        ttft=counted(
            (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400),
            (80, 392, 1107, 1638, 2009, 2252, 2792, 2981, 3008, 3018, *[3021] * 9),
        ),
        token_gaps=counted(
            (
                *(0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04),
                *(0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8),
            ),
            (0, 0, 0, 0, 1, 87, 805, 2390, 4438, 6194, 7454, 8910, 8998, 8999, *[9000] * 10),
        ),
    ),
    "RayServe": PodSample(
        sampled_at=100.0,
        waiting_requests=2.0 + 6.0 + 3.0,  # in the engine, at two handles
        running_requests=16.0 + 16.0,  # in the engine, at the replica without vLLM's series
        kv_usage_ratio=0.71,
    ),
}

engines = pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.engine)


def read(source: EngineSource, body: bytes, *model_names: str, at: float = 100.0) -> PodSample:
    rows = read_page(body, source.names, source.histograms)
    return source.sample(rows, model_names=frozenset(model_names), at=at)


def test_every_engine_of_the_resource_has_a_source():
    assert set(SOURCES) == {str(engine) for engine in EngineType} == set(LOADED)


def test_no_source_is_left_unregistered():
    folder = Path(autoscaler.sources.engines.__file__).parent
    modules = (
        importlib.import_module(f"autoscaler.sources.engines.{path.stem}")
        for path in sorted(folder.glob("*.py"))
        if path.stem != "__init__"
    )
    found = {
        value.engine
        for module in modules
        for value in vars(module).values()
        if isinstance(value, EngineSource)
    }
    assert found == set(SOURCES)


@engines
def test_the_key_is_the_source_s_own_word(source: EngineSource):
    assert SOURCES[source.engine] is source


@engines
def test_a_page_under_load_reads_as_a_person_reads_it(source: EngineSource):
    assert read(source, page(ENGINE_PAGES[source.engine])) == LOADED[source.engine]


SIGNALS = (
    "waiting_requests",
    "running_requests",
    "kv_usage_ratio",
    "finished_requests_total",
    "aborted_requests_total",
    "prompt_tokens_total",
    "generation_tokens_total",
    "preemptions_total",
    "queue_time_s_total",
    "queued_requests_total",
    "steps_total",
    "step_tokens_total",
)
STANDS_IN = {
    # Where another series, or TGI's silence before a gauge was first set, rightly says something else.
    ("TGI", "tgi_queue_size"),
    ("TGI", "tgi_batch_current_size"),
    ("TGI", "tgi_batch_current_max_tokens"),
    ("TGI", "tgi_request_success"),  # failures are left
    ("RayServe", "ray_vllm_num_requests_running"),  # Serve's own queries are left
    ("RayServe", "ray_serve_replica_processing_queries"),
    ("RayServe", "ray_serve_deployment_queued_queries"),  # on the pages of other nodes
}


@engines
def test_signals_without_their_series_are_unknown_and_never_zero(source: EngineSource):
    body = page(ENGINE_PAGES[source.engine])
    whole = read(source, body)
    changed: set[str] = set()
    for name in set(source.names):
        if (source.engine, name) in STANDS_IN:
            continue
        with contextlib.suppress(SourceError):
            part = read(source, without(body, name))
            for signal in SIGNALS:
                assert getattr(part, signal) in (None, getattr(whole, signal)), (name, signal)
                if getattr(part, signal) != getattr(whole, signal):
                    changed.add(signal)
    assert "kv_usage_ratio" in changed


@engines
@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1"])
def test_what_is_no_count_is_unknown(source: EngineSource, value: str):
    body = page(ENGINE_PAGES[source.engine])
    for name in source.names:
        try:
            sample = read(source, with_value(body, name, value))
        except SourceError:
            continue  # nothing is known of demand then
        for signal in SIGNALS:
            known = getattr(sample, signal)
            assert known is None or (math.isfinite(known) and known >= 0)


@engines
def test_a_histogram_that_is_no_histogram_is_unknown_and_the_rest_of_the_page_holds(
    source: EngineSource,
):
    body = page(ENGINE_PAGES[source.engine])
    whole = read(source, body)
    for name in source.histograms:
        for value in ("NaN", "-1", "1e300", "+Inf"):
            sample = read(source, with_value(body, f"{name}_bucket", value))
            for signal in SIGNALS:
                assert getattr(sample, signal) == getattr(whole, signal)
            for histogram in HISTOGRAMS:
                assert getattr(sample, histogram) in (None, getattr(whole, histogram))


@engines
def test_another_engine_s_page_is_no_demand_of_zero(source: EngineSource):
    for engine, name in ENGINE_PAGES.items():
        if engine != source.engine:
            with pytest.raises(SourceError) as caught:
                read(source, page(name))
            assert caught.value.outcome == ReadOutcome.NO_SIGNAL


@engines
@pytest.mark.parametrize("body", [b"", b"<html></html>", b"python_info 1.0\n"])
def test_a_page_without_the_engine_is_an_error(source: EngineSource, body: bytes):
    with pytest.raises(SourceError):
        read(source, body)


@engines
def test_a_sample_is_as_old_as_its_oldest_row(source: EngineSource):
    body = page(ENGINE_PAGES[source.engine])
    stamped = b"\n".join(
        line + b" 90000" if line and not line.startswith(b"#") else line
        for line in body.split(b"\n")
    )
    assert read(source, stamped).sampled_at == 90.0
    assert read(source, stamped, at=80.0).sampled_at == 80.0  # never younger than the read
