"""What becomes of a node that Karpenter made, by its NodeClaim: whether it goes, why, and by when.

A NodeClaim that is disrupted says why in a condition before it is deleted; one that is deleted without such
a reason has expired, was deleted by somebody, or its instance was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autoscaler.core.contract.state import Interruption, InterruptionKind
from autoscaler.kube.api.plain import part, parts
from autoscaler.kube.api.timestamps import duration_s, seconds
from autoscaler.notices.mark import Mark, Reading, Seen

SOURCE = "karpenter"
SPOT_LEAD_S = 120.0
"""EC2's notice, which is why a spot NodeClaim is deleted without a reason in its conditions."""
LEAD_S_MAX = 3600.0
"""A drain that may take longer is somebody's own pace, and its end no deadline to race."""
TERMINATION_TIMESTAMP = "karpenter.sh/nodeclaim-termination-timestamp"


def read_claim(claim: Mapping[str, Any], seen: Seen) -> tuple[Reading, ...]:
    """Read a NodeClaim (karpenter.sh/v1), or the parts of it that `kube.watch.slim_notices` keeps.

    | it says | kind | deadline |
    |---|---|---|
    | DisruptionReason is True (Underutilized, Empty, Drifted) | disruption | |
    | deleted, expired or with that reason | disruption | |
    | deleted, with an end of its drain within the hour | termination | that end |
    | deleted, spot, for none of these reasons | termination, presumed | two minutes after |
    | deleted, not spot | disruption | |
    | InstanceTerminating is True | termination | now |
    """
    metadata, status = part(claim, "metadata"), part(claim, "status")
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        return ()
    conditions = _true_conditions(status)
    deleted_at = seconds(metadata.get("deletionTimestamp"))
    disrupted = conditions.get("DisruptionReason")
    if math.isnan(deleted_at):
        if disrupted is None:
            return ()
        since = seconds(disrupted.get("lastTransitionTime"))
        return (_mark(claim, name, InterruptionKind.DISRUPTION, seen.bounded(since)),)
    noticed_at = seen.bounded(deleted_at)
    ending = conditions.get("InstanceTerminating")
    if ending is not None:
        began_at = max(noticed_at, seen.bounded(seconds(ending.get("lastTransitionTime"))))
        return (_mark(claim, name, InterruptionKind.TERMINATION, noticed_at, began_at),)
    drained_by_s = _drain_s(claim, deleted_at=deleted_at)
    if drained_by_s <= LEAD_S_MAX:
        ends_at = noticed_at + max(0.0, drained_by_s)
        return (_mark(claim, name, InterruptionKind.TERMINATION, noticed_at, ends_at),)
    spot = part(metadata, "labels").get("karpenter.sh/capacity-type") == "spot"
    if spot and disrupted is None and not _has_expired(claim, deleted_at=deleted_at):
        ends_at = noticed_at + SPOT_LEAD_S
        found = _mark(claim, name, InterruptionKind.TERMINATION, noticed_at, ends_at)
        return (replace(found, presumed=True),)
    return (_mark(claim, name, InterruptionKind.DISRUPTION, noticed_at),)


def _mark(
    claim: Mapping[str, Any],
    name: str,
    kind: InterruptionKind,
    noticed_at: float,
    deadline_at: float | None = None,
) -> Mark:
    node = part(claim, "status").get("nodeName")
    return Mark(
        interruption=Interruption(
            node=node if isinstance(node, str) else "",
            kind=kind,
            source=SOURCE,
            noticed_at=noticed_at,
            deadline_at=deadline_at,
            drained_elsewhere=True,
        ),
        claim=name,
    )


def _drain_s(claim: Mapping[str, Any], *, deleted_at: float) -> float:
    """Seconds from the deletion until Karpenter deletes what is left on the node; infinite: it never does."""
    annotations = part(part(claim, "metadata"), "annotations")
    ends_at = seconds(annotations.get(TERMINATION_TIMESTAMP))
    if not math.isnan(ends_at):
        return ends_at - deleted_at
    return duration_s(part(claim, "spec").get("terminationGracePeriod"))


def _has_expired(claim: Mapping[str, Any], *, deleted_at: float) -> bool:
    """Whether it was as old as it may become when it was deleted."""
    created_at = seconds(part(claim, "metadata").get("creationTimestamp"))
    return deleted_at >= created_at + duration_s(part(claim, "spec").get("expireAfter"))


def _true_conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        str(each.get("type")): each
        for each in parts(status, "conditions")
        if each.get("status") == "True"
    }
