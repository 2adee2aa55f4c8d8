"""Each dialect by example, and what all sources of notices must hold to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.contract.commands import CORDON_ANNOTATION, INTERRUPTION_ANNOTATION
from autoscaler.core.contract.state import InterruptionKind
from autoscaler.notices.mark import Seen
from autoscaler.notices.node_marks import DIALECTS, NOT_NOTICES, read_marks
from tests.kube.scene import CREATED, CREATED_AT, Json, condition, node

AT = CREATED_AT + 600
NOW = Seen(at=AT)
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


def kept(body: Json, *finalizers: str) -> Json:
    body["metadata"]["finalizers"] = list(finalizers)
    return body


def deleted(body: Json, *finalizers: str) -> Json:
    body["metadata"]["deletionTimestamp"] = "2026-03-01T12:09:40Z"
    return kept(body, *finalizers)


def recorded(name: str) -> Json:
    """An object of the field, as it was recorded."""
    found: Json = json.loads((Path(__file__).parent / "recorded" / name).read_text())
    return found


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
    *(
        (
            f"aks: any event that ends what runs there, {kind}",
            azure(f"{kind} Scheduled: Sun, 01 Mar 2026 12:11:40 GMT. x", kind="VMEventScheduled"),
            "aks",
            AT,
            AT + 100,
        )
        for kind in ("Preempt", "Terminate", "Redeploy", "Reboot")
    ),
    (
        "aks: it has begun",
        azure("Redeploy Started", kind="VMEventScheduled"),
        "aks",
        AT,
        AT,
    ),
    (
        "gke: by a clock that is ahead",
        node("n", labels=SPOT, taints=[taint(GKE, timeAdded="2026-03-01T13:00:00Z")]),
        "gke",
        AT,
        AT + 30,
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

EASY: tuple[tuple[str, Json, str, InterruptionKind, float], ...] = (
    (
        "aks: an advice",
        azure("SpotRebalanceRecommendation Advisory: Sun, 01 Mar 2026 12:10:25 GMT."),
        "aks",
        InterruptionKind.RISK,
        AT,
    ),
    (
        "aks: an advice that quotes",
        azure("SpotRebalanceRecommendation Advisory: " + said("x"), kind="PreemptScheduled"),
        "aks",
        InterruptionKind.RISK,
        AT,
    ),
    (
        "nth: a recommendation",
        node(
            "n",
            labels=SPOT,
            taints=[taint("aws-node-termination-handler/rebalance-recommendation")],
        ),
        "aws-node-termination-handler",
        InterruptionKind.RISK,
        AT,
    ),
    (
        "nth: a lifecycle hook",
        node("n", taints=[taint("aws-node-termination-handler/asg-lifecycle-termination")]),
        "aws-node-termination-handler",
        InterruptionKind.DISRUPTION,
        AT,
    ),
    (
        "nth: maintenance that begins",
        node("n", taints=[taint("aws-node-termination-handler/scheduled-maintenance")]),
        "aws-node-termination-handler",
        InterruptionKind.DISRUPTION,
        AT,
    ),
    (
        "karpenter: a candidate whose replacement is launched",
        node("n", labels=SPOT, taints=[taint("karpenter.sh/disrupted")]),
        "karpenter",
        InterruptionKind.DISRUPTION,
        AT,
    ),
    (
        "karpenter: before 1.0",
        node("n", labels=ON_DEMAND, taints=[taint("karpenter.sh/disruption", "disrupting")]),
        "karpenter",
        InterruptionKind.DISRUPTION,
        AT,
    ),
    (
        "karpenter: being deleted",
        deleted(node("n", labels=ON_DEMAND), "karpenter.sh/termination", "example.com/other"),
        "karpenter",
        InterruptionKind.DISRUPTION,
        AT - 20,
    ),
    (
        "cluster-autoscaler: by its own date",
        node("n", taints=[taint("ToBeDeletedByClusterAutoscaler", str(int(AT) - 30))]),
        "cluster-autoscaler",
        InterruptionKind.DISRUPTION,
        AT - 30,
    ),
    *(
        (
            f"cluster-autoscaler: a date that is none, {value!r}",
            node("n", taints=[taint("ToBeDeletedByClusterAutoscaler", value)]),
            "cluster-autoscaler",
            InterruptionKind.DISRUPTION,
            AT,
        )
        for value in ("", "soon", "9" * 400, "-1")
    ),
    (
        "dated by a clock that is ahead",
        node("n", taints=[taint("ToBeDeletedByClusterAutoscaler", str(int(AT) + 3000))]),
        "cluster-autoscaler",
        InterruptionKind.DISRUPTION,
        AT,
    ),
)
"""(name, node, source, kind, noticed at): what has no deadline."""

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
    ("aks, another century", azure(said("Sun, 01 Mar 2099 12:10:25 GMT")), "aks", AT + 30),
)
"""(name, node, source, the deadline that is taken instead)."""

NONE: tuple[tuple[str, Json], ...] = (
    ("a node", node("n")),
    ("spot by its labels alone", node("n", labels={AKS: "spot"}, taints=[taint(AKS, "spot")])),
    ("a cordon", node("n", unschedulable=True)),
    ("a cordon, as one was recorded", recorded("node_nth_default_cordon.json")),
    ("not ready", node("n", ready="False")),
    ("unknown", shutting_down("Kubelet stopped posting node status.", "Unknown")),
    ("ready, and the words are there", shutting_down("node is shutting down", "True")),
    (
        "aks: a machine that stands still for seconds",
        azure("Freeze Scheduled: Sun, 01 Mar 2026 12:10:25 GMT.", kind="VMEventScheduled"),
    ),
    (
        "aks: nobody could be asked",
        azure("IMDS query failed, exit code: 28", kind="VMEventScheduled", status="Unknown"),
    ),
    (
        "being deleted, by nobody that we know",
        deleted(node("n", labels=SPOT), "example.com/keeps"),
    ),
    ("karpenter: its finalizer alone", kept(node("n", labels=SPOT), "karpenter.sh/termination")),
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
    (mark,) = read_marks(body, NOW)
    it = mark.interruption
    assert (it.node, it.kind, it.source) == ("n", InterruptionKind.TERMINATION, source)
    assert (it.noticed_at, it.deadline_at) == (noticed_at, deadline_at)
    assert mark.problem == ""


@pytest.mark.parametrize(("body", "source", "kind", "noticed_at"), named(EASY))
def test_what_has_no_deadline(body: Json, source: str, kind: InterruptionKind, noticed_at: float):
    (mark,) = read_marks(body, NOW)
    it = mark.interruption
    assert (it.node, it.kind, it.source) == ("n", kind, source)
    assert (it.noticed_at, it.deadline_at) == (noticed_at, None)
    assert it.drained_elsewhere is (kind is InterruptionKind.DISRUPTION)
    # A risk that has not come true is let go; somebody's drain lasts as long as its mark.
    risky = kind is InterruptionKind.RISK
    assert mark.holds_until == (noticed_at + 1800 if risky else math.inf)
    assert mark.problem == ""


def test_a_node_that_karpenter_takes_away_as_one_was_recorded():
    (mark,) = read_marks(recorded("node_karpenter_interrupted.json"), Seen(at=CREATED_AT + 5))
    it = mark.interruption
    assert (it.node, it.source, it.kind) == ("s1", "karpenter", InterruptionKind.DISRUPTION)
    assert (it.noticed_at, it.deadline_at, it.drained_elsewhere) == (CREATED_AT, None, True)


def test_a_risk_that_becomes_a_notice_on_one_node_is_told_by_the_notice():
    """One mark of a source: the first row that is there, and terminations stand before the rest."""
    taints = [taint("aws-node-termination-handler/rebalance-recommendation"), taint(ITN)]
    (mark,) = read_marks(node("n", labels=SPOT, taints=taints), NOW)
    assert mark.interruption.deadline_at == AT + 120


@pytest.mark.parametrize(("body", "source", "deadline_at"), named(GUESSED))
def test_a_deadline_that_cannot_be_read_is_the_customary_one_and_that_is_said(
    body: Json, source: str, deadline_at: float
):
    (mark,) = read_marks(body, NOW)
    assert (mark.interruption.source, mark.interruption.deadline_at) == (source, deadline_at)
    assert f"the deadline of {source}" in mark.problem
    assert "customary" in mark.problem


@pytest.mark.parametrize("body", named(NONE))
def test_no_notices(body: Json):
    assert read_marks(body, NOW) == ()


def test_several_marks_are_all_read_one_of_each_source():
    body = node(
        "n",
        labels=SPOT,
        taints=[taint(ITN), taint(ITN, "again"), taint(REMEDIATOR), taint(OLD_REMEDIATOR)],
        annotations={INTERRUPTION_ANNOTATION: "2026-03-01T12:11:00Z"},
    )
    sources = [mark.interruption.source for mark in read_marks(body, NOW)]
    assert sources == ["rehearsal", "aws-node-termination-handler", "aks-remediator"]


def test_each_row_has_an_example():
    shown: set[Any] = set()
    for _, body, *_ in (*NOTICES, *EASY, *GUESSED):
        taints = {each["key"] for each in body["spec"]["taints"]}
        conditions = {each["type"] for each in body["status"]["conditions"]}
        shown |= taints | conditions | set(body["metadata"]["annotations"])
        shown |= set(body["metadata"].get("finalizers", ()))
    for row in DIALECTS:
        assert (row.taint or row.condition or row.annotation or row.finalizer) in shown, row
        assert (row.lead_s > 0) is (row.kind is InterruptionKind.TERMINATION)


def test_no_row_is_also_said_to_be_none():
    assert not {row.taint for row in DIALECTS} & {key for key, _ in NOT_NOTICES}
    assert all(why for _, why in NOT_NOTICES)
