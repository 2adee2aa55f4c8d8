"""Notices that clouds and their agents write on Node objects: a literal table, one row a dialect.

What has a hard deadline is a termination: the machine will be gone, and what runs on it with it. A row gives
the customary lead for a mark that carries no deadline, with its source; a deadline that is there but
cannot be read is replaced by the customary lead, with a warning. What says that somebody moves the pods is a
disruption; it has no deadline. What says that a node may be taken is a risk.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from autoscaler.core.contract.commands import CORDON_ANNOTATION, INTERRUPTION_ANNOTATION
from autoscaler.core.contract.state import CapacityType, Interruption, InterruptionKind
from autoscaler.foreign_text import quoted
from autoscaler.kube.api.timestamps import seconds
from autoscaler.kube.capacity import capacity_type
from autoscaler.notices import azure
from autoscaler.notices.mark import Mark, Reading, Seen

REHEARSAL = "rehearsal"
UNDATED = math.nan
RISK_HOLD_S = 1800.0
"""A risk that has not come true for so long is let go: half an hour of a few on-demand replicas is what a
warning may cost. The notice itself, if it still comes, is told as any other. A taint of the node
termination handler stays on the node for ever where nothing comes."""

MomentReader: TypeAlias = Callable[[str], float | None]
"""Seconds since the epoch; NaN: cannot be read; None: it has begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One way of saying what becomes of a node: one of taint, condition, annotation and finalizer."""

    source: str
    """`Interruption.source`; several rows may be one source, of which the first that is there counts."""
    kind: InterruptionKind = InterruptionKind.TERMINATION
    drained_elsewhere: bool = False
    """Whoever writes it empties the node."""
    taint: str = ""
    """Its key."""
    taint_value: str = ""
    """Empty: any."""
    condition: str = ""
    """Its type."""
    condition_status: str = "True"
    condition_message: str = ""
    """Must be part of the message."""
    annotation: str = ""
    """Its key; the value is the deadline."""
    finalizer: str = ""
    """The node is being deleted, and this one keeps it."""
    deadline: MomentReader | None = None
    """Reads the condition's message or the annotation's value; None: there is no deadline in it."""
    date: MomentReader | None = None
    """Reads the mark's own time from the taint's value; None: it is not there."""
    dated: bool = True
    """Whether the mark's own time (timeAdded, lastTransitionTime) is that of the notice."""
    lead_s: float = 0.0
    """From the notice to the end of the machine, where the mark does not say. Of terminations only."""
    lead_s_max: float = math.inf
    """A deadline that is read and lies further ahead is none."""
    on_demand_lead_s: float | None = None
    """The lead on a node that is not spot; None: no other."""
    spot_only: bool = False
    """On other nodes the mark means something else and is no notice."""


def _unix_seconds(text: str) -> float:
    """Whole seconds since the epoch, as cluster-autoscaler writes them into its taints."""
    return float(text) if re.fullmatch(r"[0-9]{1,10}", text) else UNDATED


DIALECTS: tuple[Dialect, ...] = (
    # Ours, for rehearsals: `autoscaler rehearse NODE --in 60`. AWS's lead where it cannot be read.
    Dialect(
        source=REHEARSAL,
        annotation=INTERRUPTION_ANNOTATION,
        deadline=seconds,
        lead_s=120.0,
    ),
    # AWS: two minutes, best effort (EC2 user guide, "Spot Instance interruption notices"). The
    # handler taints within its 2 s poll. It writes no time: its label `action-time` is set only
    # before a reboot for maintenance, and is the time of that (pkg/node/node.go), so it is not read.
    Dialect(
        source="aws-node-termination-handler",
        taint="aws-node-termination-handler/spot-itn",
        lead_s=120.0,
    ),
    # GKE: "terminate 30 seconds after receiving a termination notice" (Spot VMs), of which the
    # kubelet gives pods that are not the system's 15 to 25 s; the lead is the machine's. GPU machines
    # that are not spot are marked with the same taint for host maintenance, an hour ahead (GKE's
    # maintenance handler runs with --regular-vm-timeout=1h).
    Dialect(
        source="gke",
        taint="cloud.google.com/impending-node-termination",
        lead_s=30.0,
        on_demand_lead_s=3600.0,
    ),
    # Karpenter's provider for GCP: its agent on the node saw `preempted` flip. 30 s, or 120 s where
    # preemptionNoticeDuration is set, which the mark does not say: the shorter.
    Dialect(source="gce-spot", condition="GCESpotPreempting", lead_s=30.0),
    # AKS, node problem detector, from Azure's scheduled events: NotBefore is at least 30 s ahead.
    # The condition may have stood before as an advice, so its transition does not date the notice.
    # The first name is that of current releases, the second that of older ones.
    *(
        row
        for name in ("PreemptionScheduled", "PreemptScheduled")
        for row in (
            Dialect(
                source="aks",
                kind=InterruptionKind.RISK,
                condition=name,
                condition_message=azure.ADVISORY,
                dated=False,
            ),
            Dialect(
                source="aks",
                condition=name,
                deadline=partial(azure.read_deadline, "Preempt"),
                dated=False,
                lead_s=azure.LEADS_S["Preempt"],
                lead_s_max=azure.LEAD_S_MAX,
            ),
        )
    ),
    # The broader condition of the same detector, for every kind of event and for VMs of every kind. A
    # node that is redeployed or rebooted loses what runs on it as one that is taken. AKS drains it for some
    # kinds ("Node auto-drain": best effort, and has been seen not to), so it is drained by us too.
    *(
        Dialect(
            source="aks",
            condition="VMEventScheduled",
            condition_message=f"{kind} S",
            deadline=partial(azure.read_deadline, kind),
            dated=False,
            lead_s=lead_s,
            lead_s_max=azure.LEAD_S_MAX,
        )
        for kind, lead_s in azure.LEADS_S.items()
    ),
    # AKS auto-drain of a spot node. On other nodes the same taint is automatic repair, which has no
    # deadline. The second key is that of releases before the taint was renamed.
    *(
        Dialect(source="aks-remediator", taint=key, spot_only=True, lead_s=30.0)
        for key in (
            "remediator.kubernetes.azure.com/unschedulable",
            "remediator.aks.microsoft.com/unschedulable",
        )
    ),
    # cloud-provider-azure takes a node out of load balancers after Azure's PreemptScheduled event.
    Dialect(
        source="cloud-provider-azure",
        taint="cloudprovider.azure.microsoft.com/draining",
        taint_value="spot-eviction",
        lead_s=30.0,
    ),
    # The kubelet's graceful shutdown, any cloud: the ACPI signal came. GCE cuts the power 30 s later;
    # others do not say. Its message may be one of several, joined.
    Dialect(
        source="kubelet",
        condition="Ready",
        condition_status="False",
        condition_message="node is shutting down",
        lead_s=30.0,
    ),
    # Karpenter: the taint comes first, on a candidate whose replacement is being launched (and goes if
    # that fails); the deletion with the finalizer is the drain. Both for every reason: its Events and
    # NodeClaims say which. The second key is that of releases before 1.0.
    Dialect(
        source="karpenter",
        kind=InterruptionKind.DISRUPTION,
        drained_elsewhere=True,
        finalizer="karpenter.sh/termination",
    ),
    *(
        Dialect(
            source="karpenter",
            kind=InterruptionKind.DISRUPTION,
            drained_elsewhere=True,
            taint=key,
        )
        for key in ("karpenter.sh/disrupted", "karpenter.sh/disruption")
    ),
    # cluster-autoscaler: "ToBeDeleted", the value is when. It gives up, and takes the taint off, where a
    # pod cannot be evicted within two minutes; else the machine ends when it is empty.
    Dialect(
        source="cluster-autoscaler",
        kind=InterruptionKind.DISRUPTION,
        drained_elsewhere=True,
        taint="ToBeDeletedByClusterAutoscaler",
        date=_unix_seconds,
    ),
    # The same handler for a lifecycle hook, and for maintenance, of which it taints only what begins within
    # its own grace (two minutes): it drains. When the hook's time-out ends is not on the node.
    *(
        Dialect(
            source="aws-node-termination-handler",
            kind=InterruptionKind.DISRUPTION,
            drained_elsewhere=True,
            taint=f"aws-node-termination-handler/{name}",
        )
        for name in ("asg-lifecycle-termination", "scheduled-maintenance")
    ),
    # By default it cordons on this one and drains nothing. Draining on it emptied nodes that lived on,
    # every few minutes (aws-node-termination-handler #141).
    Dialect(
        source="aws-node-termination-handler",
        kind=InterruptionKind.RISK,
        taint="aws-node-termination-handler/rebalance-recommendation",
    ),
)

SOURCES = tuple(dict.fromkeys(dialect.source for dialect in DIALECTS))

NOT_NOTICES: tuple[tuple[str, str], ...] = (
    ("DeletionCandidateOfClusterAutoscaler", "a candidate only, taken back as often as not"),
    (
        "node.kubernetes.io/unschedulable",
        "a cordon: somebody's intent, no end of the machine; a drain once pods there are evicted",
    ),
    ("node.kubernetes.io/not-ready", "said by the Ready condition: the node is lost, not doomed"),
    ("node.kubernetes.io/unreachable", "likewise"),
    ("node.cloudprovider.kubernetes.io/shutdown", "the machine is off: the node is lost already"),
    ("node.kubernetes.io/out-of-service", "set on a node that is gone, to let its volumes go"),
    ("karpenter.sh/unregistered", "at birth, until Karpenter has synced the node"),
)
"""Taints that are no rows above, and why not."""


def read_marks(node: Mapping[str, Any], seen: Seen) -> tuple[Reading, ...]:
    """Read the notices on a Node object, at most one of each source.

    Args:
        node: The Node object, or the parts of it that `kube.watch.slim.SlimNode.marks` keeps.
        seen: When they came to us.
    """
    metadata, spec, status = (node.get(part) or {} for part in ("metadata", "spec", "status"))
    taints = spec.get("taints") or []
    spot = capacity_type(metadata.get("labels") or {}, taints) is CapacityType.SPOT
    found: dict[str, Mark] = {}
    for dialect in DIALECTS:
        if dialect.source in found or (dialect.spot_only and not spot):
            continue
        sign = _sign(dialect, metadata, taints, status)
        if sign is None:
            continue
        lead_s = dialect.lead_s if spot else dialect.on_demand_lead_s or dialect.lead_s
        found[dialect.source] = _mark(dialect, sign, metadata, lead_s=lead_s, seen=seen)
    return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sign:
    text: str
    at: float
    """Its own time; NaN: it has none."""


def _sign(
    dialect: Dialect, metadata: Mapping[str, Any], taints: Any, status: Mapping[str, Any]
) -> _Sign | None:
    if dialect.annotation:
        value = (metadata.get("annotations") or {}).get(dialect.annotation)
        return None if value is None else _Sign(text=str(value), at=UNDATED)
    if dialect.finalizer:
        deleted = metadata.get("deletionTimestamp")
        if not deleted or dialect.finalizer not in (metadata.get("finalizers") or ()):
            return None
        return _Sign(text="", at=seconds(deleted))
    if dialect.taint:
        for taint in taints:
            if taint.get("key") != dialect.taint:
                continue
            if dialect.taint_value in {"", taint.get("value")}:
                return _Sign(text=str(taint.get("value") or ""), at=seconds(taint.get("timeAdded")))
        return None
    for condition in status.get("conditions") or ():
        if (
            condition.get("type") == dialect.condition
            and condition.get("status") == dialect.condition_status
            and _says(condition, dialect.condition_message)
        ):
            return _Sign(
                text=str(condition.get("message") or ""),
                at=seconds(condition.get("lastTransitionTime")),
            )
    return None


def _says(condition: Mapping[str, Any], words: str) -> bool:
    """Whether these words are in its message; an advice is one only where it begins with them."""
    message = str(condition.get("message") or "")
    if words == azure.ADVISORY:
        return message.lstrip().startswith(words)
    return words in message


def _mark(
    dialect: Dialect, sign: _Sign, metadata: Mapping[str, Any], *, lead_s: float, seen: Seen
) -> Mark:
    own_at = sign.at if dialect.dated else UNDATED
    if math.isnan(own_at) and dialect.date is not None:
        own_at = dialect.date(sign.text) or UNDATED
    if math.isnan(own_at):
        own_at = _cordoned_at(metadata, lead_s=lead_s, at=seen.at)
    noticed_at = seen.bounded(own_at)
    name, problem = str(metadata.get("name") or ""), ""
    deadline_at: float | None = None
    if dialect.kind is InterruptionKind.TERMINATION:
        deadline_at, problem = _deadline(
            dialect, sign.text, noticed_at=noticed_at, lead_s=lead_s, at=seen.at
        )
    return Mark(
        interruption=Interruption(
            node=name,
            kind=dialect.kind,
            source=dialect.source,
            noticed_at=noticed_at,
            deadline_at=deadline_at,
            drained_elsewhere=dialect.drained_elsewhere,
        ),
        holds_until=noticed_at + RISK_HOLD_S if dialect.kind is InterruptionKind.RISK else math.inf,
        problem=f"node {name}: {problem}" if problem else "",
    )


def _deadline(
    dialect: Dialect, text: str, *, noticed_at: float, lead_s: float, at: float
) -> tuple[float, str]:
    """The end of the machine, in seconds, and what of it could not be read."""
    customary_at = noticed_at + lead_s
    if dialect.deadline is None:
        return customary_at, ""
    read_at = dialect.deadline(text)
    if read_at is None:
        return noticed_at, ""
    if math.isnan(read_at):
        return customary_at, (
            f"the deadline of {dialect.source} cannot be read in {quoted(text, limit=120)}; its "
            f"customary {lead_s:g} s are taken"
        )
    if read_at > at + dialect.lead_s_max:
        return customary_at, (
            f"the deadline of {dialect.source}, {quoted(text, limit=120)}, is too far ahead to be one; "
            f"its customary {lead_s:g} s are taken"
        )
    return read_at, ""


def _cordoned_at(metadata: Mapping[str, Any], *, lead_s: float, at: float) -> float:
    """When we cordoned the node, if that was for the same notice, seconds; NaN: no such cordon.

    After a restart an undated mark would else be dated anew, and its deadline put off by as long as we
    were away. A cordon that is older than the lead answered an earlier notice.
    """
    annotations = metadata.get("annotations") or {}
    cordoned_at = seconds(annotations.get(CORDON_ANNOTATION))
    return cordoned_at if at - lead_s <= cordoned_at <= at else UNDATED
