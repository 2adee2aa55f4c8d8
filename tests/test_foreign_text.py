"""Foreign text in messages: one line, printable, cut; whatever was found."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.foreign_text import SHOWN_CHARACTERS_MAX, listed, quoted, shown
from tests.extent import examples

ROWS = {
    "plain text stays": ("vllm 0.32", "vllm 0.32"),
    "letters of any script stay": ("größe 模型", "größe 模型"),
    "white space is folded, so that no line of a log begins in it": ("a\r\n\t b", "a b"),
    "an escape sequence of a terminal": ("\x1b[2Jgone", r"\x1b[2Jgone"),
    "DEL": ("a\x7fb", r"a\x7fb"),
    "C1": ("a\x9b31mb", r"a\x9b31mb"),
    "bidirectional controls": ("user\u202etxt.exe", r"user\u202etxt.exe"),
    "isolates and marks": ("\u2066a\u2069\u200f", r"\u2066a\u2069\u200f"),
    "what has no width": ("ad\u200bmin\ufeff", r"ad\u200bmin\ufeff"),
    "NUL": ("a\x00b", r"a\x00b"),
    "half a surrogate pair": ("a\ud800", r"a\ud800"),
    "tags beyond the basic plane": ("a\U000e0041", r"a\U000e0041"),
    "bytes that are no UTF-8": (b"a\xff\x80", r"a\xff\x80"),
    "bytes of UTF-16": ("a".encode("utf-16-le"), r"a\x00"),
    "nothing": ("", ""),
    "white space alone": (" \n ", ""),
    "None": (None, "None"),
    "a fraction": (1.5, "1.5"),
    "an integer": (-12, "-12"),
    "an integer that Python will not write": (-(10**10_000), "an integer of 33220 bits"),
    "a list, whatever is in it": ([["x" * 10**6]] * 3, "a list of 3"),
    "an object": ({"a": {}}, "an object of 1"),
    "an exception": (ValueError("no\nnumber"), "no number"),
    "an exception without a text": (ConnectionResetError(), "ConnectionResetError"),
}


@pytest.mark.parametrize("row", ROWS)
def test_is_shown(row: str):
    found, expected = ROWS[row]
    assert shown(found) == expected


@pytest.mark.parametrize("found", ["x" * 10**6, b"x" * 10**6, ValueError("x" * 10**6)])
def test_is_cut_with_a_mark(found: object):
    text = shown(found)
    assert text == "x" * (SHOWN_CHARACTERS_MAX - 1) + "…"
    assert shown(found, limit=10) == "xxxxxxxxx…"


def test_only_text_is_quoted():
    assert quoted("a b") == "'a b'"
    assert quoted(b"a b") == "'a b'"
    assert quoted(None) == "None"


def test_few_of_many_names():
    assert listed(["b", "a"]) == "b, a"
    assert listed([]) == ""
    text = listed(f"model-{each}" * 1000 for each in range(2000))
    assert text.endswith(" and 1995 more")
    assert len(text) < 5 * (SHOWN_CHARACTERS_MAX // 2 + 2) + 20


def test_an_exception_that_cannot_say_what_it_is_about():
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert shown(MuteError()) == "MuteError"


@settings(max_examples=examples(day=20, night=500))
@given(st.one_of(st.text(max_size=40), st.binary(max_size=40)), st.integers(1, 30))
def test_whatever_was_found_is_one_printable_line(found: str | bytes, limit: int):
    text = shown(found, limit=limit)
    assert len(text) <= limit
    assert text.isprintable()
    assert not any(unicodedata.category(each) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for each in text)
