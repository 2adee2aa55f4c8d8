"""Notices that clouds and their agents write on Node objects: a literal table, one row a dialect.

Only what has a hard deadline is a notice: the machine will be gone, and what runs on it with it. A row
gives the customary lead for a mark that carries no deadline, with its source; a deadline that is there
but cannot be read is replaced by the customary lead, with a warning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from autoscaler.core.contract.commands import CORDON_ANNOTATION, INTERRUPTION_ANNOTATION
from autoscaler.core.contract.state import CapacityType, Interruption, InterruptionKind
from autoscaler.kube.api.timestamps import seconds
from autoscaler.kube.watch.slim import capacity_type
from autoscaler.notices.interruptions import Mark

REHEARSAL = "rehearsal"
UNDATED = math.nan


class NotANoticeError(Exception):
    """A mark whose text says that the node will not be taken away."""


DeadlineReader: TypeAlias = Callable[[str], float | None]
"""Seconds since the epoch; NaN: cannot be read; None: it has begun. Raises NotANoticeError."""


def _azure_deadline(text: str) -> float | None:
    """`Preempt Scheduled: Mon, 19 Sep 2016 18:29:47 GMT. For more information, see ...`.

    The node problem detector of AKS sets the same condition, with the same reason, for an advice to
    rebalance and for a preemption; only the first words of the message tell them apart. `Started`
    may come without a date: the machine is being taken.
    """
    words = " ".join(text.split())
    if words.startswith("SpotRebalanceRecommendation Advisory"):
        raise NotANoticeError
    if re.match(r"Preempt Started[:.]", words):
        return None
    found = re.match(
        r"Preempt Scheduled: (\w{3}, \d{1,2} \w{3} \d{4} [\d:]{8}) (?:GMT|UTC)\b", words
    )
    if found is None:
        return UNDATED
    try:
        moment = datetime.strptime(found[1], "%a, %d %b %Y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return UNDATED
    return moment.timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One way of saying that a node will be taken away: one of taint, condition and annotation."""

    source: str
    """`Interruption.source`; several rows may be one source."""
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
    deadline: DeadlineReader | None = None
    """Reads the condition's message or the annotation's value; None: there is no deadline in it."""
    dated: bool = True
    """Whether the mark's own time (timeAdded, lastTransitionTime) is that of the notice."""
    lead_s: float
    """From the notice to the end of the machine, where the mark does not say."""
    on_demand_lead_s: float | None = None
    """The same on a node that is not spot; None: no other."""
    spot_only: bool = False
    """On other nodes the mark means something else and is no notice."""


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
        Dialect(source="aks", condition=name, deadline=_azure_deadline, dated=False, lead_s=30.0)
        for name in ("PreemptionScheduled", "PreemptScheduled")
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
)

NOT_NOTICES: tuple[tuple[str, str], ...] = (
    ("karpenter.sh/disrupted", "every disruption by Karpenter, consolidation and drift too"),
    ("ToBeDeletedByClusterAutoscaler", "a drain in progress, with no deadline of a cloud"),
    ("DeletionCandidateOfClusterAutoscaler", "a candidate only, taken back as often as not"),
    ("node.kubernetes.io/unschedulable", "a cordon: somebody's intent, no end of the machine"),
    ("node.kubernetes.io/not-ready", "said by the Ready condition: the node is lost, not doomed"),
    ("node.kubernetes.io/unreachable", "likewise"),
    (
        "aws-node-termination-handler/rebalance-recommendation",
        "a risk: draining on it empties nodes that live on, every few minutes",
    ),
    ("aws-node-termination-handler/scheduled-maintenance", "days ahead; a window, no deadline"),
    (
        "aws-node-termination-handler/asg-lifecycle-termination",
        "the lifecycle hook waits for the drain; its time-out is not on the node",
    ),
)
"""Taints that are no rows above, and why not."""


def read_marks(node: Mapping[str, Any], at: float) -> tuple[Mark, ...]:
    """Read the notices on a Node object, at most one of each source.

    Args:
        node: The Node object, or the parts of it that `kube.watch.slim.SlimNode.marks` keeps.
        at: When a mark that carries no time was first seen, seconds.
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
        mark = _mark(dialect, sign, metadata, lead_s=lead_s, at=at)
        if mark is not None:
            found[dialect.source] = mark
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
            and dialect.condition_message in str(condition.get("message") or "")
        ):
            return _Sign(
                text=str(condition.get("message") or ""),
                at=seconds(condition.get("lastTransitionTime")),
            )
    return None


def _mark(
    dialect: Dialect, sign: _Sign, metadata: Mapping[str, Any], *, lead_s: float, at: float
) -> Mark | None:
    noticed_at = sign.at if dialect.dated else UNDATED
    if math.isnan(noticed_at):
        noticed_at = _first_seen(metadata, lead_s=lead_s, at=at)
    name, problem = str(metadata.get("name") or ""), ""
    deadline_at = noticed_at + lead_s
    if dialect.deadline is not None:
        try:
            read_at = dialect.deadline(sign.text)
        except NotANoticeError:
            return None
        if read_at is None:
            deadline_at = noticed_at
        elif math.isnan(read_at):
            problem = (
                f"node {name}: the deadline of {dialect.source} cannot be read in "
                f"{sign.text[:120]!r}; its customary {lead_s:g} s are taken"
            )
        else:
            deadline_at = read_at
    return Mark(
        interruption=Interruption(
            node=name,
            kind=InterruptionKind.TERMINATION,
            source=dialect.source,
            noticed_at=noticed_at,
            deadline_at=deadline_at,
        ),
        problem=problem,
    )


def _first_seen(metadata: Mapping[str, Any], *, lead_s: float, at: float) -> float:
    """`at`, or our own cordon's time if that is of the same notice.

    After a restart an undated mark would else be dated anew, and its deadline put off by as long as we
    were away. A cordon that is older than the lead answered an earlier notice.
    """
    annotations = metadata.get("annotations") or {}
    cordoned_at = seconds(annotations.get(CORDON_ANNOTATION))
    return cordoned_at if at - lead_s <= cordoned_at <= at else at
