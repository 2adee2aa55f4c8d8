"""A page that is laid out as one before says what parsing it says; any other is parsed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import SourceError
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages import exposition
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.layout import KnownPage, _as_number, _telling_words
from autoscaler.sources.pages.rows import PlacedRows, Rows
from autoscaler.sources.pages.signals import (
    EngineSource,
    SignalPlaces,
    mean_of_ratios,
    sum_of_counts,
    total_at,
)
from tests.extent import examples
from tests.sources.bodies import ENGINE_PAGES, page, with_value


def said(source: EngineSource, body: bytes) -> object:
    """All that is read of a page, or how it is refused."""
    try:
        found = read_page(body, source.names, source.histograms)
    except SourceError as error:
        return str(error)
    rows = {
        name: [(dict(row.labels), repr(row.value), row.at) for row in found.rows(name)]
        for name in source.names
    }
    histograms = {name: found.histograms(name) for name in source.histograms}
    return rows, histograms, [sampled(source, found, names) for names in MODEL_NAMES]


MODEL_NAMES = (frozenset[str](), frozenset({"tiny-llama"}), frozenset({"other"}))


def sampled(source: EngineSource, found: Rows, model_names: frozenset[str]) -> str:
    """The sample, each number as it is and not only equal (-0.0), or how it is refused."""
    try:
        return repr(source.sample(found, model_names=model_names, at=100.0))
    except SourceError as error:
        return f"{error.outcome}: {error}"


def parsed(source: EngineSource, body: bytes) -> object:
    """The same, where nothing is remembered."""
    exposition._needed.cache_clear()
    return said(source, body)


def learnt(source: EngineSource, body: bytes) -> None:
    """Begin anew and read a page as often as it takes to remember it."""
    exposition._needed.cache_clear()
    for _ in range(3):
        said(source, body)


def is_remembered(source: EngineSource, body: bytes) -> bool:
    needed = exposition._needed(source.names, source.histograms)
    return needed.layouts.read(body) is not None


@pytest.mark.parametrize("engine", ENGINE_PAGES)
def test_a_page_that_comes_again_is_remembered_and_says_the_same(engine: str):
    source, body = SOURCES[engine], page(ENGINE_PAGES[engine])
    truth = parsed(source, body)
    learnt(source, body)
    assert is_remembered(source, body)
    assert said(source, body) == truth


def test_pages_of_one_release_are_remembered_with_other_values():
    source = SOURCES["VLLM"]
    learnt(source, page("vllm-0.32.0-loaded"))
    other = page("vllm-0.32.0-loaded-kv096")
    found = said(source, other)
    assert is_remembered(source, other) == (
        other.count(b"\n") == page("vllm-0.32.0-loaded").count(b"\n")
    )
    assert found == parsed(source, other)


def test_two_models_share_a_shape_and_not_their_labels():
    source, body = SOURCES["VLLM"], page("vllm-0.32.0-loaded")
    other = body.replace(b"tiny-llama", b"other")
    learnt(source, body)
    for _ in range(3):
        said(source, other)
    for each in (body, other):
        assert is_remembered(source, each)
        found = said(source, each)
        assert found == parsed(source, each)
        learnt(source, body)
        for _ in range(2):
            said(source, other)


def test_what_is_no_plain_number_is_parsed():
    source, body = SOURCES["VLLM"], page("vllm-0.32.0-loaded")
    learnt(source, body)
    for value in ("NaN", "+Inf", "1_0", "5 1234", "", "9" * 70, "0x1", "5.0\r", "1e5"):
        other = with_value(body, "vllm:num_requests_running", value)
        learnt(source, body)
        found = said(source, other)
        assert is_remembered(source, other) == (value == "1e5")
        assert found == parsed(source, other)


def test_dated_rows_are_not_remembered_as_values():
    source = SOURCES["VLLM"]
    body = re.sub(rb"(?m)^(vllm:.*)$", rb"\1 1000", page("vllm-0.32.0-loaded"))
    learnt(source, body)
    assert not is_remembered(source, body)


def test_an_exemplar_is_not_remembered_as_the_value():
    source = SOURCES["VLLM"]
    body = re.sub(
        rb'(?m)^(vllm:time_to_first_token_seconds_bucket.*le="1.0".*)$',
        rb'\1 # {trace_id="x"} 2.0',
        page("vllm-0.32.0-loaded"),
    )
    learnt(source, body)
    assert not is_remembered(source, body)


def test_a_line_that_becomes_a_needed_one_is_seen():
    """Another line's name is changed to a needed one's: the number of lines is the same."""
    source, body = SOURCES["VLLM"], page("vllm-0.32.0-loaded")
    changes = (
        # Within the first 32 bytes, beyond them, a comment's, and a line more.
        (b"vllm:prefix_cache_hits_total{", b'vllm:num_requests_running{a="b",'),
        (
            b"vllm:time_to_first_token_seconds_sum{",
            b'vllm:time_to_first_token_seconds_bucket{le="9",',
        ),
        (b"# TYPE vllm:num_requests_running gauge\n", b'vllm:num_requests_running{a="b"} 5\n'),
        (b"# HELP vllm:num_requests_running", b'vllm:num_requests_waiting{a="b"} 5\n#'),
    )
    for before, after in changes:
        assert before in body
        other = body.replace(before, after, 1)
        if other.count(b"\n") > body.count(b"\n"):
            other = other.replace(b"# HELP python_info Python platform information\n", b"", 1)
        learnt(source, body)
        assert not is_remembered(source, other)
        assert said(source, other) == parsed(source, other)


def test_names_and_labels_are_looked_at_once():
    """Of a page that comes again it is known where each signal stands."""
    source, body = SOURCES["VLLM"], page("vllm-0.32.0-loaded")
    asked: list[frozenset[str]] = []
    find = source.find
    assert find is not None

    def counting(places: PlacedRows, model_names: frozenset[str]) -> SignalPlaces:
        asked.append(model_names)
        return find(places, model_names)

    counted = replace(source, find=counting)
    learnt(counted, body)
    for _ in range(3):
        for names in MODEL_NAMES:
            found = read_page(body, source.names, source.histograms)
            assert isinstance(found, KnownPage)
            assert sampled(counted, found, names) == sampled(source, found, names)
    assert asked == list(MODEL_NAMES)


def test_data_parallel_ranks_are_read_from_a_known_page_as_from_any():
    source = SOURCES["VLLM"]
    one = page("vllm-0.32.0-loaded")
    second = re.sub(rb'engine="0"', b'engine="1"', b"".join(re.findall(rb"(?m)^vllm:.*\n", one)))
    blocks = re.sub(rb'num_gpu_blocks="[0-9]+"', b'num_gpu_blocks="77"', second)
    for both in (one + second, one + blocks):
        truth = parsed(source, both)
        learnt(source, both)
        assert is_remembered(source, both)
        assert said(source, both) == truth


def test_rows_given_twice_and_an_engine_that_sleeps_are_refused_on_a_known_page_too():
    source, body = SOURCES["VLLM"], page("vllm-0.32.0-loaded")
    [row] = re.findall(rb"(?m)^vllm:num_requests_running.*\n", body)
    asleep = with_value(body, "vllm:engine_sleep_state", "0.0")
    for other in (body + row, asleep):
        truth = parsed(source, other)
        learnt(source, other)
        assert is_remembered(source, other)
        assert said(source, other) == truth
        assert "Read" not in str(truth)


@pytest.mark.parametrize("value", [0.0, -0.0, 3.5, -1.0, float("nan"), float("inf"), 1e9])
def test_one_value_is_the_sum_of_one(value: float):
    assert repr(total_at([7.0, value], (1,))) == repr(sum_of_counts([value]))
    assert repr(mean_of_ratios([value], [1.0])) == repr(mean_of_ratios([value, value], [1.0, 1.0]))


NAMES = st.text("ab_", min_size=1, max_size=12).map(str.encode)


@given(
    name=NAMES, end=st.sampled_from([b"{", b" "]), others=st.lists(NAMES, min_size=1, max_size=5)
)
def test_a_line_that_has_the_words_of_a_name_is_no_line_of_another(
    name: bytes, end: bytes, others: list[bytes]
):
    others = [other for other in others if other != name]
    words = _telling_words(name + end, map(_as_number, others))
    for other in others:
        for ending in (b"{", b" ", b"\t", b"\r", b"\n"):
            line = (
                other + ending + name + end + name + end
            )  # what is behind it must not be taken for it
            assert line[0] != name[0] or not all(line.startswith(text, at) for at, text in words)


LINE_EDITS = ["value", "drop", "twice", "cut", "name", "swap", "label", "more", "letter", "blank"]
EDITS = st.lists(st.tuples(st.integers(0, 700), st.sampled_from(LINE_EDITS)), max_size=4)
NEEDED = tuple(name.encode() for name in SOURCES["VLLM"].names)
VALUES = [b"7", b"1e3", b"NaN", b"1 5", b"x", b"", b"-0.0", b"-1", b"1e400", b"1e16", b"+Inf", b"0"]


@pytest.mark.slow
@settings(max_examples=examples(day=30, night=2_000), deadline=None)
@given(edits=EDITS, values=st.sampled_from(VALUES))
def test_whatever_becomes_of_a_page_it_says_what_parsing_says(
    edits: list[tuple[int, str]], values: bytes
):
    source, body = SOURCES["VLLM"], page("vllm-0.32.0-loaded")
    lines = body.split(b"\n")
    for place, edit in edits:
        # Half of them hit lines that are needed.
        needed = [i for i, line in enumerate(lines[:-1]) if line.startswith(NEEDED)]
        at = needed[place % len(needed)] if place % 2 and needed else place % (len(lines) - 1)
        match edit:
            case "value":
                lines[at] = lines[at].rpartition(b" ")[0] + b" " + values
            case "drop":
                del lines[at]
            case "twice":
                lines.insert(at, lines[at])
            case "cut":
                lines[at] = lines[at][: len(lines[at]) // 2]
            case "name":
                lines[at] = b"vllm:num_requests_running" + lines[at][25:]
            case "label":
                lines[at] = lines[at].replace(b"tiny-llama", b"other")
            case "more":
                lines[at] = lines[at].replace(b"{", b'{rank="1",', 1)
            case "letter":  # another name of the same length
                middle = len(lines[at].partition(b"{")[0]) // 2
                lines[at] = lines[at][:middle] + b"z" + lines[at][middle + 1 :]
            case "blank":
                lines[at] = b" " + lines[at]
            case "swap":
                lines[at - 1], lines[at] = lines[at], lines[at - 1]
    other = b"\n".join(lines)
    truth = parsed(source, other)
    learnt(source, body)
    assert said(source, other) == truth
