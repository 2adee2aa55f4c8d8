"""Whatever a page or a Prometheus answers, its read ends with a word, and the pod is known or unknown."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodSample
from autoscaler.sources import dcgm
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.limits import COUNTER_MAX, REQUESTS_MAX
from autoscaler.sources.pages.outcome import ERRORS, ReadOutcome
from autoscaler.sources.prometheus.answer import read_answer
from autoscaler.sources.prometheus.pod_rows import by_pod, pod_rows, sample_interval_s
from tests.extent import examples
from tests.sources.test_work import PIECES

NUMBERS = st.one_of(
    st.sampled_from(
        [
            *("1e308", "1e400", "-1", "NaN", "+Inf", "-Inf", "1e-400", "9" * 400, "0x10", "1_0"),
            *(
                "٣",
                "1e999999999999",
                "",
                " ",
                "1 2",
                "1 1e400",
                "1 NaN",
                "1 9999999999999999",
                "--1",
            ),
        ]
    ),
    st.floats().map(repr),
    st.integers().map(str),
)
LABEL_VALUES = st.one_of(
    st.sampled_from(["0", "a", '\\"', "}", "\\", "awake", "None", "1e308", "9" * 400, "\x00"]),
    st.text(max_size=5).map(lambda text: text.replace("\n", " ").replace('"', "'")),
)


@st.composite
def rows(draw: st.DrawFn, engine: str) -> str:
    """A page of one engine's own names with foreign labels and values."""
    source = SOURCES[engine]
    lines = []
    for _ in range(draw(st.integers(1, 8))):
        name = draw(st.sampled_from(source.names))
        labels = draw(
            st.dictionaries(
                st.sampled_from(sorted({*source.labels, "num_gpu_blocks", "pod"})),
                LABEL_VALUES,
                max_size=3,
            )
        )
        inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
        lines.append(f"{name}{{{inside}}} {draw(NUMBERS)}")
    return "\n".join(lines) + "\n"


def expect_sound(sample: PodSample) -> None:
    """Every figure is unknown, or one that a server can have."""
    for name in ("waiting_requests", "running_requests"):
        value = getattr(sample, name)
        assert value is None or 0 <= value <= 4_000 * REQUESTS_MAX
    for name in ("finished_requests_total", "prompt_tokens_total", "generation_tokens_total"):
        value = getattr(sample, name)
        assert value is None or 0 <= value <= COUNTER_MAX
    assert sample.kv_usage_ratio is None or 0 <= sample.kv_usage_ratio <= 1
    assert 0 <= sample.sampled_at <= 100.0
    assert sample.waiting_requests is not None or sample.running_requests is not None


def expect_word(error: SourceError) -> None:
    """A read that failed says how, on one line that a terminal can show."""
    assert ReadOutcome(error.outcome) in ERRORS
    assert str(error).isprintable()
    assert len(str(error)) < 1_500


def read_engine(engine: str, body: bytes) -> None:
    source = SOURCES[engine]
    try:
        page = read_page(body, source.names)
        expect_sound(source.sample(page, model_names=frozenset(), at=100.0))
    except SourceError as error:
        expect_word(error)


@pytest.mark.slow
@pytest.mark.parametrize("engine", SOURCES)
@settings(max_examples=examples(day=40, night=1000))
@given(data=st.data())
def test_any_figures_of_an_engine(engine: str, data: st.DataObject):
    read_engine(engine, data.draw(rows(engine)).encode(errors="replace"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", SOURCES)
@settings(max_examples=examples(day=25, night=1000))
@given(body=st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=20).map(b"".join)))
def test_any_bytes_for_a_page(engine: str, body: bytes):
    read_engine(engine, body)
    with contextlib.suppress(SourceError):
        dcgm.read(read_page(b"DCGM_FI_DEV_FB_USED" + body, dcgm.NAMES), at=1.0)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just(10**400),
        st.floats(),
        st.text(max_size=4),
        NUMBERS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(NUMBERS, inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ("status", "data", "result", "resultType", "metric", "values", "value", "warnings", "error")


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer with something else in the place of one or two of its parts."""
    labels: dict[str, Any] = {"__name__": draw(st.sampled_from(SOURCES["VLLM"].names))}
    labels |= {"namespace": "serving", "pod": "p1", "instance": draw(LABEL_VALUES)}
    series = {"metric": labels, "values": [[1.0, draw(NUMBERS)], [99.0, draw(NUMBERS)]]}
    whole: dict[str, Any] = {
        "status": "success",
        "data": {"resultType": "matrix", "result": [series]},
    }
    for _ in range(draw(st.integers(0, 2))):
        values = series["values"]
        last = values[-1:] if isinstance(values, list) else []
        part = draw(st.sampled_from([whole, whole["data"], series, labels, last]))
        if isinstance(part, dict):
            part[draw(st.sampled_from([*KEYS, "pod", "__name__"]))] = draw(JSON)
        elif isinstance(series["values"], list):
            series["values"] = draw(JSON)
    return json.dumps(whole).encode()


@pytest.mark.slow
@settings(max_examples=examples(day=60, night=2000))
@given(
    body=st.one_of(answers(), st.binary(max_size=200), st.lists(PIECES, max_size=20).map(b"".join))
)
def test_any_answer_of_a_prometheus(body: bytes):
    engine = SOURCES["VLLM"]
    try:
        parts = by_pod(read_answer(body))
        found = pod_rows(
            parts.get(
                ("serving", "p1"),
                read_answer(b'{"status":"success","data":{"resultType":"matrix","result":[]}}'),
            ),
            labels=engine.labels,
            ip="10.0.0.7",
            ports=(8000,),
        )
        assert (sample_interval_s(found.pages) or 1.0) > 0
        for each in found.pages:
            expect_sound(engine.sample(each, model_names=frozenset(), at=100.0))
    except SourceError as error:
        expect_word(error)


ATTACKS = {
    # attack, section 1: what ended the daemon
    "two engines at 1e308": (
        b'vllm:num_requests_running{engine="0"} 1e308\nvllm:num_requests_running{engine="1"} 1e308\n',
        ReadOutcome.IMPLAUSIBLE,
    ),
    "a count that no server holds": (b"vllm:num_requests_waiting 1e10\n", ReadOutcome.IMPLAUSIBLE),
    "an integer of 400 digits": (
        b"vllm:num_requests_running " + b"9" * 400 + b"\n",
        ReadOutcome.TRUNCATED,
    ),
    "the same, and more": (
        b"vllm:num_requests_running " + b"9" * 400 + b"\nup 1\n",
        ReadOutcome.NOT_METRICS,
    ),
    "a line that is needed, of nine kilobytes": (
        b'vllm:num_requests_running{a="' + b"x" * 9_000 + b'"} 1\n',
        ReadOutcome.TOO_LARGE,
    ),
    "a row twice": (b"vllm:num_requests_running 1\n" * 2, ReadOutcome.DUPLICATE),
    "dated in the year 2255": (
        b"vllm:num_requests_running 1 9000000000000\n",
        ReadOutcome.IMPLAUSIBLE,
    ),
    "dated before there were clocks": (
        b"vllm:num_requests_running 1 -1\n",
        ReadOutcome.IMPLAUSIBLE,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_ended_the_daemon_is_a_word(name: str):
    body, outcome = ATTACKS[name]
    source = SOURCES["VLLM"]
    if name == "an integer of 400 digits":
        body = body.rstrip(b"\n")
    with pytest.raises(SourceError) as caught:
        source.sample(read_page(body, source.names), model_names=frozenset(), at=100.0)
    expect_word(caught.value)
    assert caught.value.outcome == outcome


def test_blocks_that_no_cache_has_weigh_nothing():
    body = (
        b'vllm:num_requests_running 1\nvllm:kv_cache_usage_perc{engine="0"} 0.5\n'
        b'vllm:kv_cache_usage_perc{engine="1"} 0.7\n'
        b'vllm:cache_config_info{engine="0",num_gpu_blocks="1e308"} 1\n'
        b'vllm:cache_config_info{engine="1",num_gpu_blocks="1e308"} 1\n'
    )
    source = SOURCES["VLLM"]
    sample = source.sample(read_page(body, source.names), model_names=frozenset(), at=100.0)
    assert sample.kv_usage_ratio == pytest.approx(0.6)


@pytest.mark.parametrize(
    "series",
    [
        {"metric": {"__name__": "up", "pod": ["a"]}, "values": [[1, "1"]]},
        {"metric": {"__name__": "up", "pod": "a"}, "values": [[1, 10**400]]},
        {"metric": {"__name__": "up", "pod": "a"}, "values": [[10**400, "1"]]},
        {"metric": {"__name__": "up", "pod": "a"}, "values": [[math.nan, 1]]},
        {"metric": {"__name__": ["up"]}, "values": [[1, "1"]]},
        {"metric": "up", "values": [[1, "1"]]},
        {"metric": None, "values": None},
        ["up"],
        None,
    ],
)
def test_a_malformed_answer_is_a_word(series: Any):
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [series]}})
    with pytest.raises(SourceError) as caught:
        read_answer(body.encode())
    expect_word(caught.value)
