"""The filtered reader against prometheus_client's full parse, and what is no metrics page."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.errors import SourceError
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.outcome import ReadOutcome
from tests.extent import examples
from tests.sources.bodies import PAGES, page

Found = dict[str, list[tuple[dict[str, str], float, float | None]]]


def full_parse(body: bytes) -> Found:
    """Parse every sample with prometheus_client.

    TYPE lines are left out: the parser would add `_total` to counters that are declared without it
    (TGI's), and we want names as they stand on the page.
    """
    text = "\n".join(
        line for line in body.decode().split("\n") if not line.lstrip().startswith("#")
    )
    found: Found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            value = (dict(sample.labels), float(sample.value), sample.timestamp)
            found.setdefault(sample.name, []).append(value)
    return found


def filtered(body: bytes, names: list[str]) -> Found:
    rows = read_page(body, names)
    return {
        name: [(dict(row.labels), row.value, row.at) for row in rows.rows(name)] for name in names
    }


def same(left: Found, right: Found) -> bool:
    return repr(left) == repr(right)  # NaN equals itself in writing


@pytest.mark.parametrize("name", PAGES)
def test_every_series_of_every_captured_page_reads_as_the_full_parse_has_it(name: str):
    expected = full_parse(page(name))
    assert len(expected) > 3
    assert same(filtered(page(name), list(expected)), expected)


_NAMES = [
    "vllm:num_requests_waiting",
    "vllm:num_requests_waiting_by_reason",
    "up",
    "tgi_queue_size",
]
_LABEL_VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "a b", "a,b", 'say "no"', "back\\slash", "two\nlines", "{x}", "}", "ä€"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
)
_VALUES = st.one_of(
    st.sampled_from(
        [
            "0",
            "-1",
            "1e3",
            "1.5E-7",
            "NaN",
            "+Inf",
            "-Inf",
            "Inf",
            "nan",
            "9223372036854775794",
            "007",
        ]
    ),
    st.floats(allow_nan=True).map(repr),
)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


@st.composite
def _lines(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["sample", "sample", "sample", "comment", "blank"]))
    if kind == "blank":
        return draw(st.sampled_from(["", "  ", "\t"]))
    name = draw(st.sampled_from([*_NAMES, "vllm:num_requests", "other_total"]))
    if kind == "comment":
        return draw(st.sampled_from([f"# HELP {name} {name} 1", f"# TYPE {name} gauge", "# aside"]))
    labels = draw(
        st.dictionaries(
            st.sampled_from(["engine", "model_name", "reason"]), _LABEL_VALUES, max_size=3
        )
    )
    inside = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
    braces = (
        f"{{{inside}{draw(st.sampled_from(['', ',']))}}}"
        if labels
        else draw(st.sampled_from(["", "{}"]))
    )
    gap = draw(st.sampled_from([" ", "  ", "\t"]))
    stamp = draw(st.sampled_from(["", " 1700000000000", " 1700000000123"]))
    lead = draw(st.sampled_from(["", " ", "\t"]))
    before_brace = draw(st.sampled_from(["", " "])) if braces else ""
    return f"{lead}{name}{before_brace}{braces}{gap}{draw(_VALUES)}{stamp}"


@pytest.mark.slow
@given(
    lines=st.lists(_lines(), max_size=12),
    newline=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
@settings(max_examples=examples(day=60, night=300))
def test_any_page_reads_as_the_full_parse_has_it(lines: list[str], newline: str, *, last: bool):
    text = newline.join(lines) + newline * last
    body = text.encode()
    expected = full_parse(body)
    if not text.strip():
        with pytest.raises(SourceError, match="empty"):
            read_page(body, _NAMES)
        return
    assert same(filtered(body, _NAMES), {name: expected.get(name, []) for name in _NAMES})


@pytest.mark.slow
@given(body=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
@settings(max_examples=examples(day=60, night=300))
def test_whatever_comes_is_read_or_a_source_error(body: bytes):
    for body_with_name in (body, b"up" + body, b'up{engine="0"} 1\nup{' + body):
        with contextlib.suppress(SourceError):
            assert all(
                row.labels is not None for row in read_page(body_with_name, ["up"]).rows("up")
            )


REFUSED = [
    # what came, the outcome, what the message says
    (b"", ReadOutcome.NO_SIGNAL, "empty"),
    (b" \n\n", ReadOutcome.NO_SIGNAL, "empty"),
    (
        b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>x</body></html>",
        ReadOutcome.NOT_METRICS,
        "HTML titled '502 Bad Gateway'",
    ),
    (b"<html><body>Sign in</body></html>\n", ReadOutcome.NOT_METRICS, "HTML came"),
    (b'{"detail":"Not Found"}', ReadOutcome.NOT_METRICS, "Not Found"),
    (b"it works!\n", ReadOutcome.NOT_METRICS, "it works!"),
    (b"\xff\xfe\x00 \n", ReadOutcome.NOT_METRICS, "UTF-8"),
    (b'up{engine="0"} 1\nup{engine="1",mod', ReadOutcome.TRUNCATED, "middle of a line"),
    (b'up{engine="0"} 1\nup{engine="1"}', ReadOutcome.TRUNCATED, "middle of a line"),
    (b'up{engine="0" 1\n', ReadOutcome.NOT_METRICS, "does not parse"),
    (b"up one\n", ReadOutcome.NOT_METRICS, "does not parse"),
    (b"up 1_000\n", ReadOutcome.NOT_METRICS, "does not parse"),
]


@pytest.mark.parametrize(("body", "outcome", "told"), REFUSED)
def test_what_is_no_metrics_page_says_what_came(body: bytes, outcome: ReadOutcome, told: str):
    with pytest.raises(SourceError, match=told) as caught:
        read_page(body, ["up"]).rows("up")
    assert caught.value.outcome == outcome


def test_a_line_that_does_not_parse_matters_only_where_it_is_wanted():
    body = b"broken{ 1\nup 1\n"
    assert [row.value for row in read_page(body, ["up"]).rows("up")] == [1.0]


def test_a_name_that_begins_another_is_not_taken_for_it():
    body = page("vllm-0.32.0-loaded")
    waiting = read_page(body, ["vllm:num_requests_waiting"]).rows("vllm:num_requests_waiting")
    assert [row.value for row in waiting] == [8.0]
    assert "reason" not in waiting[0].labels


def test_time_stamps_are_seconds_and_escapes_are_undone():
    body = b'up{path="C:\\\\a\\"b\\nc"} NaN 1700000000500\n'
    (row,) = read_page(body, ["up"]).rows("up")
    assert row.labels == {"path": 'C:\\a"b\nc'}
    assert math.isnan(row.value)
    assert row.at == 1700000000.5
