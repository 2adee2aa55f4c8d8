"""Plain CSV: blocks read as one table give what its lines give one by one, complaints included."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import TraceError
from simulations.traces.formats import plain_csv
from simulations.traces.rows import RequestRows, TraceLines
from tests.extent import examples

FIELDS = st.one_of(
    st.integers(0, 40).map(str),
    st.floats(0, 1e6, allow_nan=False).map(repr),
    st.sampled_from(
        ["", " 7 ", "12.0", "1e3", "1_0", "-1", "nan", "inf", "x", '"5"', "2147483648"]
    ),
    st.sampled_from(["9007199254740993", "0x10", "1 2", "7\r", "7#", "1e300"]),
)
LINES = st.one_of(
    st.tuples(st.integers(0, 99), st.integers(0, 9), st.integers(0, 9)).map(
        lambda row: f"{row[0] / 8},{row[1]},{row[2]}\n"
    ),
    st.lists(FIELDS, min_size=0, max_size=5).map(lambda fields: ",".join(fields) + "\n"),
)


def read(lines: list[str]) -> tuple[list[list[int]], str]:
    """What was read, and what was complained of."""
    rows = RequestRows()
    text = iter([plain_csv.HEADER + "\n", *lines])
    said = ""
    try:
        plain_csv.read(TraceLines(path=Path("some.csv"), lines=text), rows)
    except TraceError as error:
        said = str(error)
    columns = (rows.arrival_ns, rows.prompt_tokens, rows.output_tokens)
    return ([list(column) for column in columns] if not said else []), said


@pytest.mark.slow
@settings(max_examples=examples(day=60, night=400))
@given(
    ordered=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12),
    mixed=st.lists(LINES, max_size=4),
    block=st.integers(1, 6),
)
def test_at_once_and_one_by_one_are_the_same(
    ordered: list[tuple[int, int]],
    mixed: list[str],
    block: int,
) -> None:
    lines = [f"{number / 7},{a},{b}\n" for number, (a, b) in enumerate(ordered)] + mixed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_csv, "BLOCK", block)
        at_once = read(lines)
        patch.setattr(plain_csv, "_append_block", lambda *_: False)
        assert at_once == read(lines)


def test_whole_blocks_are_append_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_csv, "BLOCK", 2)
    monkeypatch.setattr(plain_csv, "_append_lines", lambda *_: pytest.fail("a closer look"))
    columns, said = read(["0.5,3,4\n", "1.25,12.0,0\n", "1.25,7,2147483647\n"])
    assert said == ""
    assert columns == [[500000000, 1250000000, 1250000000], [3, 12, 7], [4, 0, 2147483647]]
