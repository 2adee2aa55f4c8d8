"""The annotation that holds promises: written, read back, and refused where it is not ours to guess."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.contract.promise_text import from_text, to_text
from autoscaler.core.contract.state import Promise

SINCE = 1_772_366_400.0  # 2026-03-01T12:00:00Z


def test_what_is_written_is_read_back_to_the_second():
    promises = (
        Promise(node="a", replicas=1, since=SINCE + 0.7),
        Promise(node="b", replicas=2, since=SINCE),
    )
    text = to_text(promises)
    assert text == (
        '[{"node":"a","replicas":1,"since":"2026-03-01T12:00:00Z"},'
        '{"node":"b","replicas":2,"since":"2026-03-01T12:00:00Z"}]'
    )
    assert from_text(text) == (Promise(node="a", replicas=1, since=SINCE), promises[1])


def test_nothing_promised_is_no_annotation():
    assert to_text(()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, (), id="no annotation"),
        pytest.param("[]", (), id="none"),
        pytest.param(
            '[{"node":"b","replicas":2,"since":1772366400},{"node":"a","replicas":1,"since":"2026-03-01T12:00:00Z"}]',
            (
                Promise(node="a", replicas=1, since=SINCE),
                Promise(node="b", replicas=2, since=SINCE),
            ),
            id="ordered by node, both forms of time",
        ),
        pytest.param(
            '[{"node":"a","replicas":1,"since":1.5,"more":true}]',
            (Promise(node="a", replicas=1, since=1.5),),
            id="what a later version adds is no fault",
        ),
        pytest.param("", None, id="empty"),
        pytest.param("{", None, id="no json"),
        pytest.param("{}", None, id="no list"),
        pytest.param("[1]", None, id="no object"),
        pytest.param('[{"replicas":1,"since":1}]', None, id="no node"),
        pytest.param('[{"node":"","replicas":1,"since":1}]', None, id="empty node"),
        pytest.param('[{"node":"a","replicas":"1","since":1}]', None, id="replicas as text"),
        pytest.param('[{"node":"a","replicas":1.5,"since":1}]', None, id="half a replica"),
        pytest.param('[{"node":"a","replicas":true,"since":1}]', None, id="a boolean"),
        pytest.param('[{"node":"a","replicas":-1,"since":1}]', None, id="negative"),
        pytest.param('[{"node":"a","replicas":1}]', None, id="no time"),
        pytest.param('[{"node":"a","replicas":1,"since":"yesterday"}]', None, id="a bad time"),
        pytest.param(
            '[{"node":"a","replicas":1,"since":"2026-03-01T12:00:00"}]', None, id="no zone"
        ),
        pytest.param('[{"node":"a","replicas":1,"since":NaN}]', None, id="not a number"),
        pytest.param(f'[{{"node":"a","replicas":1,"since":1{"0" * 400}}}]', None, id="no moment"),
        pytest.param("[" * 100_000, None, id="too deep"),
        pytest.param(
            '[{"node":"a","replicas":1,"since":1},{"node":"a","replicas":1,"since":1}]',
            None,
            id="one node twice",
        ),
    ],
)
def test_promises_are_read_or_flagged_never_guessed(text: str | None, expected: Any):
    assert from_text(text) == expected
