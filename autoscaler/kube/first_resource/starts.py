"""How long the replicas that are there took to start, with what of it was the pull of the image."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.plain import Plain, pairs, part, parts, text, whole
from autoscaler.kube.api.resources import EVENTS, PODS
from autoscaler.kube.api.timestamps import duration_s, seconds

START_S_MAX = 7200.0
"""The longest that a resource may say: one that was last not ready long after its start says nothing of it."""
_PULLED = re.compile(r"^Successfully pulled image .{1,500}? in ([0-9.a-zµ]{1,40})(?: |$)")
_PODS_READ = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StartsSeen:
    """What was measured of one Deployment's replicas."""

    starts_s: tuple[float, ...] = ()
    """Each from placed on a node to ready, in seconds: a cold start."""
    pulls_s: tuple[float, ...] = ()
    """Of the image, for those whose pull an Event still tells."""
    cached: int = 0
    """Of how many an Event tells that the image was on the node."""
    starting: int = 0
    """Pods that are not ready yet."""
    restarted: int = 0
    """Pods whose containers began more than once: their time is no cold start."""
    unread: str = ""
    """Why nothing is known; empty: it was read."""

    @property
    def middle_s(self) -> float | None:
        """The median; None: nothing was measured."""
        return statistics.median(self.starts_s) if self.starts_s else None


async def read_starts(client: Client, namespace: str, deployment: Plain) -> StartsSeen:
    """Look at the pods of a Deployment; what cannot be read is said in the result."""
    labels = pairs(part(deployment, "spec", "selector", "matchLabels"))
    if not labels:
        return StartsSeen(unread="its selector has no matchLabels to find its pods by")
    query = {
        "labelSelector": ",".join(f"{key}={value}" for key, value in labels),
        "limit": str(_PODS_READ),
    }
    try:
        pods = parts(await client.call("list", PODS, namespace=namespace, query=query), "items")
    except ApiError as failure:
        return StartsSeen(unread=str(failure))
    try:
        query = {"fieldSelector": "reason=Pulled", "limit": "500"}
        page = await client.call("list", EVENTS, namespace=namespace, query=query)
    except ApiError:
        page = {}
    return starts_of(pods, parts(page, "items"))


def starts_of(pods: Iterable[Plain], events: Iterable[Plain]) -> StartsSeen:
    """Measure starts.

    Args:
        pods: Of one Deployment.
        events: Of the kubelets, about pulls; of any pods.
    """
    starts_s: list[float] = []
    pulls_s: list[float] = []
    told = _pulls(events)
    starting = restarted = cached = 0
    for pod in pods:
        took_s = _start_s(pod)
        if any((whole(each, "restartCount") or 0) for each in _containers(pod)):
            restarted += 1
        elif math.isnan(took_s):
            starting += 1
        elif 0 < took_s <= START_S_MAX:
            starts_s.append(took_s)
            pulled = told.get(text(part(pod, "metadata"), "uid"), ())
            taken_s = [each for each in pulled if each > 0.0]
            pulls_s += [max(taken_s)] if taken_s else []
            cached += bool(pulled) and not taken_s
    return StartsSeen(
        starts_s=tuple(sorted(starts_s)),
        pulls_s=tuple(sorted(pulls_s)),
        cached=cached,
        starting=starting,
        restarted=restarted,
    )


def _containers(pod: Plain) -> list[Plain]:
    return parts(part(pod, "status"), "containerStatuses")


def _start_s(pod: Plain) -> float:
    """Seconds from placed (created, where that is not told) to ready; NaN: it is not ready."""
    since = {
        text(each, "type"): seconds(each.get("lastTransitionTime"))
        for each in parts(part(pod, "status"), "conditions")
        if each.get("status") == "True"
    }
    created_at = seconds(part(pod, "metadata").get("creationTimestamp"))
    placed_at = since.get("PodScheduled", math.nan)
    begun_at = created_at if math.isnan(placed_at) else max(placed_at, created_at)
    return since.get("Ready", math.nan) - begun_at


def _pulls(events: Iterable[Plain]) -> Mapping[str, list[float]]:
    """Seconds of each pull by the pod's UID; 0: the image was there."""
    found: dict[str, list[float]] = {}
    for event in events:
        uid = text(part(event, "involvedObject"), "uid")
        message = text(event, "message")
        match = _PULLED.match(message)
        took_s = duration_s(match[1]) if match else 0.0
        if uid and (match or "already present" in message) and math.isfinite(took_s):
            found.setdefault(uid, []).append(took_s)
    return found
