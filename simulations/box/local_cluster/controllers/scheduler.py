"""Binds pods to nodes that can take them, or says why none can. No I/O.

Filters: cordon, taints, nodeSelector, required node affinity, GPUs. Among the nodes that are left
the one with the most free GPUs wins, then the first by name.
"""

from __future__ import annotations

from collections import Counter

from simulations.box.local_cluster.objects import (
    Object,
    gpus_requested,
    is_active,
    key_of,
    set_condition,
)
from simulations.box.local_cluster.selectors import expressions
from simulations.box.local_cluster.store import Store


class Scheduler:
    """One pass over the pods that are bound to no node."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reconcile(self) -> None:
        """Bind what can be bound, oldest first."""
        waiting = [
            pod
            for pod in self._store.all("pods")
            if not pod["spec"].get("nodeName") and is_active(pod)
        ]
        waiting.sort(key=lambda pod: int(pod["metadata"]["resourceVersion"]))
        for pod in waiting:
            self._place(pod)

    def _place(self, pod: Object) -> None:
        free = self._free_gpus()
        requested = gpus_requested(pod)
        refusals: Counter[str] = Counter()
        fitting = []
        for node in self._store.all("nodes"):
            refusal = _refusal(node, pod)
            if refusal is None and requested > free[node["metadata"]["name"]]:
                refusal = "Insufficient nvidia.com/gpu"
            if refusal is None:
                fitting.append(node["metadata"]["name"])
            else:
                refusals[refusal] += 1
        at = self._store.clock()
        chosen = min(fitting, key=lambda name: (-free[name], name), default=None)

        def bind(obj: Object) -> None:
            obj["spec"]["nodeName"] = chosen
            set_condition(obj, "PodScheduled", status="True", at=at)

        def refuse(obj: Object) -> None:
            total = len(self._store.all("nodes"))
            reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(refusals.items()))
            set_condition(
                obj,
                "PodScheduled",
                status="False",
                at=at,
                reason="Unschedulable",
                message=f"0/{total} nodes are available: {reasons or 'no nodes'}.",
            )

        self._store.modify("pods", *key_of(pod), bind if chosen else refuse)

    def _free_gpus(self) -> Counter[str]:
        free: Counter[str] = Counter()
        for node in self._store.all("nodes"):
            allocatable = node.get("status", {}).get("allocatable", {})
            free[node["metadata"]["name"]] = int(allocatable.get("nvidia.com/gpu", 0))
        for pod in self._store.all("pods"):
            # a pod holds its GPUs until it is gone, also while it is being deleted
            if pod["spec"].get("nodeName") and pod["status"].get("phase") not in {
                "Succeeded",
                "Failed",
            }:
                free[pod["spec"]["nodeName"]] -= gpus_requested(pod)
        return free


def _refusal(node: Object, pod: Object) -> str | None:
    """Why a node cannot take a pod, in the scheduler's words; None: it can."""
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    tolerations = pod["spec"].get("tolerations") or ()
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] != "PreferNoSchedule" and not any(
            _tolerates(toleration, taint) for toleration in tolerations
        ):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    labels = node["metadata"].get("labels") or {}
    selector = pod["spec"].get("nodeSelector") or {}
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms")
    affine = terms is None or any(
        all(r.matches(labels) for r in expressions(term.get("matchExpressions") or ()))
        for term in terms
    )
    if not affine or any(labels.get(key) != value for key, value in selector.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    return None


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in {None, "", taint["effect"]}:
        return False
    key = toleration.get("key")
    if toleration.get("operator") == "Exists":
        return not key or key == taint["key"]
    return bool(key == taint["key"] and toleration.get("value", "") == taint.get("value", ""))
