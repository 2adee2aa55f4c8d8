"""Every dialect of `autoscaler.notices`, said in the simulated cluster: one entry a row of its tables.

Marks on Nodes are made from the rows themselves, so a new row is spoken here as soon as it is there. Of
Events and NodeClaims there is an example of each; `test_killed_between_writes` refuses a reason that has none.
Who drains in such a dialect drains here too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from autoscaler.core.contract.state import InterruptionKind
from autoscaler.notices import azure, node_agent, node_marks
from autoscaler.notices.events import AKS, MESSAGES, NODE_TERMINATION_HANDLER, Message
from autoscaler.notices.mark import Watched
from simulations.box.local_cluster.objects import Object, key_of, set_condition, timestamp
from simulations.box.local_cluster.store import Store

Say: TypeAlias = Callable[[Store, str, float], None]
"""Called with the cluster, the node's name, and when its machine ends, in seconds since the epoch."""

TERMINATION, DISRUPTION, RISK = (
    InterruptionKind.TERMINATION,
    InterruptionKind.DISRUPTION,
    InterruptionKind.RISK,
)
WRITTEN_LEAD_S = 60.0
"""Where the notice itself has the deadline."""
BEGUN_LEAD_S = 20.0
"""Of what says that it has begun: so long the machine still runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One dialect."""

    name: str
    watched: Watched
    kind: InterruptionKind
    lead_s: float
    """From the notice to the end of the machine; of what has no deadline: as it goes in the end."""
    drained_elsewhere: bool = False
    prepare: Say | None = None
    """What is there before the notice."""
    say: Say

    def __str__(self) -> str:
        return self.name


# -- marks on Nodes


def _node_marks() -> Iterator[Spoken]:
    for row in node_marks.DIALECTS:
        written = row.deadline is not None
        sign = row.taint or row.annotation or row.finalizer or row.condition
        words = (row.source, sign, row.condition_message.partition(" ")[0], row.kind.lower())
        yield Spoken(
            name=" ".join(word for word in words if word),
            watched=Watched.NODE,
            kind=row.kind,
            lead_s=WRITTEN_LEAD_S if written else row.lead_s or WRITTEN_LEAD_S,
            drained_elsewhere=row.drained_elsewhere,
            say=_marking(row),
        )
    for source, lead_s in node_agent.LEADS_S.items():
        for kind in (TERMINATION, DISRUPTION, RISK):
            yield Spoken(
                name=f"{source} agent {kind.lower()}",
                watched=Watched.NODE,
                kind=kind,
                lead_s=lead_s,
                say=_noting(source, kind),
            )


def _marking(row: node_marks.Dialect) -> Say:
    def say(store: Store, node: str, ends_at: float) -> None:
        at = store.clock()

        def mark(obj: Object) -> None:
            if row.taint:
                value = str(int(at)) if row.date else row.taint_value
                taint = {"key": row.taint, "value": value, "effect": "NoSchedule"}
                obj["spec"].setdefault("taints", []).append(taint)
            elif row.annotation:
                obj["metadata"].setdefault("annotations", {})[row.annotation] = timestamp(ends_at)
            elif row.finalizer:
                obj["metadata"]["deletionTimestamp"] = timestamp(at)
                obj["metadata"]["finalizers"] = [row.finalizer]
            else:
                message = row.condition_message
                if row.deadline is not None:
                    kind = message.partition(" ")[0] or "Preempt"
                    message = _azure_text(kind, ends_at)
                set_condition(
                    obj, row.condition, status=row.condition_status, at=at, reason="X", message=message
                )  # fmt: skip

        store.modify("nodes", "", node, mark)

    return say


def _azure_text(kind: str, ends_at: float) -> str:
    moment = datetime.fromtimestamp(ends_at, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    return f"{kind} Scheduled: {moment}. For more information, see x. EventId: 40B7"


def _noting(source: str, kind: InterruptionKind) -> Say:
    def say(store: Store, node: str, ends_at: float) -> None:
        written = {"kind": str(kind), "source": source, "noticed": timestamp(store.clock())}
        if kind is TERMINATION:
            written["deadline"] = timestamp(ends_at)

        def mark(obj: Object) -> None:
            annotations = obj["metadata"].setdefault("annotations", {})
            annotations[node_agent.NOTICE_ANNOTATION] = json.dumps(written)

        store.modify("nodes", "", node, mark)

    return say


# -- Events

Text: TypeAlias = Callable[[float], str]
_NOTHING: Text = lambda _ends_at: "x"  # noqa: E731  as the other texts
_PREEMPT: Text = lambda ends_at: _azure_text("Preempt", ends_at)  # noqa: E731


def _at_end(ends_at: float) -> str:
    return f"Spot ITN received. Instance will be interrupted at {timestamp(ends_at)} \n"


def _condition_text(ends_at: float) -> str:
    said = _azure_text("Reboot", ends_at)
    return f'Node condition x is now: True, reason: x, message: "{said}"'


_TEXTS: dict[tuple[str, str], tuple[tuple[InterruptionKind, float, Text], ...]] = {
    ("karpenter", "SpotInterrupted"): ((TERMINATION, 120.0, _NOTHING),),
    ("karpenter", "CapacityReservationInstanceInterrupted"): ((TERMINATION, 120.0, _NOTHING),),
    ("karpenter", "InstanceStopping"): ((TERMINATION, BEGUN_LEAD_S, _NOTHING),),
    ("karpenter", "InstanceTerminating"): ((TERMINATION, BEGUN_LEAD_S, _NOTHING),),
    ("karpenter", "InstanceUnhealthy"): ((DISRUPTION, 90.0, _NOTHING),),
    ("karpenter", "TerminatingOnInterruption"): ((DISRUPTION, 90.0, _NOTHING),),
    ("karpenter", "DisruptionTerminating"): ((DISRUPTION, 90.0, _NOTHING),),
    ("karpenter", "SpotRebalanceRecommendation"): ((RISK, 90.0, _NOTHING),),
    (NODE_TERMINATION_HANDLER, "SpotInterruption"): ((TERMINATION, 120.0, _at_end),),
    (NODE_TERMINATION_HANDLER, "SQSTermination"): (
        (TERMINATION, 120.0, lambda _: "Spot Interruption notice for instance i-0123"),
        (TERMINATION, BEGUN_LEAD_S, lambda _: "EC2 State Change event received. Instance i went"),
        (DISRUPTION, 90.0, lambda _: "ASG Lifecycle Termination event received. Instance"),
        (RISK, 90.0, lambda _: "Rebalance recommendation event received. Instance i"),
    ),
    (NODE_TERMINATION_HANDLER, "StateChange"): ((TERMINATION, BEGUN_LEAD_S, _NOTHING),),
    (NODE_TERMINATION_HANDLER, "ASGLifecycle"): ((DISRUPTION, 90.0, _NOTHING),),
    (NODE_TERMINATION_HANDLER, "ScheduledEvent"): ((DISRUPTION, 90.0, _NOTHING),),
    (NODE_TERMINATION_HANDLER, "RebalanceRecommendation"): ((RISK, 90.0, _NOTHING),),
    ("cluster-autoscaler", "ScaleDown"): ((DISRUPTION, 90.0, _NOTHING),),
    ("cluster-autoscaler", "ScaleDownEmpty"): ((DISRUPTION, 90.0, _NOTHING),),
    (AKS, "PreemptScheduled"): (
        (TERMINATION, 30.0, _PREEMPT),
        (RISK, 90.0, lambda _: azure.ADVISORY),
    ),
    **{
        (AKS, f"{kind}Scheduled"): (
            (TERMINATION, WRITTEN_LEAD_S, lambda ends_at, kind=kind: _azure_text(kind, ends_at)),
        )
        for kind in ("Terminate", "Redeploy", "Reboot")
    },
    (AKS, "VMEventScheduled"): ((TERMINATION, WRITTEN_LEAD_S, _condition_text),),
    (AKS, "SpotEvictionIncoming"): ((TERMINATION, WRITTEN_LEAD_S, _condition_text),),
    ("kubelet", "Shutdown"): (
        (TERMINATION, 30.0, lambda _: "Shutdown manager detected shutdown event"),
    ),
    # What was said before holds no longer: no notice.
    (NODE_TERMINATION_HANDLER, "Uncordon"): (),
    ("cluster-autoscaler", "ScaleDownFailed"): (),
    (AKS, "NoVMEventScheduled"): (),
}
"""By source and reason: kind, lead and message of an example of each thing that it may say."""
_COMPONENTS = {AKS: "custom-scheduledevents-consolidated-preempt-plugin-monitor"}
"""Where a row has a pattern of them."""


def _events() -> Iterator[Spoken]:
    # several rows may have one reason
    rows = {(row.source, row.reason): row for row in MESSAGES}
    for at, row in rows.items():
        for kind, lead_s, text in _TEXTS[at]:
            yield Spoken(
                name=f"{row.source} Event {row.reason} {kind.lower()} in {lead_s:.0f} s",
                watched=Watched.EVENT,
                kind=kind,
                lead_s=lead_s,
                drained_elsewhere=row.drained_elsewhere,
                say=_reporting(row, text),
            )


def _reporting(row: Message, text: Text) -> Say:
    component = _COMPONENTS.get(row.source, row.component)

    def say(store: Store, node: str, ends_at: float) -> None:
        now = timestamp(store.clock())
        about = {"apiVersion": "v1", "kind": "Node", "name": node}
        about["uid"] = store.get("nodes", "", node)["metadata"]["uid"]
        store.create(
            "events",
            {
                "metadata": {"name": f"{node}.{store.suffix()}", "namespace": "default"},
                "involvedObject": about,
                "type": "Warning",
                "reason": row.reason,
                "message": text(ends_at),
                "source": {"component": component},
                "reportingComponent": component,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "eventTime": None,
                "count": 1,
            },
        )

    return say


# -- NodeClaims, and who says nothing


def _claims() -> Iterator[Spoken]:
    yield Spoken(
        name="karpenter NodeClaim deleted for no reason",
        watched=Watched.CLAIM,
        kind=TERMINATION,
        lead_s=120.0,
        drained_elsewhere=True,
        prepare=_claiming({"expireAfter": "720h"}),
        say=_deleting(),
    )
    yield Spoken(
        name="karpenter NodeClaim deleted with an end",
        watched=Watched.CLAIM,
        kind=TERMINATION,
        lead_s=60.0,
        drained_elsewhere=True,
        prepare=_claiming({"expireAfter": "720h", "terminationGracePeriod": "1m0s"}),
        say=_deleting(),
    )
    yield Spoken(
        name="karpenter NodeClaim consolidated",
        watched=Watched.CLAIM,
        kind=DISRUPTION,
        lead_s=90.0,
        drained_elsewhere=True,
        prepare=_claiming({"expireAfter": "720h"}),
        say=_deleting("Underutilized"),
    )


def _claiming(spec: Object) -> Say:
    def prepare(store: Store, node: str, _ends_at: float) -> None:
        labels = {"karpenter.sh/capacity-type": "spot", "karpenter.sh/nodepool": "gpu"}
        metadata = {"name": f"claim-{node}", "labels": labels, "finalizers": ["karpenter.sh/x"]}
        status = {"nodeName": node, "conditions": []}
        store.create("nodeclaims", {"metadata": metadata, "spec": spec, "status": status})

    return prepare


def _deleting(reason: str = "") -> Say:
    def say(store: Store, node: str, _ends_at: float) -> None:
        def mark(obj: Object) -> None:
            if reason:
                set_condition(
                    obj, "DisruptionReason", status="True", at=store.clock(), reason=reason
                )
            obj["metadata"]["deletionTimestamp"] = timestamp(store.clock())

        store.modify("nodeclaims", "", f"claim-{node}", mark)

    return say


UNMARKED = Spoken(
    name="a drain that nobody announces",
    watched=Watched.NODE,
    kind=DISRUPTION,
    lead_s=90.0,
    drained_elsewhere=True,
    say=lambda _store, _node, _ends_at: None,
)
"""The node termination handler as its chart ships it: it cordons and evicts, and leaves no other mark."""

SPOKEN: tuple[Spoken, ...] = (*_node_marks(), *_events(), *_claims(), UNMARKED)
"""All of them."""


def forget(store: Store, node: str) -> None:
    """What of a notice does not go with the Node goes after it."""
    for claim in store.all("nodeclaims"):
        if claim["status"]["nodeName"] == node:
            store.remove("nodeclaims", *key_of(claim))
