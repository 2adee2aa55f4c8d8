"""What is kept of Events and of Karpenter's NodeClaims: the parts that notices are read from, in their own shape.

Both are written by others, Events by whoever may write any in their namespace. Whatever is of another type
than the API gives it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoscaler.kube.api.fields import Json
from autoscaler.kube.api.plain import part, parts

TEXT_CHARACTERS_MAX = 1024
"""As the API server allows in an Event's note."""
NOTHING: Json = {}
"""Kept of an Event that says nothing to us: one object, however many there are."""


def slim_event(item: Json) -> Json:
    """Keep of a v1 Event what it says, by whom, about which object, and when."""
    metadata = part(item, "metadata")
    series = part(item, "series")
    count = item.get("count")
    return {
        **_texts(
            item,
            "type",
            "reason",
            "message",
            "reportingComponent",
            "eventTime",
            "firstTimestamp",
            "lastTimestamp",
        ),
        "metadata": _texts(metadata, "name", "namespace", "creationTimestamp"),
        "involvedObject": _texts(part(item, "involvedObject"), "kind", "name", "uid"),
        "source": _texts(part(item, "source"), "component", "host"),
        "series": _texts(series, "lastObservedTime"),
        "count": count if isinstance(count, int) else None,
    }


def slim_claim(item: Json) -> Json:
    """Keep of a NodeClaim whether it is being deleted, why and by when, and which Node is its own."""
    metadata, spec, status = (part(item, name) for name in ("metadata", "spec", "status"))
    annotations, labels = part(metadata, "annotations"), part(metadata, "labels")
    return {
        "metadata": {
            **_texts(metadata, "name", "creationTimestamp", "deletionTimestamp"),
            "annotations": _texts(annotations, "karpenter.sh/nodeclaim-termination-timestamp"),
            "labels": _texts(labels, "karpenter.sh/capacity-type", "karpenter.sh/nodepool"),
        },
        "spec": _texts(spec, "terminationGracePeriod", "expireAfter"),
        "status": {
            **_texts(status, "nodeName"),
            "conditions": [
                _texts(condition, "type", "status", "reason", "lastTransitionTime")
                for condition in parts(status, "conditions")
            ],
        },
    }


def _texts(parent: Mapping[str, Any], *names: str) -> Json:
    """Those of the fields that are texts, cut."""
    return {
        name: parent[name][:TEXT_CHARACTERS_MAX]
        for name in names
        if isinstance(parent.get(name), str)
    }
