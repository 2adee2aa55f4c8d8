"""What is done for doomed nodes: ordered steps that follow from what is seen.

There is no step machine. On every tick each step's condition is looked at anew, so a crash between
any two of them leaves the next tick to go on:

1. The fallback is promised and raised (`pools.promises`, written by `conclude`).
2. A node that nobody has cordoned is cordoned, once the raise was accepted.
3. Once it is *observed* unschedulable, every pod of the model on it is evicted, loading ones too:
   sooner, its replacement might land on it again. The grace period ends before the deadline, so that
   the pod's own drain runs. A disruption budget may refuse until waiting would cost that drain.

A lost node is never cordoned or evicted: a blip of the API server must not drain a fleet. A node
whose notice was withdrawn and that carries our cordon is uncordoned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autoscaler.core.contract.state import NodeColumns
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.situation import Situation
from autoscaler.core.supply.doomed import Doom, DoomedNode
from autoscaler.core.tick.writes import Writes

DEFAULT_GRACE_S = 30.0
"""Kubernetes' own, where a pod's is not known."""
REFUSALS = frozenset({"DisruptionBudget", "Failed"})
"""Refusals of an eviction that a deletion does not meet. (More than one budget on a pod is an internal
error of the API server.)"""


def drain(
    situation: Situation,
    *,
    memory: ModelMemory,
    writes: Writes,
    raised: str | None,
) -> None:
    """Cordon doomed nodes and evict the model's pods on them, as far as that is due.

    Args:
        situation: the facts.
        memory: of the model; tells which evictions were refused.
        writes: takes the commands.
        raised: the command after which the fallback is raised, while it is not accepted.
    """
    if situation.doom is None or not situation.stock.doomed_rows:
        return
    for node in situation.doom.nodes:
        rows = situation.stock.doomed_rows.get(node.index, ())
        if node.lost or not rows:
            continue
        left_s, span_s = _time_left(situation, node)
        # In the first half of a notice, eviction waits until the fallback is raised. After that it
        # does not: the rest of the time is for the requests that the evicted replicas still serve.
        after = None if left_s <= 0.5 * span_s else raised
        if node.unschedulable:
            _evict(
                situation,
                rows,
                memory=memory,
                writes=writes,
                after=after,
                left_s=left_s,
                span_s=span_s,
            )
        else:
            writes.cordon(model=situation.spec.key, node=node.name, after=after)


def _evict(
    situation: Situation,
    rows: Sequence[int],
    *,
    memory: ModelMemory,
    writes: Writes,
    after: str | None,
    left_s: float,
    span_s: float,
) -> None:
    """Evict the pods of one node; delete one whose budget refused once its drain can wait no longer."""
    replicas = situation.observation.replicas
    for row in sorted(rows, key=lambda row: replicas.name[row]):
        own_s = float(replicas.grace_s[row])
        own_s = DEFAULT_GRACE_S if math.isnan(own_s) else own_s
        pod = replicas.name[row]
        namespace = situation.spec.pools[int(replicas.pool[row])].target.namespace
        refused = memory.refusals.get(f"Pod/{namespace}/{pod}") if memory.refusals else None
        overdue = left_s <= min(own_s, 0.5 * span_s)
        writes.remove_pod(
            model=situation.spec.key,
            namespace=namespace,
            pod=pod,
            grace_s=max(1, math.floor(min(own_s, left_s))),
            after=after,
            delete=overdue and refused is not None and refused[0] in REFUSALS,
        )


def uncordon_withdrawn(
    nodes: NodeColumns, *, doom: Doom | None, model: str | None, writes: Writes
) -> None:
    """Uncordon what we cordoned and what is no longer doomed, in the name of one active model."""
    if model is None:
        return
    ours = nodes.cordoned_by_us & nodes.exists & nodes.unschedulable
    if doom is not None:
        ours &= ~doom.doomed[:-1]
    for index in np.flatnonzero(ours).tolist():
        writes.uncordon(model=model, node=nodes.name[index])


def _time_left(situation: Situation, node: DoomedNode) -> tuple[float, float]:
    """Return the seconds until the drain must be over, and how many the notice gave."""
    if node.deadline_at is None:
        return math.inf, math.inf
    margin_s = situation.spec.spot.drain_margin_s
    left_s = node.deadline_at - situation.at - margin_s
    return left_s, max(0.0, node.deadline_at - node.noticed_at - margin_s)
