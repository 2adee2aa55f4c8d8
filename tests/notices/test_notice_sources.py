"""What every source of notices must hold to, by all examples of what it reads, and by what nobody foresaw."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler import notices
from autoscaler.core.contract.state import InterruptionKind
from autoscaler.kube.api.fields import UnreadableError
from autoscaler.kube.watch.slim import slim_node
from autoscaler.kube.watch.slim_notices import slim_claim, slim_event
from autoscaler.notices import NOTICE_SOURCES
from autoscaler.notices.mark import Mark, NoticeSource, Reading, Seen, Watched
from tests.extent import examples
from tests.kube.scene import CREATED_AT, Json, node
from tests.notices import test_events, test_node_marks, test_nodeclaims
from tests.notices.test_node_agent import written

AT = CREATED_AT + 600
NOW = Seen(at=AT, after=AT - 30)
NO_READERS = {"__init__", "azure", "coverage", "interruptions", "mark", "rehearse", "survey"}

EXAMPLES: dict[Watched, list[Json]] = {
    Watched.NODE: [
        *(
            body
            for rows in (
                test_node_marks.NOTICES,
                test_node_marks.EASY,
                test_node_marks.GUESSED,
                test_node_marks.NONE,
            )
            for _, body, *_ in rows
        ),
        written(deadline="2026-03-01T12:11:44Z"),
        written(kind="Risk"),
        node("n", annotations={"inference-autoscaler.dev/notice": "{"}),
    ],
    Watched.EVENT: [
        body
        for rows in (test_events.ROWS, test_events.WITHDRAWALS, test_events.SILENT)
        for _, body, *_ in rows
    ],
    Watched.CLAIM: [body for _, body, *_ in test_nodeclaims.ROWS],
}


def kept(watched: Watched, body: Json) -> Json:
    """What the cache of such objects keeps of one."""
    match watched:
        case Watched.NODE:
            return slim_node(body).marks
        case Watched.EVENT:
            return slim_event(body)
        case Watched.CLAIM:
            return slim_claim(body)


def test_each_module_is_registered():
    folder = Path(notices.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - NO_READERS
    assert modules == set(NOTICE_SOURCES)


@pytest.fixture(params=sorted(NOTICE_SOURCES))
def source(request: pytest.FixtureRequest) -> NoticeSource:
    return NOTICE_SOURCES[request.param]


def check(source: NoticeSource, readings: tuple[Reading, ...], *, at: float) -> None:
    """What holds of whatever is read from whatever object."""
    marks = [reading for reading in readings if isinstance(reading, Mark)]
    for mark in marks:
        it = mark.interruption
        assert it.source in source.labels
        assert it.noticed_at <= at, "dated not later than seen"
        assert it.kind is not InterruptionKind.LOST
        if it.kind is InterruptionKind.TERMINATION:
            assert it.deadline_at is not None
            assert math.isfinite(it.deadline_at)
        else:
            assert it.deadline_at is None
        assert mark.holds_until >= it.noticed_at
    sources = [mark.interruption.source for mark in marks]
    assert len(sources) == len(set(sources))


def test_a_source_keeps_to_the_rules(source: NoticeSource):
    for body in EXAMPLES[source.watched]:
        before = copy.deepcopy(body)
        readings = source.read(body, NOW)
        assert body == before, "it reads"
        assert readings == source.read(body, NOW), "and reads the same again"
        assert readings == source.read(kept(source.watched, body), NOW), (
            "what is kept is all it needs"
        )
        check(source, readings, at=AT)
        # Dated by itself, or by when it was first seen; read again with its first date, it keeps it.
        for now in readings:
            if not isinstance(now, Mark):
                continue
            first = now.interruption.noticed_at
            again = source.read(body, Seen(at=first, after=first))
            (then,) = [
                mark
                for mark in again
                if isinstance(mark, Mark)
                and mark.interruption.source == now.interruption.source
                and mark.interruption.kind is now.interruption.kind
            ]
            assert then.interruption == now.interruption


@pytest.mark.parametrize("body", [{}, {"metadata": None, "spec": None, "status": None}])
def test_a_source_takes_an_empty_object(source: NoticeSource, body: Json):
    assert source.read(kept(source.watched, body), NOW) == ()


TEXTS = st.one_of(
    st.sampled_from(
        ["", "x", "2026-03-01T12:00:00Z", "9" * 400, "True", "-1", "Preempt Scheduled: ", "\x00"]
    ),
    st.text(max_size=20),
)
WHATEVER = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def _spoiled(draw: st.DrawFn, body: Json, values: st.SearchStrategy[Any] | None) -> Json:
    """With one value anywhere lost or replaced; with no values given, a text by a text, others by null."""
    part: Any = body
    while True:
        keys = sorted(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            return body
        key = draw(st.sampled_from(keys))
        if isinstance(part[key], dict | list) and part[key] and draw(st.integers(0, 9)):
            part = part[key]
            continue
        if draw(st.booleans()):
            del part[key]
        else:
            texts = TEXTS if isinstance(part[key], str) else st.none()
            part[key] = draw(texts if values is None else values)
        return body


@pytest.mark.slow
@settings(max_examples=examples(day=40, night=1000), deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", sorted(NOTICE_SOURCES))
def test_a_source_takes_whatever_is_written(name: str, data: st.DataObject):
    """Events and NodeClaims are written by others: any part may be anything."""
    source = NOTICE_SOURCES[name]
    example = data.draw(st.sampled_from(EXAMPLES[source.watched]))
    # What a cache of nodes does with values of other types is its own matter.
    values = None if source.watched is Watched.NODE else WHATEVER
    body = _spoiled(data.draw, copy.deepcopy(example), values)
    try:
        found = kept(source.watched, body)
    except UnreadableError:
        return  # its cache keeps what it had, and counts it (`tests/kube/test_hostile_server.py`)
    check(source, source.read(found, NOW), at=AT)
