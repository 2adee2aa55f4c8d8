"""Each dialect by example, and what all sources of notices must hold to."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from autoscaler import notices
from autoscaler.core.contract.commands import CORDON_ANNOTATION, INTERRUPTION_ANNOTATION
from autoscaler.core.contract.state import InterruptionKind
from autoscaler.kube.watch.slim import slim_node
from autoscaler.notices import NOTICE_SOURCES
from autoscaler.notices.interruptions import Mark
from autoscaler.notices.node_marks import DIALECTS, NOT_NOTICES, read_marks
from tests.kube.scene import CREATED, CREATED_AT, Json, condition, node

AT = CREATED_AT + 600
SPOT = {"karpenter.sh/capacity-type": "spot"}
ON_DEMAND = {"karpenter.sh/capacity-type": "on-demand"}
AKS = "kubernetes.azure.com/scalesetpriority"


def taint(key: str, value: str = "", **more: str) -> dict[str, str]:
    return {"key": key, "value": value, "effect": "NoSchedule", **more}


def azure(message: str, *, kind: str = "PreemptionScheduled", status: str = "True") -> Json:
    told = condition(kind, status, since=CREATED, reason="SpotEvictionIncoming", message=message)
    return node("n", labels={AKS: "spot"}, conditions=[told])


def rehearsed(deadline: str) -> Json:
    return node("n", annotations={INTERRUPTION_ANNOTATION: deadline})


def shutting_down(message: str, status: str = "False") -> Json:
    told = node("n", ready=status, ready_since="2026-03-01T12:09:50Z")
    told["status"]["conditions"][0] |= {"reason": "KubeletNotReady", "message": message}
    return told


def said(text: str) -> str:
    return f"Preempt Scheduled: {text}. For more information, see https://aka.ms/e. EventId: 40B7"


ITN = "aws-node-termination-handler/spot-itn"
GKE = "cloud.google.com/impending-node-termination"
REMEDIATOR = "remediator.kubernetes.azure.com/unschedulable"
OLD_REMEDIATOR = "remediator.aks.microsoft.com/unschedulable"
DRAINING = "cloudprovider.azure.microsoft.com/draining"

NOTICES: tuple[tuple[str, Json, str, float, float], ...] = (
    ("ours", rehearsed("2026-03-01T12:11:00Z"), "rehearsal", AT, AT + 60),
    ("ours, another zone", rehearsed("2026-03-01T14:11:00+02:00"), "rehearsal", AT, AT + 60),
    ("ours, over", rehearsed("2026-03-01T12:09:00Z"), "rehearsal", AT, AT - 60),
    (
        "nth: two minutes from when it was seen",
        node("n", labels=SPOT, taints=[taint(ITN, "spot-itn-abc")]),
        "aws-node-termination-handler",
        AT,
        AT + 120,
    ),
    (
        "nth with a time of its own",
        node("n", taints=[taint(ITN, timeAdded="2026-03-01T12:09:00Z")]),
        "aws-node-termination-handler",
        AT - 60,
        AT + 60,
    ),
    (
        "nth: the label of another time is not that of the notice",
        node(
            "n",
            labels={"aws-node-termination-handler/action-time": str(int(AT) - 86400)},
            taints=[taint(ITN)],
        ),
        "aws-node-termination-handler",
        AT,
        AT + 120,
    ),
    (
        "after a restart our own cordon dates it",
        node("n", taints=[taint(ITN)], annotations={CORDON_ANNOTATION: "2026-03-01T12:09:10Z"}),
        "aws-node-termination-handler",
        AT - 50,
        AT + 70,
    ),
    (
        "a cordon that answered an earlier notice does not",
        node("n", taints=[taint(ITN)], annotations={CORDON_ANNOTATION: "2026-03-01T12:01:00Z"}),
        "aws-node-termination-handler",
        AT,
        AT + 120,
    ),
    (
        "gke: spot",
        node("n", labels={"cloud.google.com/gke-spot": "true"}, taints=[taint(GKE)]),
        "gke",
        AT,
        AT + 30,
    ),
    (
        "gke: a gpu machine that is not spot, an hour",
        node("n", taints=[taint(GKE)]),
        "gke",
        AT,
        AT + 3600,
    ),
    (
        "karpenter for gcp",
        node(
            "n", conditions=[condition("GCESpotPreempting", "True", since="2026-03-01T12:09:55Z")]
        ),
        "gce-spot",
        AT - 5,
        AT + 25,
    ),
    ("aks", azure(said("Sun, 01 Mar 2026 12:10:25 GMT")), "aks", AT, AT + 25),
    (
        "aks: one digit, more space",
        azure(" Preempt  Scheduled:\tSun,  1 Mar 2026 12:10:25 UTC"),
        "aks",
        AT,
        AT + 25,
    ),
    (
        "aks: the older name",
        azure(said("Sun, 01 Mar 2026 12:10:25 GMT"), kind="PreemptScheduled"),
        "aks",
        AT,
        AT + 25,
    ),
    ("aks: begun", azure("Preempt Started. For more information, see"), "aks", AT, AT),
    (
        "aks: begun, whatever the date",
        azure("Preempt Started: Sun, 01 Mar 2026 13:00:00 GMT."),
        "aks",
        AT,
        AT,
    ),
    (
        "aks: drain of a spot node",
        node("n", labels={AKS: "spot"}, taints=[taint(REMEDIATOR)]),
        "aks-remediator",
        AT,
        AT + 30,
    ),
    (
        "aks: its older name",
        node("n", labels={AKS: "spot"}, taints=[taint(OLD_REMEDIATOR)]),
        "aks-remediator",
        AT,
        AT + 30,
    ),
    (
        "azure's cloud provider",
        node("n", labels={AKS: "spot"}, taints=[taint(DRAINING, "spot-eviction")]),
        "cloud-provider-azure",
        AT,
        AT + 30,
    ),
    ("kubelet", shutting_down("node is shutting down"), "kubelet", AT - 10, AT + 20),
    (
        "kubelet, one of several",
        shutting_down("[PLEG is not healthy, node is shutting down]"),
        "kubelet",
        AT - 10,
        AT + 20,
    ),
)
"""(name, node, source, noticed at, deadline)."""

GUESSED: tuple[tuple[str, Json, str, float], ...] = (
    ("ours", rehearsed("in a minute"), "rehearsal", AT + 120),
    ("ours, empty", rehearsed(""), "rehearsal", AT + 120),
    ("ours, no zone", rehearsed("2026-03-01T12:11:00"), "rehearsal", AT + 120),
    ("aks, no date", azure("Preempt Scheduled. For more information"), "aks", AT + 30),
    ("aks, a zone we do not know", azure(said("Sun, 01 Mar 2026 12:10:25 PST")), "aks", AT + 30),
    ("aks, no such day", azure(said("Sun, 32 Mar 2026 12:10:25 GMT")), "aks", AT + 30),
    ("aks, another form", azure(said("2026-03-01T12:10:25Z")), "aks", AT + 30),
    (
        "aks, another event",
        azure("Terminate Scheduled: Sun, 01 Mar 2026 12:10:25 GMT."),
        "aks",
        AT + 30,
    ),
    ("aks, nothing said", azure(""), "aks", AT + 30),
)
"""(name, node, source, the deadline that is taken instead)."""

NONE: tuple[tuple[str, Json], ...] = (
    ("a node", node("n")),
    ("spot by its labels alone", node("n", labels={AKS: "spot"}, taints=[taint(AKS, "spot")])),
    ("a cordon", node("n", unschedulable=True)),
    ("not ready", node("n", ready="False")),
    ("unknown", shutting_down("Kubelet stopped posting node status.", "Unknown")),
    ("ready, and the words are there", shutting_down("node is shutting down", "True")),
    (
        "aks: an advice",
        azure("SpotRebalanceRecommendation Advisory: Sun, 01 Mar 2026 12:10:25 GMT."),
    ),
    ("aks: an advice that quotes", azure("SpotRebalanceRecommendation Advisory: " + said("x"))),
    ("aks: over", azure(said("Sun, 01 Mar 2026 12:10:25 GMT"), status="False")),
    (
        "aks: repair of a regular node",
        node("n", labels={AKS: "regular"}, taints=[taint(REMEDIATOR)]),
    ),
    ("aks: repair where nothing is known", node("n", taints=[taint(OLD_REMEDIATOR)])),
    ("azure drains for another reason", node("n", taints=[taint(DRAINING, "out-of-service")])),
    ("gcp: over", node("n", conditions=[condition("GCESpotPreempting", "False", since=CREATED)])),
    *(
        (f"not a notice: {key}", node("n", labels=SPOT, taints=[taint(key)]))
        for key, _ in NOT_NOTICES
    ),
)


def named(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Rows whose first entry is their name."""
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


@pytest.mark.parametrize(("body", "source", "noticed_at", "deadline_at"), named(NOTICES))
def test_notices(body: Json, source: str, noticed_at: float, deadline_at: float):
    (mark,) = read_marks(body, AT)
    it = mark.interruption
    assert (it.node, it.kind, it.source) == ("n", InterruptionKind.TERMINATION, source)
    assert (it.noticed_at, it.deadline_at) == (noticed_at, deadline_at)
    assert mark.problem == ""


@pytest.mark.parametrize(("body", "source", "deadline_at"), named(GUESSED))
def test_a_deadline_that_cannot_be_read_is_the_customary_one_and_that_is_said(
    body: Json, source: str, deadline_at: float
):
    (mark,) = read_marks(body, AT)
    assert (mark.interruption.source, mark.interruption.deadline_at) == (source, deadline_at)
    assert f"the deadline of {source} cannot be read" in mark.problem


@pytest.mark.parametrize("body", named(NONE))
def test_no_notices(body: Json):
    assert read_marks(body, AT) == ()


def test_several_marks_are_all_read_one_of_each_source():
    body = node(
        "n",
        labels=SPOT,
        taints=[taint(ITN), taint(ITN, "again"), taint(REMEDIATOR), taint(OLD_REMEDIATOR)],
        annotations={INTERRUPTION_ANNOTATION: "2026-03-01T12:11:00Z"},
    )
    sources = [mark.interruption.source for mark in read_marks(body, AT)]
    assert sources == ["rehearsal", "aws-node-termination-handler", "aks-remediator"]


def test_each_row_has_an_example():
    shown: set[Any] = set()
    for _, body, *_ in (*NOTICES, *GUESSED):
        taints = {each["key"] for each in body["spec"]["taints"]}
        conditions = {each["type"] for each in body["status"]["conditions"]}
        shown |= taints | conditions | set(body["metadata"]["annotations"])
    for row in DIALECTS:
        assert (row.taint or row.condition or row.annotation) in shown, row
        assert row.lead_s > 0


def test_no_row_is_also_said_to_be_none():
    assert not {row.taint for row in DIALECTS} & {key for key, _ in NOT_NOTICES}
    assert all(why for _, why in NOT_NOTICES)


# -- every source of notices


def test_each_module_is_registered():
    folder = Path(notices.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {
        "__init__",
        "interruptions",
        "rehearse",
    }
    assert modules == set(NOTICE_SOURCES)


EXAMPLES = [
    *((name, body) for name, body, *_ in (*NOTICES, *GUESSED)),
    *NONE,
]


@pytest.fixture(params=sorted(NOTICE_SOURCES))
def source(request: pytest.FixtureRequest) -> Any:
    return NOTICE_SOURCES[request.param]


@pytest.mark.parametrize("body", named(EXAMPLES))
def test_a_source_keeps_to_the_rules(source: Any, body: Json):
    before = copy.deepcopy(body)
    marks: tuple[Mark, ...] = source(body, AT)
    assert body == before, "it reads"
    assert marks == source(body, AT), "and reads the same again"
    assert marks == source(slim_node(body).marks, AT), "what is kept of a node is all it needs"
    for mark in marks:
        it = mark.interruption
        assert it.node == body["metadata"]["name"]
        assert it.noticed_at <= AT
        assert it.deadline_at is not None
        assert math.isfinite(it.deadline_at)
    sources = [mark.interruption.source for mark in marks]
    assert len(sources) == len(set(sources))
    later: tuple[Mark, ...] = source(body, AT + 7)
    for now, then in zip(marks, later, strict=True):
        moved = then.interruption.noticed_at - now.interruption.noticed_at
        assert moved in {0.0, 7.0}, "dated by itself, or by when it was first seen"


def test_a_source_takes_whatever_a_server_sends(source: Any):
    """Any part of an object may be missing, null or of another type within what JSON allows."""
    for body in ({}, {"metadata": None, "spec": None, "status": None}):
        assert source(body, AT) == ()
    rng = random.Random(5)
    for _ in range(2000):
        name, example = rng.choice(EXAMPLES)
        body = slim_node(_spoiled(copy.deepcopy(example), rng)).marks
        for mark in source(body, AT):
            assert math.isfinite(mark.interruption.deadline_at), name


def _spoiled(body: Json, rng: random.Random) -> Json:
    """With one value, anywhere below the three parts, lost, null or replaced by another text."""
    part = body[rng.choice(["metadata", "spec", "status"])]
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            return body
        key = rng.choice(keys)
        if isinstance(part[key], dict | list) and part[key] and rng.random() < 0.9:
            part = part[key]
            continue
        spoil = rng.choice(["lose", "null", "text"])
        if spoil == "lose":
            del part[key]
        elif spoil == "null" or not isinstance(part[key], str):
            part[key] = None
        else:
            part[key] = rng.choice(["", "x", "2026-03-01T12:00:00Z", "9" * 400])
        return body
