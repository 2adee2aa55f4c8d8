"""A page that is laid out as one before says what parsing it says; any other is parsed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import SourceError
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages import exposition
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.signals import EngineSource
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
    return rows, {name: found.histograms(name) for name in source.histograms}


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
    needed = exposition._needed(frozenset(source.names), frozenset(source.histograms))
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
        # Within the first 32 bytes, beyond them, a comment's, and an empty one's.
        (b"vllm:prefix_cache_hits_total{", b'vllm:num_requests_running{a="b",'),
        (
            b"vllm:time_to_first_token_seconds_sum{",
            b'vllm:time_to_first_token_seconds_bucket{le="9",',
        ),
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


EDITS = st.lists(
    st.tuples(
        st.integers(0, 600), st.sampled_from(["value", "drop", "twice", "cut", "name", "swap"])
    ),
    max_size=4,
)


@pytest.mark.slow
@settings(max_examples=examples(day=30, night=2_000), deadline=None)
@given(edits=EDITS, values=st.sampled_from([b"7", b"1e3", b"NaN", b"1 5", b"x"]))
def test_whatever_becomes_of_a_page_it_says_what_parsing_says(
    edits: list[tuple[int, str]], values: bytes
):
    source, body = SOURCES["VLLM"], page("vllm-0.32.0-loaded")
    lines = body.split(b"\n")
    for place, edit in edits:
        at = place % (len(lines) - 1)
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
            case "swap":
                lines[at - 1], lines[at] = lines[at], lines[at - 1]
    other = b"\n".join(lines)
    truth = parsed(source, other)
    learnt(source, body)
    assert said(source, other) == truth
