"""What is foreign is parsed in steps of bounded work: counted in calls, not in time.

`tests/benchmarks/pages.py` prints what the same bodies take.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import SourceError
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import page_steps
from autoscaler.sources.pages.limits import (
    ANSWER_BYTES_MAX,
    LINE_BYTES_MAX,
    POD_PAGE_BYTES_MAX,
    STEP_BYTES,
)
from autoscaler.sources.pages.sample_line import LabelCache, parse_line
from autoscaler.sources.pages.turns import Steps
from autoscaler.sources.prometheus.answer import answer_steps
from autoscaler.sources.prometheus.range_answer import QueryGrid, range_steps
from tests.benchmarks.pages import sampled
from tests.extent import examples, sample
from tests.sources import hostile

CALLS_MAX = 60_000
"""Of functions, Python's and C's, in one step: of some 0.1 to 0.3 us each, well within 50 ms."""
SMALL = 256 * 2**10


def calls_of(steps: Steps[object]) -> list[int]:
    """Run steps to their end; how many functions each of them called."""
    counts: list[int] = []

    def count(_frame: Any, event: str, _argument: Any) -> None:
        if event in ("call", "c_call"):
            counts[-1] += 1

    while True:
        counts.append(0)
        sys.setprofile(count)
        try:
            next(steps)
        except (StopIteration, SourceError):
            return counts
        finally:
            sys.setprofile(None)


def past_steps(body: bytes) -> Steps[object]:
    """Read an answer over a day of minutes."""
    return range_steps(body, grid=QueryGrid(0, 60, 1_440))


def read_page_of(engine: str) -> Callable[[bytes], Steps[object]]:
    return lambda body: sampled(SOURCES[engine], body)


BODIES = {
    **{f"page: {name}": (body, read_page_of("VLLM")) for name, body in hostile.pages(SMALL)},
    **{f"answer: {name}": (body, answer_steps) for name, body in hostile.answers(SMALL)},
    **{f"range: {name}": (body, past_steps) for name, body in hostile.answers(SMALL)},
}
DAY = [name for number, name in enumerate(BODIES) if number % 4 == 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", sample(list(BODIES), day=DAY))
def test_no_step_over_a_hostile_body_is_long(name: str):
    body, read = BODIES[name]
    assert max(calls_of(read(body))) < CALLS_MAX


PIECES = st.sampled_from(
    [
        *(hostile.WANTED, b"vllm:num_requests_waiting", b"vllm:", b"other"),
        *(
            b"{",
            b"}",
            b'"',
            b'\\"',
            b"\\\\",
            b"\\n",
            b",",
            b"=",
            b'engine="0"',
            b'a="',
        ),
        *(b" ", b"\t", b"\n", b"\r\n", b"1", b"9" * 40, b"NaN", b"+Inf", b"1e308", b"1e400"),
        *(b"#", b"# TYPE ", b"# EOF", b"<html>", b"<title>", b"</title>", b"\xef\xbb\xbf"),
        *(
            b"\x00",
            b"\xff",
            "𝔸".encode(),
            b'{"status":"success",',
            b'"data":{"result":[',
            b"[",
            b"]",
        ),
        *(b'{"metric":{"__name__":"up"},', b'"values":[[1,"2"]]}', b'"pod":[1],'),
    ]
)


@st.composite
def repeated(draw: st.DrawFn, *, limit: int) -> bytes:
    """Pieces put together, and that repeated up to the limit."""
    piece = b"".join(draw(st.lists(PIECES, min_size=1, max_size=8)))
    before = b"".join(draw(st.lists(PIECES, max_size=4)))
    return hostile.filled(piece, limit, before=before)


@pytest.mark.slow
@settings(max_examples=examples(day=6, night=200))
@given(repeated(limit=SMALL))
def test_no_step_over_any_body_is_long(body: bytes):
    for read in (read_page_of("VLLM"), read_page_of("TGI"), answer_steps):
        assert max(calls_of(read(body))) < CALLS_MAX


@pytest.mark.slow
@settings(max_examples=examples(day=4, night=60))
@given(st.lists(PIECES, min_size=1, max_size=6))
def test_work_grows_with_the_length_and_not_with_its_square(pieces: list[bytes]):
    piece = b"".join(pieces)
    for read in (read_page_of("VLLM"), answer_steps):
        short, long = (sum(calls_of(read(hostile.filled(piece, size)))) for size in (2**16, 2**18))
        assert long <= 6 * short + 5_000


@pytest.mark.parametrize(
    ("limit", "read"),
    [(POD_PAGE_BYTES_MAX, read_page_of("VLLM")), (ANSWER_BYTES_MAX, answer_steps)],
)
def test_a_step_sees_no_more_than_its_bytes(limit: int, read: Callable[[bytes], Steps[object]]):
    """A sound body at the limit takes as many steps as it has pieces of STEP_BYTES."""
    body = (
        hostile.filled(b"# comment on nothing\n", limit, after=hostile.WANTED + b" 1\n")
        if limit == POD_PAGE_BYTES_MAX
        else dict(hostile.answers())["series of many labels"]
    )
    steps, count = read(body), 0
    for _ in steps:
        count += 1
    assert count >= limit // STEP_BYTES - 5


# -- one line, and the cache of labels


def worst_lines() -> dict[str, str]:
    room = LINE_BYTES_MAX - 10
    return {
        "escapes": 'up{a="' + '\\"' * (room // 2) + '"} 1',
        "labels": "up{" + "".join(f'a{n}="",' for n in range(room // 9)) + "} 1",
        "braces": 'up{a="' + "}" * room + '"} 1',
        "backslashes": 'up{a="' + "\\" * room,
    }


@pytest.mark.parametrize("name", worst_lines())
def test_a_line_takes_few_calls(name: str):
    line = worst_lines()[name]

    def steps() -> Steps[object]:
        try:
            parse_line(line, cache=LabelCache())
        except ValueError:
            return None
        yield

    assert max(calls_of(steps())) < 2 * LINE_BYTES_MAX


def test_the_cache_of_labels_knows_its_size():
    cache = LabelCache(bytes_max=100_000)
    for number in range(2_000):
        cache.labels(f'up{{a="{"x" * 500}{number}"}}')
        assert cache.held_bytes <= 100_000
    assert 0 < len(cache._found) < 100
    big = f'up{{a="{"x" * 200_000}"}}'
    assert cache.labels(big)["a"].startswith("xx")
    assert cache.held_bytes <= 100_000
    assert cache.labels('up{a="b"}') is cache.labels('up{a="b"}')


def test_a_page_of_nothing_wanted_is_judged_by_its_beginning():
    """What comes behind it is never parsed: the same calls for a page ten times as long."""
    names = SOURCES["VLLM"].names
    short, long = (
        sum(calls_of(page_steps(b"<html>" + b"<title>x" * size, names))) for size in (8_000, 80_000)
    )
    assert long < short + 200
