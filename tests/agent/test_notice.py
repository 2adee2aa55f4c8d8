from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.agent import notice as module
from autoscaler.agent.notice import (
    NodeNotice,
    NoticeKind,
    Told,
    moment_of,
    read_notice,
    rfc3339,
    worst,
    worst_told,
)
from autoscaler.core.contract.state import InterruptionKind
from autoscaler.kube.api.timestamps import seconds

TERMINATION = NodeNotice(
    kind=NoticeKind.TERMINATION,
    source="aws-imds",
    noticed_at=1777050584.0,
    deadline_at=1777050704.0,
)
RISK = NodeNotice(
    kind=NoticeKind.RISK, source="aws-imds", noticed_at=1777050584.0, deadline_at=None
)


def test_the_kinds_are_those_of_the_core():
    assert {str(kind) for kind in NoticeKind} < {str(kind) for kind in InterruptionKind}


def test_how_it_is_written():
    assert TERMINATION.text() == (
        '{"kind":"Termination","source":"aws-imds","deadline":"2026-04-24T17:11:44Z",'
        '"noticed":"2026-04-24T17:09:44Z"}'
    )
    assert json.loads(RISK.text()) == {
        "kind": "Risk",
        "source": "aws-imds",
        "noticed": "2026-04-24T17:09:44Z",
    }


def test_the_example_of_the_docstring_is_one():
    example = re.search(r"\{.*\}", Path(module.__file__).read_text())
    assert example is not None
    assert read_notice(example[0]) == TERMINATION
    assert TERMINATION.text() == example[0]


MOMENTS = st.integers(0, 7_258_118_399).map(float)
"""To the year 2200; a later one the daemon takes for none."""


@pytest.mark.slow
@given(
    st.builds(
        NodeNotice,
        kind=st.sampled_from(NoticeKind),
        source=st.text(max_size=20),
        noticed_at=MOMENTS,
        deadline_at=st.none() | MOMENTS,
    )
)
def test_what_is_written_is_read_again(notice):
    assert read_notice(notice.text()) == notice
    if notice.deadline_at is not None:  # as the daemon reads it
        assert seconds(json.loads(notice.text())["deadline"]) == notice.deadline_at


@given(st.none() | st.text())
def test_what_is_no_notice_is_none(text):
    assert read_notice(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "7",
        "[]",
        '"x"',
        '{"kind":"Doom","source":"aws-imds","noticed":"2026-04-24T17:09:44Z"}',
        '{"kind":"Risk","source":"aws-imds","noticed":"yesterday"}',
        '{"kind":"Risk","source":"aws-imds"}',
        '{"kind":["Risk"],"source":"aws-imds","noticed":"2026-04-24T17:09:44Z"}',
        '{"kind":"Termination","source":"a","deadline":null,"noticed":"2026-04-24T17:09:44Z"}',
    ],
)
def test_a_damaged_annotation_is_no_notice(text):
    assert read_notice(text) is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-04-24T17:11:44Z", 1777050704.0),
        ("2026-04-24T17:11:44.999Z", 1777050704.0),
        ("2026-04-24T19:11:44+02:00", 1777050704.0),
        ("2026-04-24T17:11:44", None),
        ("2026-04-24", None),
        ("1969-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("9999-12-31T23:59:59-23:00", None),
        (None, None),
        (1777050704, None),
    ],
)
def test_moments(text, at):
    assert moment_of(text) == at


@given(st.text() | st.from_regex(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})"))
def test_whatever_the_moment_is_it_is_one_that_can_be_written_or_none(text):
    at = moment_of(text)
    assert at is None or moment_of(rfc3339(at)) == at


def test_of_several_the_worst_kind_and_then_the_soonest_deadline():
    later = NodeNotice(
        kind=NoticeKind.TERMINATION, source="aws-imds", noticed_at=0.0, deadline_at=1777059999.0
    )
    assert worst([RISK, later, TERMINATION]) == TERMINATION
    assert worst([RISK]) == RISK
    assert worst([]) is None
    told = [Told(kind=NoticeKind.RISK), Told(kind=NoticeKind.TERMINATION, deadline_at=9.0)]
    assert worst_told(told) == told[1]
