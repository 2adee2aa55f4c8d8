"""Whether anything could ever give notice of the spot nodes of a cluster, in sentences for people.

A cluster in which nothing speaks looks like one in which nothing happens, until a node is taken. What is
judged here is only what can be seen: that Karpenter made a node, not that its interruption queue is set up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoscaler.core.contract.state import CapacityType
from autoscaler.foreign_text import listed
from autoscaler.kube.watch.optional import Readability
from autoscaler.kube.watch.slim import SlimNode
from autoscaler.notices.node_agent import ALIVE_ANNOTATION

PAGE = "docs/notices.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What was read of a cluster."""

    nodes: Sequence[SlimNode]
    """All of them."""
    spot_pools: Sequence[str]
    """Pools of capacity type Spot or Mixed, as people name them; none: nothing to say."""
    events: Readability
    """Of Events in the namespace `default`."""
    claims: Readability
    """Of Karpenter's NodeClaims."""
    heard: Collection[str]
    """Sources that have given any notice, on a Node or by an Event, as far as is remembered."""


def find_gaps(signs: Signs) -> tuple[str, ...]:
    """Return what would go unnoticed and what to do, a sentence each; empty: nothing that can be seen.

    >>> find_gaps(Signs(nodes=(), spot_pools=(), events=Readability.READABLE,
    ...     claims=Readability.ABSENT, heard=()))
    ()
    """
    if not signs.spot_pools:
        return ()
    spot = [node for node in signs.nodes if node.capacity_type is CapacityType.SPOT]
    if not spot:
        return (
            (
                f"no node is spot by any label that is known, so whether a notice could come cannot be told "
                f"(spot pools: {listed(signs.spot_pools)}); see {PAGE}"
            ),
        )
    gaps = [*_mute(signs, spot), *_late(signs, spot), *_refused(signs, spot)]
    return tuple(gaps)


def _mute(signs: Signs, spot: Sequence[SlimNode]) -> list[str]:
    mute = [node.name for node in spot if not _could_speak(node, heard=signs.heard)]
    if not mute:
        return []
    return [
        (
            f"{len(mute)} of {len(spot)} spot nodes ({listed(mute)}) have nothing that could give notice: no "
            "node agent, no Karpenter, no managed drain, no condition or Event of a handler; one that is taken is "
            f"known only as it turns NotReady, 40 s later or more: run `autoscaler node-agent` there ({PAGE})"
        )
    ]


def _late(signs: Signs, spot: Sequence[SlimNode]) -> list[str]:
    late = [
        node.name
        for node in spot
        if _labels(node).keys() & _MANAGED_LABELS and not _says_when(node, heard=signs.heard)
    ]
    if not late:
        return []
    return [
        (
            f"{len(late)} spot nodes of managed node groups of EKS ({listed(late)}) say that they are taken only by "
            f"a cordon and evictions, with no deadline: run `autoscaler node-agent` there ({PAGE})"
        )
    ]


def _refused(signs: Signs, spot: Sequence[SlimNode]) -> list[str]:
    found = []
    karpenter = [node.name for node in spot if _is_karpenters(node)]
    if signs.events is Readability.FORBIDDEN:
        found.append(
            "Events in the namespace default may not be read, so notices that come as Events alone are not "
            f"seen: bind the role inference-autoscaler-events there ({PAGE})"
        )
    if karpenter and signs.claims is Readability.FORBIDDEN:
        found.append(
            "NodeClaims may not be read, so why Karpenter takes a node away, and by when, is not seen: grant "
            "list and watch on nodeclaims of karpenter.sh"
        )
    return found


_KARPENTER_LABELS = frozenset({"karpenter.sh/nodepool", "karpenter.sh/provisioner-name"})
_GKE_LABELS = frozenset({"cloud.google.com/gke-nodepool", "cloud.google.com/gke-spot"})
"""GKE's kubelets shut down gracefully by default, and say so."""
_MANAGED_LABELS = frozenset({"eks.amazonaws.com/nodegroup"})
_AKS_CONDITIONS = frozenset({"VMEventScheduled", "PreemptionScheduled", "PreemptScheduled"})
"""There, and False, wherever AKS's detector runs."""
_NEVER_ALONE = frozenset({"rehearsal", "drain", "node-status"})
"""Sources that say nothing about what else might speak."""


def _could_speak(node: SlimNode, *, heard: Collection[str]) -> bool:
    return bool(_says_when(node, heard=heard) or _labels(node).keys() & _MANAGED_LABELS)


def _says_when(node: SlimNode, *, heard: Collection[str]) -> bool:
    """Whether something could say of this node by when it ends."""
    if set(heard) - _NEVER_ALONE or _is_karpenters(node):
        return True
    metadata, status = node.marks.get("metadata") or {}, node.marks.get("status") or {}
    if ALIVE_ANNOTATION in (metadata.get("annotations") or {}):
        return True
    conditions = {condition.get("type") for condition in status.get("conditions") or ()}
    return bool(conditions & _AKS_CONDITIONS or _labels(node).keys() & _GKE_LABELS)


def _is_karpenters(node: SlimNode) -> bool:
    return bool(node.claim or _labels(node).keys() & _KARPENTER_LABELS)


def _labels(node: SlimNode) -> Mapping[str, Any]:
    metadata = node.marks.get("metadata") or {}
    return metadata.get("labels") or {}
