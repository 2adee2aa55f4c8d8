"""Notices that others write as Kubernetes Events about Nodes and NodeClaims: a literal table, one row a reason.

An Event is a message, not a state: it is dated, holds for so long, and is gone after an hour. Anybody who may
create Events in the namespace `default` (where those about Nodes live) can write one, so only those of the
components below are read, and none dooms a Node that was made after it. `docs/notices.md` says who should
have that right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from autoscaler.core.contract.state import Interruption, InterruptionKind
from autoscaler.kube.api.plain import part
from autoscaler.kube.api.timestamps import seconds
from autoscaler.notices import azure
from autoscaler.notices.mark import Mark, Reading, Seen, Withdrawal
from autoscaler.notices.node_marks import RISK_HOLD_S

TERMINATION_MARGIN_S = 180.0
"""A machine that is due is taken as going for so long beyond its deadline: clouds are late, and the
control plane notices a silent kubelet after 40 to 50 s. If its Node is Ready even then, it was not taken."""
DISRUPTION_HOLD_S = 300.0
"""By then the Node itself says that it is being emptied (its taint, its deletion, its cordon), or it is not."""

KARPENTER = "karpenter"
NODE_TERMINATION_HANDLER = "aws-node-termination-handler"
CLUSTER_AUTOSCALER = "cluster-autoscaler"
KUBELET = "kubelet"
AKS = "aks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a message says."""

    kind: InterruptionKind | None
    """None: what the source said before holds no longer."""
    lead_s: float = 0.0
    """Of a termination: from the notice to the end of the machine."""
    deadline_at: float = math.nan
    """As the message has it, in seconds; NaN: it does not say."""


MessageReader: TypeAlias = Callable[[str], Said | None]
"""What a message says; None: nothing that we know."""

_DISRUPTION = Said(kind=InterruptionKind.DISRUPTION)
_RISK = Said(kind=InterruptionKind.RISK)
_OVER = Said(kind=None)


def _always(said: Said) -> MessageReader:
    return lambda _message: said


def _when(pattern: str, said: Said) -> MessageReader:
    return lambda message: said if re.match(pattern, message) else None


def _termination(lead_s: float) -> MessageReader:
    return _always(Said(kind=InterruptionKind.TERMINATION, lead_s=lead_s))


def _spot_itn(message: str) -> Said:
    """`Spot ITN received. Instance will be interrupted at 2020-04-24T17:11:44Z`, or when it was sent."""
    ends_at = seconds(_moment_after("will be interrupted at", message))
    if math.isnan(ends_at):
        ends_at = seconds(_moment_after("was sent at", message)) + _AWS_LEAD_S
    return Said(kind=InterruptionKind.TERMINATION, lead_s=_AWS_LEAD_S, deadline_at=ends_at)


def _from_queue(message: str) -> Said:
    """The handler's queue mode, whose Events have one reason for all that it reads there."""
    if message.startswith("Spot Interruption notice"):
        return _spot_itn(message)
    if message.startswith("Rebalance recommendation"):
        return _RISK
    if message.startswith("EC2 State Change"):
        return Said(kind=InterruptionKind.TERMINATION)
    return _DISRUPTION


def _azure_event(message: str) -> Said | None:
    """`Preempt Scheduled: Mon, 19 Sep 2016 18:29:47 GMT. ...`, also quoted as a condition's message."""
    quote = re.search(r'message: "(.*)', message, re.DOTALL)
    text = quote[1] if quote else message
    if text.lstrip().startswith(azure.ADVISORY):
        return _RISK
    kind = azure.scheduled_kind(text)
    lead_s = azure.LEADS_S.get(kind)
    if lead_s is None:
        return None
    read_at = azure.read_deadline(kind, text)
    if read_at is None:
        return Said(kind=InterruptionKind.TERMINATION)
    return Said(kind=InterruptionKind.TERMINATION, lead_s=lead_s, deadline_at=read_at)


def _moment_after(words: str, message: str) -> str | None:
    found = re.search(rf"{words} (\S+)", message)
    return found[1] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One reason of one component."""

    source: str
    """`Interruption.source`."""
    component: str
    """A regular expression for the whole of who reports it."""
    reason: str
    says: MessageReader
    drained_elsewhere: bool = False
    """Whoever writes it empties the node."""


_AWS_LEAD_S = 120.0
"""EC2 user guide, "Spot Instance interruption notices": two minutes, best effort."""
_AKS_COMPONENT = r"custom-scheduledevents-[a-z-]*plugin-monitor"
"""The node problem detector's monitors of scheduled events; their names differ by what they look for."""

MESSAGES: tuple[Message, ...] = (
    # Karpenter (pkg/controllers/interruption, pkg/events). Each is written for the NodeClaim, and for the
    # Node where there is one. The moment is that of the Event: the queue's message is read within seconds.
    *(
        Message(
            source=KARPENTER,
            component=KARPENTER,
            reason=reason,
            says=says,
            drained_elsewhere=drains,
        )
        for reason, says, drains in (
            ("SpotInterrupted", _termination(_AWS_LEAD_S), True),
            # "EC2 Capacity Reservation Instance Interruption Warning": two minutes as well
            ("CapacityReservationInstanceInterrupted", _termination(_AWS_LEAD_S), True),
            # the instance is stopping or shutting down: it has begun
            ("InstanceStopping", _termination(0.0), True),
            ("InstanceTerminating", _termination(0.0), True),
            # a scheduled change or a failed check: it is drained, and ends when it is empty
            ("InstanceUnhealthy", _always(_DISRUPTION), True),
            # comes with each of the above, and says less
            ("TerminatingOnInterruption", _always(_DISRUPTION), True),
            # consolidation and drift, whose replacements are there
            ("DisruptionTerminating", _always(_DISRUPTION), True),
            # "no action": Karpenter does nothing about it
            ("SpotRebalanceRecommendation", _always(_RISK), False),
        )
    ),
    # The node termination handler (pkg/observability/k8s-events.go), with emitKubernetesEvents. It drains,
    # but it may have been told to cordon only, so that is not relied on: two who evict do no harm.
    *(
        Message(
            source=NODE_TERMINATION_HANDLER,
            component=NODE_TERMINATION_HANDLER,
            reason=reason,
            says=says,
            drained_elsewhere=drains,
        )
        for reason, says, drains in (
            ("SpotInterruption", _spot_itn, False),
            ("SQSTermination", _from_queue, False),
            ("StateChange", _termination(0.0), False),
            ("ASGLifecycle", _always(_DISRUPTION), True),
            ("ScheduledEvent", _always(_DISRUPTION), True),
            ("RebalanceRecommendation", _always(_RISK), False),
            ("Uncordon", _always(_OVER), False),
        )
    ),
    # cluster-autoscaler (core/scaledown): "marked the node as toBeDeleted/unschedulable".
    *(
        Message(
            source=CLUSTER_AUTOSCALER,
            component=CLUSTER_AUTOSCALER,
            reason=reason,
            says=_always(said),
            drained_elsewhere=True,
        )
        for reason, said in (
            ("ScaleDown", _DISRUPTION),
            ("ScaleDownEmpty", _DISRUPTION),
            ("ScaleDownFailed", _OVER),
        )
    ),
    # AKS, node problem detector. A probe that could not ask the metadata service is reported under the
    # same reason, as text; so the message must be one of Azure's.
    *(
        Message(source=AKS, component=_AKS_COMPONENT, reason=reason, says=_azure_event)
        for reason in (
            "PreemptScheduled",
            "TerminateScheduled",
            "RedeployScheduled",
            "RebootScheduled",
            "VMEventScheduled",
            "SpotEvictionIncoming",
        )
    ),
    Message(
        source=AKS,
        component=_AKS_COMPONENT,
        reason="NoVMEventScheduled",
        says=_when(r"Node condition \w+ is now: False", _OVER),
    ),
    # The kubelet's graceful shutdown (pkg/kubelet/nodeshutdown), any cloud; GCE cuts the power after 30 s.
    *(
        Message(source=KUBELET, component=KUBELET, reason="Shutdown", says=says)
        for says in (
            _when(
                r"Shutdown manager detected shutdown event",
                Said(kind=InterruptionKind.TERMINATION, lead_s=30.0),
            ),
            _when(r"Shutdown manager detected shutdown cancellation", _OVER),
        )
    ),
)

NOT_NOTICES: tuple[tuple[str, str, str], ...] = (
    (KARPENTER, "DisruptionLaunching", "is about the replacement, a new NodeClaim"),
    (KARPENTER, "DisruptionWaitingReadiness", "likewise"),
    (KARPENTER, "DisruptionBlocked", "nothing happens"),
    (KARPENTER, "Unconsolidatable", "nothing happens"),
    (
        KARPENTER,
        "ConsolidationCandidate",
        "a candidate; DisruptionTerminating says when it is done",
    ),
    (KARPENTER, "FailedDraining", "of a drain that other Events have announced"),
    (KARPENTER, "TerminationGracePeriodExpiring", "the NodeClaim itself has the moment"),
    (NODE_TERMINATION_HANDLER, "Cordon", "the reason for it was an Event of its own"),
    (NODE_TERMINATION_HANDLER, "CordonAndDrain", "the drain is over"),
    (NODE_TERMINATION_HANDLER, "MonitorError", "of the handler itself"),
    (
        "custom-scheduledevents-consolidated-plugin-monitor",
        "FreezeScheduled",
        "the machine stands still for seconds, and goes on",
    ),
    ("node-controller", "NodeNotReady", "said by the Ready condition: the node is lost"),
    ("node-controller", "RemovingNode", "it is gone"),
)
"""(component, reason, why it is no row above)."""

_BY_REASON: Mapping[str, tuple[Message, ...]] = {
    reason: tuple(message for message in MESSAGES if message.reason == reason)
    for reason in dict.fromkeys(message.reason for message in MESSAGES)
}
SOURCES = tuple(dict.fromkeys(message.source for message in MESSAGES))
COMPONENTS = tuple(dict.fromkeys(message.component for message in MESSAGES))


def concerns_us(event: Mapping[str, Any]) -> bool:
    """Whether an Event has a reason and a component of the table, so that it has to be kept."""
    return bool(_rows(event))


def read_event(event: Mapping[str, Any], seen: Seen) -> tuple[Reading, ...]:
    """Read an Event about a Node or a NodeClaim; one that is not known says nothing.

    Args:
        event: The v1 Event, or the parts of it that `kube.watch.slim_notices.slim_event` keeps.
        seen: When it came to us.
    """
    about = part(event, "involvedObject")
    kind, name, uid = (_text(about, part) for part in ("kind", "name", "uid"))
    if kind not in {"Node", "NodeClaim"} or not name:
        return ()
    # Kubelets and node agents write the Node's name for its uid.
    uid = "" if uid == name else uid
    for row in _rows(event):
        said = row.says(_text(event, "message"))
        if said is None:
            continue
        if said.kind is None:
            taken_back_at = seen.bounded(_last_at(event))
            return (Withdrawal(source=row.source, node=name, at=taken_back_at),)
        return (_mark(row, said, said.kind, event, seen, name=name, uid=uid, claim=kind != "Node"),)
    return ()


def _mark(
    row: Message,
    said: Said,
    kind: InterruptionKind,
    event: Mapping[str, Any],
    seen: Seen,
    *,
    name: str,
    uid: str,
    claim: bool,
) -> Mark:
    holds_s = {
        InterruptionKind.RISK: RISK_HOLD_S,
        InterruptionKind.DISRUPTION: DISRUPTION_HOLD_S,
    }.get(kind, said.lead_s + TERMINATION_MARGIN_S)
    noticed_at = seen.bounded(_moment(event, holds_s=holds_s))
    deadline_at = None
    if kind is InterruptionKind.TERMINATION:
        deadline_at = noticed_at + said.lead_s
        lead_s_max = azure.LEAD_S_MAX if row.source == AKS else said.lead_s
        if noticed_at <= said.deadline_at <= noticed_at + lead_s_max:
            holds_s += said.deadline_at - deadline_at
            deadline_at = said.deadline_at
    return Mark(
        interruption=Interruption(
            node="" if claim else name,
            kind=kind,
            source=row.source,
            noticed_at=noticed_at,
            deadline_at=deadline_at,
            drained_elsewhere=row.drained_elsewhere,
        ),
        claim=name if claim else "",
        uid=uid,
        holds_until=noticed_at + holds_s,
    )


def _rows(event: Mapping[str, Any]) -> list[Message]:
    """The rows for this reason, of the component that reports it."""
    rows = _BY_REASON.get(_text(event, "reason"))
    if rows is None:
        return []
    component = _text(event, "reportingComponent") or _text(part(event, "source"), "component")
    return [row for row in rows if re.fullmatch(row.component, component)]


def _moment(event: Mapping[str, Any], *, holds_s: float) -> float:
    """When the notice was given, by the clocks of the API server and of the writer, in seconds.

    An Event that is repeated (a message that a queue delivers twice) is one notice, dated by its first time;
    unless that one is over: then it is another, dated by its last. NaN: it has no time.
    """
    created_at = seconds(part(event, "metadata").get("creationTimestamp"))
    if math.isnan(created_at):
        times = (
            seconds(event.get(name)) for name in ("eventTime", "firstTimestamp", "lastTimestamp")
        )
        created_at = next((at for at in times if not math.isnan(at)), math.nan)
    last_at = _last_at(event)
    return last_at if last_at - created_at > holds_s else created_at


def _last_at(event: Mapping[str, Any]) -> float:
    """When it was last said, in seconds; NaN: it has no time."""
    times = [
        seconds(part(event, "metadata").get("creationTimestamp")),
        seconds(event.get("eventTime")),
        seconds(event.get("firstTimestamp")),
        seconds(event.get("lastTimestamp")),
        seconds(part(event, "series").get("lastObservedTime")),
    ]
    return max((at for at in times if not math.isnan(at)), default=math.nan)


def _text(parent: Mapping[str, Any], name: str) -> str:
    found = parent.get(name)
    return found[:1024] if isinstance(found, str) else ""
