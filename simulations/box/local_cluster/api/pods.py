"""How a pod is deleted, evicted and protected by disruption budgets."""

from __future__ import annotations

import math

from simulations.box.local_cluster.objects import (
    Object,
    StatusError,
    check_preconditions,
    condition_is_true,
    owner_uid,
    set_condition,
    success,
    timestamp,
)
from simulations.box.local_cluster.selectors import from_spec, matches_labels
from simulations.box.local_cluster.store import Store


def delete(store: Store, namespace: str, name: str, *, grace_s: int | None = None) -> Object:
    """Begin a pod's end: a deletionTimestamp that its kubelet heeds; at once where none has it.

    A grace period can only be shortened afterwards. None asks for the pod's own.
    """
    pod = store.get("pods", namespace, name)
    own = int(pod["spec"].get("terminationGracePeriodSeconds", 30))
    grace = own if grace_s is None else max(0, grace_s)
    finished = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
    if finished or not pod["spec"].get("nodeName"):
        return store.remove("pods", namespace, name)
    running_out = pod["metadata"].get("deletionGracePeriodSeconds")
    if running_out is not None and grace >= running_out > 0:
        return pod

    def mark(obj: Object) -> None:
        obj["metadata"]["deletionTimestamp"] = timestamp(store.clock() + grace)
        obj["metadata"]["deletionGracePeriodSeconds"] = grace

    marked = store.modify("pods", namespace, name, mark) or pod
    return marked if grace > 0 else store.remove("pods", namespace, name)


def evict(store: Store, namespace: str, name: str, eviction: Object) -> Object:
    """The eviction subresource: ask the budgets, then delete with the grace period asked for.

    Raises 429 when the budget is used up and 500 when two budgets select the pod.
    """
    pod = store.get("pods", namespace, name)
    options = eviction.get("deleteOptions") or {}
    check_preconditions("pods", pod, options)
    if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") == "Running":
        _ask_budgets(store, pod)

    def mark(obj: Object) -> None:
        set_condition(
            obj,
            "DisruptionTarget",
            status="True",
            at=store.clock(),
            reason="EvictionByEvictionAPI",
            message="Eviction API: evicting",
        )

    store.modify("pods", namespace, name, mark)
    grace = options.get("gracePeriodSeconds")
    delete(store, namespace, name, grace_s=None if grace is None else int(grace))
    return success(code=201)


def _ask_budgets(store: Store, pod: Object) -> None:
    namespace = pod["metadata"].get("namespace", "")
    budgets = [
        budget
        for budget in store.all("poddisruptionbudgets", namespace)
        if matches_labels(from_spec(budget["spec"].get("selector") or {}), pod)
    ]
    if len(budgets) > 1:
        raise StatusError(
            "",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource "
            "does not support.",
        )
    for budget in budgets:
        healthy, needed = budget_state(store, budget)
        if not condition_is_true(pod, "Ready"):
            always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
            if always or healthy >= needed > 0:
                continue
        if healthy <= needed:
            raise _refused(budget["metadata"]["name"], healthy=healthy, needed=needed)


def budget_state(store: Store, budget: Object) -> tuple[int, int]:
    """(healthy pods now, healthy pods needed) of a disruption budget."""
    selector = from_spec(budget["spec"].get("selector") or {})
    selected = [
        pod
        for pod in store.all("pods", budget["metadata"].get("namespace", ""))
        if matches_labels(selector, pod)
        and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
    ]
    healthy = sum(
        1
        for pod in selected
        if condition_is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]
    )
    # the disruption controller expects what the owners ask for, not what is there at the moment
    expected = _expected(store, budget, selected)
    spec = budget["spec"]
    if "minAvailable" in spec:
        return healthy, _count_of(spec["minAvailable"], expected)
    return healthy, max(0, expected - _count_of(spec.get("maxUnavailable", 0), expected))


def _count_of(value: int | str, total: int) -> int:
    """A count, or a percentage of `total` rounded up."""
    return value if isinstance(value, int) else math.ceil(total * int(value.rstrip("%")) / 100)


def _expected(store: Store, budget: Object, selected: list[Object]) -> int:
    owners = {owner_uid(pod) for pod in selected}
    orphans = sum(1 for pod in selected if owner_uid(pod) is None)
    owned = [
        int(replica_set["spec"]["replicas"])
        for replica_set in store.all("replicasets", budget["metadata"].get("namespace", ""))
        if replica_set["metadata"]["uid"] in owners
    ]
    return orphans + sum(owned)


def _refused(budget: str, *, healthy: int, needed: int) -> StatusError:
    return StatusError(
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details={
            "causes": [
                {
                    "reason": "DisruptionBudget",
                    "message": f"The disruption budget {budget} needs {needed} healthy pods "
                    f"and has {healthy} currently",
                }
            ]
        },
    )
