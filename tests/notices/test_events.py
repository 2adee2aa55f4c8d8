"""Each message by example, when it was given, how long it holds, and who may say it."""

from __future__ import annotations

import copy
import math

import pytest

from autoscaler.core.contract.state import InterruptionKind
from autoscaler.kube.watch.slim_notices import TEXT_CHARACTERS_MAX, slim_event
from autoscaler.notices.events import MESSAGES, NOT_NOTICES, concerns_us, read_event
from autoscaler.notices.mark import Mark, Seen, Withdrawal
from tests.kube.scene import CREATED_AT, Json
from tests.notices.scene import AKS, NTH, said

AT = CREATED_AT + 600
NOW = Seen(at=AT + 2)
CONDITIONS = "custom-scheduledevents-consolidated-condition-plugin-monitor"
TERMINATION, DISRUPTION, RISK = (
    InterruptionKind.TERMINATION,
    InterruptionKind.DISRUPTION,
    InterruptionKind.RISK,
)
NTH_ITN = "Spot ITN received. Instance will be interrupted at 2026-03-01T12:11:57Z \n"
NTH_SENT = "Spot Interruption notice for instance i-0123 was sent at 2026-03-01T12:09:58Z \n"
PREEMPT = (
    "Preempt Scheduled: Sun, 01 Mar 2026 12:10:31 GMT. For more information, see x. EventId: 4"
)
REBOOT = (
    "Node condition VMEventScheduled is now: True, reason: VMEventScheduled, message: "
    '"Reboot Scheduled: Sun, 01 Mar 2026 12:24:00 GMT. DurationInSeconds: -1. Virtual machine"'
)

ROWS: tuple[tuple[str, Json, str, InterruptionKind, float | None, bool], ...] = (
    (
        "karpenter: spot",
        said("SpotInterrupted", "Spot interruption warning was triggered"),
        "karpenter",
        TERMINATION,
        AT + 120,
        True,
    ),
    (
        "karpenter: a capacity reservation",
        said("CapacityReservationInstanceInterrupted"),
        "karpenter",
        TERMINATION,
        AT + 120,
        True,
    ),
    ("karpenter: stopping", said("InstanceStopping"), "karpenter", TERMINATION, AT, True),
    ("karpenter: terminating", said("InstanceTerminating"), "karpenter", TERMINATION, AT, True),
    ("karpenter: unhealthy", said("InstanceUnhealthy"), "karpenter", DISRUPTION, None, True),
    (
        "karpenter: on interruption",
        said("TerminatingOnInterruption"),
        "karpenter",
        DISRUPTION,
        None,
        True,
    ),
    (
        "karpenter: consolidation",
        said("DisruptionTerminating", "Disrupting Node: Underutilized"),
        "karpenter",
        DISRUPTION,
        None,
        True,
    ),
    (
        "karpenter: rebalance",
        said("SpotRebalanceRecommendation", type="Normal"),
        "karpenter",
        RISK,
        None,
        False,
    ),
    ("nth: spot", said("SpotInterruption", NTH_ITN, by=NTH), NTH, TERMINATION, AT + 117, False),
    (
        "nth: spot, from the queue",
        said("SpotInterruption", NTH_SENT, by=NTH),
        NTH,
        TERMINATION,
        AT + 118,
        False,
    ),
    (
        "nth: spot, no date",
        said("SpotInterruption", "Spot ITN received.", by=NTH),
        NTH,
        TERMINATION,
        AT + 120,
        False,
    ),
    (
        "nth: a date that is too far ahead",
        said("SpotInterruption", NTH_ITN.replace("12:11:57", "13:11:57"), by=NTH),
        NTH,
        TERMINATION,
        AT + 120,
        False,
    ),
    (
        "nth: the queue's one reason, spot",
        said("SQSTermination", NTH_SENT, by=NTH),
        NTH,
        TERMINATION,
        AT + 118,
        False,
    ),
    (
        "nth: the queue's one reason, rebalance",
        said("SQSTermination", "Rebalance recommendation event received. Instance i", by=NTH),
        NTH,
        RISK,
        None,
        False,
    ),
    (
        "nth: the queue's one reason, it has begun",
        said("SQSTermination", "EC2 State Change event received. Instance i went", by=NTH),
        NTH,
        TERMINATION,
        AT,
        False,
    ),
    (
        "nth: the queue's one reason, a lifecycle hook",
        said("SQSTermination", "ASG Lifecycle Termination event received. Instance", by=NTH),
        NTH,
        DISRUPTION,
        None,
        False,
    ),
    ("nth: state change", said("StateChange", by=NTH), NTH, TERMINATION, AT, False),
    ("nth: lifecycle hook", said("ASGLifecycle", by=NTH), NTH, DISRUPTION, None, True),
    ("nth: maintenance", said("ScheduledEvent", by=NTH), NTH, DISRUPTION, None, True),
    ("nth: rebalance", said("RebalanceRecommendation", by=NTH), NTH, RISK, None, False),
    *(
        (
            f"cluster-autoscaler: {reason}",
            said(reason, "marked the node as toBeDeleted/unschedulable", by="cluster-autoscaler"),
            "cluster-autoscaler",
            DISRUPTION,
            None,
            True,
        )
        for reason in ("ScaleDown", "ScaleDownEmpty")
    ),
    ("aks: spot", said("PreemptScheduled", PREEMPT, by=AKS), "aks", TERMINATION, AT + 31, False),
    (
        "aks: begun",
        said("PreemptScheduled", "Preempt Started. For more", by=AKS),
        "aks",
        TERMINATION,
        AT,
        False,
    ),
    *(
        (
            f"aks: {kind}",
            said(f"{kind}Scheduled", f"{kind} Scheduled: Sun, 01 Mar 2026 12:14:00 GMT.", by=AKS),
            "aks",
            TERMINATION,
            AT + 240,
            False,
        )
        for kind in ("Terminate", "Redeploy", "Reboot")
    ),
    (
        "aks: a condition's change",
        said("VMEventScheduled", REBOOT, by=CONDITIONS),
        "aks",
        TERMINATION,
        AT + 840,
        False,
    ),
    (
        "aks: its narrower condition",
        said("SpotEvictionIncoming", REBOOT.replace("Reboot", "Preempt"), by=CONDITIONS),
        "aks",
        TERMINATION,
        AT + 840,
        False,
    ),
    (
        "aks: an advice",
        said("PreemptScheduled", "SpotRebalanceRecommendation Advisory: x", by=AKS),
        "aks",
        RISK,
        None,
        False,
    ),
    (
        "kubelet: shutdown",
        said("Shutdown", "Shutdown manager detected shutdown event", by="kubelet"),
        "kubelet",
        TERMINATION,
        AT + 30,
        False,
    ),
)
"""(name, Event, source, kind, deadline, who drains)."""

WITHDRAWALS: tuple[tuple[str, Json, str], ...] = (
    ("nth", said("Uncordon", "Node successfully uncordoned", by=NTH), NTH),
    ("cluster-autoscaler", said("ScaleDownFailed", by="cluster-autoscaler"), "cluster-autoscaler"),
    (
        "aks",
        said(
            "NoVMEventScheduled",
            "Node condition VMEventScheduled is now: False, reason: NoVMEventScheduled",
            by=CONDITIONS,
        ),
        "aks",
    ),
    (
        "kubelet",
        said("Shutdown", "Shutdown manager detected shutdown cancellation", by="kubelet"),
        "kubelet",
    ),
)

SILENT: tuple[tuple[str, Json], ...] = (
    *((f"{who}: {reason}", said(reason, by=who)) for who, reason, _ in NOT_NOTICES),
    ("somebody else's", said("SpotInterrupted", by="my-controller")),
    ("a tenant's, by no name", said("SpotInterrupted", by="")),
    ("a name that begins like one", said("SpotInterrupted", by="karpenter-not")),
    ("a name that ends like one", said("PreemptScheduled", PREEMPT, by="my." + AKS)),
    ("another component's reason", said("SpotInterrupted", by=NTH)),
    ("about a Pod", said("SpotInterrupted", kind="Pod")),
    ("about nothing", said("SpotInterrupted", about="")),
    (
        "aks: nobody could be asked",
        said("PreemptScheduled", "IMDS query failed, exit code: 28\nConnection timed", by=AKS),
    ),
    ("aks: no message", said("PreemptScheduled", "", by=AKS)),
    (
        "aks: nobody knows",
        said(
            "NoVMEventScheduled",
            'Node condition VMEventScheduled is now: Unknown, message: "IMDS query failed"',
            by=CONDITIONS,
        ),
    ),
    (
        "aks: a machine that stands still for seconds",
        said(
            "VMEventScheduled",
            REBOOT.replace("Reboot Scheduled", "Freeze Scheduled"),
            by=CONDITIONS,
        ),
    ),
    ("kubelet: another message", said("Shutdown", "something new", by="kubelet")),
)


def ids(rows: tuple) -> list:
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


@pytest.mark.parametrize(("body", "source", "kind", "deadline_at", "drained"), ids(ROWS))
def test_what_a_message_says(
    body: Json, source: str, kind: InterruptionKind, deadline_at: float | None, drained: object
):
    (mark,) = read_event(body, NOW)
    assert isinstance(mark, Mark)
    it = mark.interruption
    assert (it.node, it.source, it.kind) == ("n1", source, kind)
    assert (it.noticed_at, it.deadline_at) == (AT, deadline_at)
    assert it.drained_elsewhere is drained
    holds_s = {RISK: 1800.0, DISRUPTION: 300.0}.get(kind, (deadline_at or 0.0) - AT + 180.0)
    assert mark.holds_until == AT + holds_s
    assert concerns_us(slim_event(body))


@pytest.mark.parametrize(("body", "source"), ids(WITHDRAWALS))
def test_what_is_taken_back(body: Json, source: str):
    assert read_event(body, NOW) == (Withdrawal(source=source, node="n1", at=AT),)


@pytest.mark.parametrize("body", ids(SILENT))
def test_what_says_nothing(body: Json):
    assert read_event(body, NOW) == ()


def test_each_row_has_an_example():
    shown = {body["reason"] for _, body, *_ in (*ROWS, *WITHDRAWALS)}
    assert shown == {row.reason for row in MESSAGES}
    assert all(why for *_, why in NOT_NOTICES)


def test_an_event_of_a_node_claim_names_the_claim():
    (mark,) = read_event(said("SpotInterrupted", about="gpu-x1", kind="NodeClaim", uid="u"), NOW)
    assert (mark.interruption.node, mark.claim, mark.uid) == ("", "gpu-x1", "u")


def test_the_uid_is_the_nodes_unless_it_is_its_name():
    """Kubelets and the node problem detector write the name for the uid; the handler leaves it empty."""
    for uid, expected in [("u-1", "u-1"), ("n1", ""), ("", "")]:
        (mark,) = read_event(said("SpotInterrupted", uid=uid), NOW)
        assert mark.uid == expected


# -- when


def dated(**times: object) -> Json:
    body = said("SpotInterrupted")
    times = {"creationTimestamp": None, "firstTimestamp": None, "lastTimestamp": None, **times}
    body["metadata"]["creationTimestamp"] = times.pop("creationTimestamp")
    return {**body, **times}


@pytest.mark.parametrize(
    ("body", "seen", "noticed_at"),
    [
        pytest.param(dated(creationTimestamp="2026-03-01T12:10:00Z"), NOW, AT, id="server's"),
        pytest.param(
            dated(creationTimestamp="2026-03-01T12:10:00Z", firstTimestamp="2026-03-01T11:00:00Z"),
            NOW,
            AT,
            id="the API server's clock, not the writer's",
        ),
        pytest.param(dated(eventTime="2026-03-01T12:09:59.500000Z"), NOW, AT - 0.5, id="eventTime"),
        pytest.param(dated(firstTimestamp="2026-03-01T12:09:50Z"), NOW, AT - 10, id="first"),
        pytest.param(dated(lastTimestamp="2026-03-01T12:09:40Z"), NOW, AT - 20, id="last"),
        pytest.param(dated(), NOW, NOW.at, id="none: when it was seen"),
        pytest.param(dated(creationTimestamp="yesterday"), NOW, NOW.at, id="unreadable"),
        pytest.param(
            dated(creationTimestamp="2026-03-01T13:00:00Z"), NOW, NOW.at, id="not later than seen"
        ),
        pytest.param(
            dated(creationTimestamp="2026-03-01T09:00:00Z"),
            Seen(at=AT, after=AT - 17),
            AT - 17,
            id="not before it was certainly not there",
        ),
        pytest.param(
            dated(
                creationTimestamp="2026-03-01T12:09:00Z",
                lastTimestamp="2026-03-01T12:10:00Z",
                count=2,
            ),
            NOW,
            AT - 60,
            id="repeated: by its first",
        ),
        pytest.param(
            dated(
                creationTimestamp="2026-03-01T11:30:00Z",
                series={"count": 2, "lastObservedTime": "2026-03-01T12:10:00.000000Z"},
            ),
            NOW,
            AT,
            id="repeated when the first is over: another",
        ),
    ],
)
def test_when_it_was_given(body: Json, seen: Seen, noticed_at: float):
    (mark,) = read_event(body, seen)
    assert mark.interruption.noticed_at == noticed_at
    assert mark.interruption.deadline_at == noticed_at + 120


@pytest.mark.parametrize(
    "spoil",
    [
        {"metadata": None},
        {"metadata": []},
        {"involvedObject": "n1"},
        {"involvedObject": {"kind": ["Node"], "name": 7}},
        {"source": None, "reportingComponent": None},
        {"source": "karpenter", "reportingComponent": 3},
        {"series": "often", "eventTime": 7, "firstTimestamp": {}, "lastTimestamp": []},
        {"message": {"deep": [[[1]]]}},
        {"message": "x" * 100_000},
        {"reason": None},
        {"reason": ["SpotInterrupted"]},
        {"count": "many"},
    ],
)
def test_a_malformed_event_is_read_as_far_as_it_goes(spoil: Json):
    body = {**copy.deepcopy(said("SpotInterrupted")), **spoil}
    assert read_event(slim_event(body), NOW) == read_event(body, NOW)
    for reading in read_event(body, NOW):
        assert math.isfinite(reading.interruption.deadline_at)


@pytest.mark.parametrize("place", ["message", "reason", "reportingComponent", "eventTime"])
def test_no_more_is_kept_of_a_text_than_an_event_may_have(place: str):
    """Whoever may write Events would else decide how much memory they take."""
    kept = slim_event({**said("SpotInterrupted"), place: "x" * 100_000})
    assert len(kept[place]) == TEXT_CHARACTERS_MAX == 1024
