"""Events and NodeClaims as an API server would hold them."""

from __future__ import annotations

from typing import Any

from tests.kube.scene import Json, condition

KARPENTER = "karpenter"
NTH = "aws-node-termination-handler"
AKS = "custom-scheduledevents-consolidated-preempt-plugin-monitor"


def said(
    reason: str,
    message: str = "",
    *,
    by: str = KARPENTER,
    about: str = "n1",
    kind: str = "Node",
    uid: str = "",
    at: str = "2026-03-01T12:10:00Z",
    **more: Any,
) -> Json:
    """A v1 Event as client-go's recorder writes it: once, at this moment."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{about}.{reason.lower()}",
            "namespace": "default",
            "creationTimestamp": at,
        },
        "involvedObject": {"kind": kind, "name": about, "uid": uid, "apiVersion": "v1"},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": by},
        "reportingComponent": by,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "eventTime": None,
        "count": 1,
        **more,
    }


def claim(
    name: str = "pool-abc",
    *,
    node: str = "n1",
    capacity_type: str = "spot",
    deleted: str = "",
    created: str = "2026-03-01T10:00:00Z",
    reason: str = "",
    expires: str = "720h",
    grace: str = "",
    ends: str = "",
    conditions: tuple[str, ...] = (),
) -> Json:
    """A karpenter.sh/v1 NodeClaim; `reason` is that of its DisruptionReason."""
    told = [
        condition(kind, "True", since="2026-03-01T12:09:00Z", reason=kind)
        for kind in ("Launched", "Registered", "Initialized", *conditions)
    ]
    if reason:
        told.append(
            condition("DisruptionReason", "True", since="2026-03-01T12:08:00Z", reason=reason)
        )
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "labels": {
                "karpenter.sh/capacity-type": capacity_type,
                "karpenter.sh/nodepool": "gpu",
            },
            **({"deletionTimestamp": deleted} if deleted else {}),
            "annotations": {"karpenter.sh/nodeclaim-termination-timestamp": ends} if ends else {},
            "finalizers": ["karpenter.sh/termination"],
        },
        "spec": {"expireAfter": expires, **({"terminationGracePeriod": grace} if grace else {})},
        "status": {"nodeName": node, "conditions": told},
    }
