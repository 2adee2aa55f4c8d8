"""The annotation that holds promises: written, read back, and refused where it is not ours to guess."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.contract.promise_text import from_text, to_text
from autoscaler.core.contract.state import Promise
from tests.extent import examples

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
        pytest.param('[{"node":"a","replicas":1,"since":1e300}]', None, id="after the year 2200"),
        pytest.param('[{"node":"a","replicas":1,"since":-1}]', None, id="before 1970"),
        pytest.param(
            '[{"node":"a","replicas":1,"since":"9999-12-31T23:59:59-14:00"}]',
            None,
            id="beyond 9999",
        ),
        pytest.param(
            f'[{{"node":"a","replicas":{"9" * 5000},"since":1}}]', None, id="5,000 digits"
        ),
        pytest.param('[{"node":"a","replicas":100001,"since":1}]', None, id="more than any model"),
        pytest.param(
            '[{"node":"a","replicas":1,"replicas":9,"since":1}]', None, id="a field twice"
        ),
        pytest.param('[{"node":"a\\u202e","replicas":1,"since":1}]', None, id="unprintable"),
        pytest.param(
            f'[{{"node":"{"a" * 254}","replicas":1,"since":1}}]', None, id="no node's name"
        ),
        pytest.param("[" * 2000, None, id="2,000 lists"),
        pytest.param('{"a":' * 2000, None, id="2,000 objects"),
        pytest.param("[" * 100_000, None, id="too deep"),
        pytest.param("[" + "{}," * 10**6 + "{}]", None, id="a million entries"),
        pytest.param(" " * 10**6 + "[]", None, id="a million blanks"),
        pytest.param(
            '[{"node":"a","replicas":1,"since":1},{"node":"a","replicas":1,"since":1}]',
            None,
            id="one node twice",
        ),
    ],
)
def test_promises_are_read_or_flagged_never_guessed(text: str | None, expected: Any):
    assert from_text(text) == expected


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        ["a", 10**400, 1e300, -0.0, "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"]
    ),
)
ENTRIES = st.lists(
    st.one_of(
        SCALARS,
        st.fixed_dictionaries({"node": SCALARS, "replicas": SCALARS, "since": SCALARS}),
        st.fixed_dictionaries({"node": st.text(), "replicas": st.integers(), "since": st.floats()}),
    ),
    max_size=3,
)


@given(text=st.one_of(st.text(), ENTRIES.map(json.dumps), SCALARS.map(json.dumps)))
@settings(max_examples=examples(day=100, night=10_000), deadline=None)
def test_any_text_is_promises_or_flagged_and_what_is_read_can_be_written(text: str):
    promises = from_text(text)
    if promises:
        again = from_text(to_text(promises))
        assert again is not None
        assert [(each.node, each.replicas) for each in again] == [
            (each.node, each.replicas) for each in promises
        ]
