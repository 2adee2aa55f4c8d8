"""The annotation of our own agent, and what else may stand in its place."""

from __future__ import annotations

import json

import pytest

from autoscaler.core.contract.state import InterruptionKind
from autoscaler.notices.mark import Seen, UnreadableNotice
from autoscaler.notices.node_agent import LEADS_S, NOTICE_ANNOTATION, read_notice
from tests.kube.scene import CREATED_AT, node

AT = CREATED_AT + 600
NOW = Seen(at=AT)
NOTICED = "2026-03-01T12:09:50Z"


def written(**parts: object) -> dict:
    parts = {"kind": "Termination", "source": "aws-imds", "noticed": NOTICED, **parts}
    return node("n", annotations={NOTICE_ANNOTATION: json.dumps(parts)})


@pytest.mark.parametrize("source", LEADS_S)
def test_a_termination_with_its_deadline(source: str):
    (mark,) = read_notice(written(source=source, deadline="2026-03-01T12:11:44Z"), NOW)
    it = mark.interruption
    assert (it.node, it.kind, it.source) == ("n", InterruptionKind.TERMINATION, source)
    assert (it.noticed_at, it.deadline_at, it.drained_elsewhere) == (AT - 10, AT + 104, False)
    assert mark.problem == ""


@pytest.mark.parametrize("kind", [InterruptionKind.DISRUPTION, InterruptionKind.RISK])
def test_what_has_no_deadline(kind: InterruptionKind):
    (mark,) = read_notice(written(kind=str(kind)), NOW)
    assert (mark.interruption.kind, mark.interruption.deadline_at) == (kind, None)


@pytest.mark.parametrize(
    ("parts", "deadline_at"),
    [
        ({}, AT - 10 + 120),
        ({"deadline": None}, AT - 10 + 120),
        ({"deadline": "soon"}, AT - 10 + 120),
        ({"deadline": "2026-03-01T12:11:44"}, AT - 10 + 120),
        ({"deadline": "2026-03-02T12:11:44Z"}, AT - 10 + 120),
        ({"deadline": "soon", "source": "gce-metadata"}, AT - 10 + 30),
        ({"deadline": "soon", "noticed": "later"}, AT + 120),
        ({"deadline": "soon", "noticed": None}, AT + 120),
        ({"deadline": "soon", "noticed": "2026-03-01T15:00:00Z"}, AT + 120),
    ],
)
def test_a_deadline_that_cannot_be_read_is_the_customary_one(parts: dict, deadline_at: float):
    (mark,) = read_notice(written(**parts), NOW)
    assert mark.interruption.deadline_at == deadline_at
    assert f"node n: annotation {NOTICE_ANNOTATION}: no deadline can be read" in mark.problem


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Termination",
        "null",
        "[]",
        "7",
        '{"kind":"Termination"',
        '{"kind":"Termination"}',
        '{"kind":7,"source":"aws-imds"}',
        '{"kind":"Lost","source":"aws-imds"}',
        '{"kind":"Terminated","source":"aws-imds"}',
        '{"kind":"Termination","source":"oci"}',
        '{"kind":"Termination","source":"aws-imds","deadline":["2026"]}',
        "[" * 100_000,
        '{"a":' * 50_000,
        "\x1b[2J" * 1000,
        "9" * 10_000,
    ],
)
def test_what_is_no_notice_is_a_problem(text: str):
    (reading,) = read_notice(node("n", annotations={NOTICE_ANNOTATION: text}), NOW)
    assert isinstance(reading, UnreadableNotice)
    assert reading.problem.startswith("node n: annotation ")
    assert len(reading.problem) < 600
    assert reading.problem.isprintable()


@pytest.mark.parametrize(
    "body", [{}, {"metadata": None}, {"metadata": []}, {"metadata": {"annotations": 3}}]
)
def test_a_node_without_it_says_nothing(body: dict):
    assert read_notice(body, NOW) == ()
