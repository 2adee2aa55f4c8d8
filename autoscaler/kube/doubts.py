"""What is seen of a model and cannot be true as a whole: unknown until the sources agree.

A list that is suddenly empty is no scale-down: the Deployment's controller still counts its pods. Decided
on, it would be replicas lost and raised anew. The same goes for objects that are there and cannot be read.
The pods that are counted here include those being deleted, which the controller does not count: while
pods come and go it has never counted more than there are, but for the moment between two watches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from autoscaler.core.contract.spec import FleetSpec, ScaleTarget
from autoscaler.core.contract.state import Doubt
from autoscaler.foreign_text import quoted, shown
from autoscaler.kube.ownership import deployment_of
from autoscaler.kube.watch.caches import NamespaceCaches
from autoscaler.kube.watch.frames import Key
from autoscaler.kube.watch.slim import SlimDeployment, SlimPod
from autoscaler.kube.watch.unreadable import UnreadableObject, may_be_named_by


def find_doubts(
    fleet: FleetSpec,
    replicas: Sequence[Sequence[tuple[int, SlimPod]]],
    *,
    namespaces: Mapping[str, NamespaceCaches],
    refusals: Mapping[str, str],
) -> tuple[Doubt, ...]:
    """Models of which it is not known what is true, and the first reason of each.

    Args:
        fleet: What is asked about.
        replicas: For each model its replicas, as `replicas_of` finds them.
        namespaces: What the caches hold.
        refusals: Namespaces that may not be read, and which right is missing.
    """
    doubts = []
    for model, rows in zip(fleet.models, replicas, strict=True):
        found = Counter(pool for pool, _ in rows)
        messages = (
            refusals.get(pool.target.namespace)
            or doubt_of(
                pool.target,
                deployment_of(pool, namespaces),
                caches=namespaces[pool.target.namespace],
                replicas=found[index],
            )
            for index, pool in enumerate(model.pools)
            if pool.target.namespace in namespaces
        )
        message = next(filter(None, messages), "")
        if message:
            doubts.append(Doubt(model=model.key, message=message))
    return tuple(doubts)


def doubt_of(
    target: ScaleTarget,
    deployment: SlimDeployment | None,
    *,
    caches: NamespaceCaches,
    replicas: int,
) -> str:
    """Why what is seen of one pool is not to be relied on, for people; empty: it is.

    Args:
        target: The pool's.
        deployment: What is kept of it; None: it is not there.
        caches: Of its namespace.
        replicas: Pods of it that were found and have not ended, those being deleted among them.
    """
    key = (target.namespace, target.name)
    if key in caches.deployments.unreadable:
        return f"{target} is there and cannot be read: {caches.deployments.unreadable[key].why}"
    unreadable = _unreadable(caches, target.name, owner_uid=deployment.uid if deployment else "")
    if unreadable:
        return f"{target}: {unreadable}"
    if deployment is None:
        left = _sets_left(caches, target.name)
        if left:
            return (
                f"{target} is not listed, and its ReplicaSet {quoted(left)} is: one of the lists is "
                "wrong, or it is being deleted"
            )
        return ""
    if replicas < deployment.told_replicas:
        return (
            f"{target}: its status counts {deployment.told_replicas} replicas, and {replicas} are listed: "
            "one of the two is wrong, or its controller does not run"
        )
    return ""


def _unreadable(caches: NamespaceCaches, deployment: str, *, owner_uid: str) -> str:
    """The first pod or ReplicaSet that cannot be read and may be the pool's; empty: there is none.

    What was kept of it before tells whose it is. Of one that is new its controller does, where that can be read
    and is known, else its name; what has no name either may be anybody's of the namespace.
    """
    sets, pods = caches.replica_sets, caches.pods
    if not sets.unreadable and not pods.unreadable:
        return ""  # almost always
    for key, each in sets.unreadable.items():
        known = sets.objects.get(key)
        uid = known.owner_uid if known is not None else each.controller_uid
        ours = uid == owner_uid
        if uid is None or not owner_uid:
            ours = may_be_named_by(key[1], deployment, parts=1)
        if ours or not key[0]:
            return _text("ReplicaSet", key, each)
    known_sets = {each.uid for each in sets.objects.values()}
    of_pool = {
        each.uid: name
        for (_, name), each in sets.objects.items()
        if each.uid and each.owner_uid and each.owner_uid == owner_uid
    }
    for key, each in pods.unreadable.items():
        pod = pods.objects.get(key)
        uid = pod.owner_uid if pod is not None else each.controller_uid
        ours = uid in of_pool
        if uid is None or (uid and uid not in known_sets):
            named = (may_be_named_by(key[1], name, parts=1) for name in of_pool.values())
            ours = may_be_named_by(key[1], deployment, parts=2) or any(named)
        if ours or not key[0]:
            return _text("pod", key, each)
    return ""


def _text(kind: str, key: Key, found: UnreadableObject) -> str:
    whose = "" if key[0] else ", and it cannot be told whose it is"
    return f"{kind} {shown(key[1])} is there and cannot be read{whose}: {found.why}"


def _sets_left(caches: NamespaceCaches, name: str) -> str:
    """A ReplicaSet of a Deployment of this name; empty: there is none."""
    found = (key[1] for key, each in caches.replica_sets.objects.items() if each.owner_name == name)
    return next(found, "")
