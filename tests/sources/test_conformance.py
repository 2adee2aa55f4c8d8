"""What every engine's source must do: run over SOURCES, so that a new one is tested before its author."""

from __future__ import annotations

import contextlib
import importlib
import math
from pathlib import Path

import pytest

import autoscaler.sources.engines
from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodSample
from autoscaler.settings import EngineType
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.signals import EngineSource
from tests.sources.bodies import ENGINE_PAGES, page, with_value, without

LOADED = {
    # What a person reads off each page under load.
    "VLLM": PodSample(
        sampled_at=100.0,
        waiting_requests=8.0,
        running_requests=3.0,
        kv_usage_ratio=0.3913043478260869,
        finished_requests_total=29.0,
        prompt_tokens_total=5938.0,
        generation_tokens_total=12957.0,
        preemptions_total=2.0,
    ),
    "TGI": PodSample(
        sampled_at=100.0,
        waiting_requests=7.0,
        running_requests=32.0,
        kv_usage_ratio=28672 / 32768,
        finished_requests_total=1190.0,  # 24 were refused at the door
        prompt_tokens_total=382110.0,
        generation_tokens_total=209818.0,
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
    rows = read_page(body, source.names)
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
    "prompt_tokens_total",
    "generation_tokens_total",
    "preemptions_total",
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
