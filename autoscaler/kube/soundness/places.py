"""Where replicas land and who may take them away there: capacity types, taints, Karpenter's annotation."""

from __future__ import annotations

import math
from collections.abc import Iterator

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.core.contract.state import CapacityType
from autoscaler.foreign_text import listed
from autoscaler.kube.capacity import AKS_LABEL
from autoscaler.kube.soundness.budgets import find_blocked
from autoscaler.kube.soundness.findings import Finding, error, warning
from autoscaler.kube.soundness.template import POD, TemplateFacts
from autoscaler.kube.soundness.terms import TargetTerms

_AFFINITY = f"{POD}.affinity.nodeAffinity"
_TOLERATIONS = f"{POD}.tolerations"


def find_places(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    """Find pods that land where their pool does not say, or that nobody can move in time."""
    if terms.capacity_type is CapacityType.ON_DEMAND:
        yield from _kept_off_spot(facts, terms)
    if terms.capacity_type is CapacityType.SPOT:
        yield from _on_spot(facts)
    if terms.capacity_type is not CapacityType.ON_DEMAND and facts.do_not_disrupt:
        yield error(
            FindingReason.DO_NOT_DISRUPT,
            f"spec.template.metadata.annotations[{facts.do_not_disrupt}]",
            found=f"{_kept(facts.undisrupted_s)}, also after the notice; they die with the machine",
            remedy="take it away, or give the NodePool a terminationGracePeriod shorter than the notice",
        )
    if facts.landing.tolerates_all:
        yield warning(
            FindingReason.TOLERATES_ALL,
            _TOLERATIONS,
            found="a toleration of every taint: replicas are placed on nodes that are being taken away, and "
            "stay on nodes that are not ready",
            remedy="tolerate the taints of your GPU and spot nodes by name",
        )
    if terms.budgets is not None:
        yield from find_blocked(terms.budgets, dict(facts.labels), replicas=terms.replicas_min)


def _kept_off_spot(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    """An on-demand pool whose pods may land on spot nodes of every dialect keeps nothing warm."""
    landing = facts.landing
    if not landing.spot_all:
        return
    sure = terms.warm and not landing.elsewhere
    yield (error if sure else warning)(
        FindingReason.LANDS_ON_SPOT,
        _AFFINITY,
        found="nothing that keeps its pods off spot nodes, and the pool is OnDemand"
        + (": the warm floor may go with a spot node" if terms.warm else "")
        + (", unless the labels that are asked for do it" if landing.elsewhere else ""),
        remedy="require karpenter.sh/capacity-type NotIn [spot], or your cloud's label, as "
        "deploy/examples/vllm/on-demand does; or call the pool Mixed",
    )


def _kept(seconds: float) -> str:
    """Say whom Karpenter does not evict, by the time for which it keeps a pod from its start."""
    if math.isinf(seconds):
        return '"true" on pods of spot nodes: Karpenter evicts none of them'
    return f"{seconds:g} s on pods of spot nodes: Karpenter evicts none of them that is younger than that"


def _on_spot(facts: TemplateFacts) -> Iterator[Finding]:
    landing = facts.landing
    if not landing.spot:
        yield error(
            FindingReason.LANDS_ON_ON_DEMAND,
            _AFFINITY,
            found="what keeps its pods off spot nodes, and the pool is Spot",
            remedy="require your cloud's label of spot nodes, or call the pool OnDemand",
        )
    elif landing.on_demand and not landing.elsewhere:
        yield warning(
            FindingReason.LANDS_ON_ON_DEMAND,
            _AFFINITY,
            found="nothing that keeps its pods on spot nodes, and the pool is Spot: they may land on "
            "on-demand nodes, at their price",
            remedy="require your cloud's label of spot nodes, or call the pool Mixed",
        )
    if landing.spot_all or not landing.untolerated:
        return
    # of a pod that asks for spot nodes by label; one that lands only there never starts
    sure = all(label.startswith(AKS_LABEL) for label in landing.spot)
    yield (error if sure else warning)(
        FindingReason.SPOT_NOT_TOLERATED,
        _TOLERATIONS,
        found=f"no toleration of {listed(landing.untolerated)}, a taint that spot nodes with this label "
        + ("carry: no replica is ever placed" if sure else "may carry"),
        remedy="tolerate it, effect NoSchedule",
    )
