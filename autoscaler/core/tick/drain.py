"""What is done for doomed nodes: ordered steps that follow from what is seen.

There is no step machine. On every tick each step's condition is looked at anew, so a crash between
any two of them leaves the next tick to go on:

1. The fallback is promised and raised (`pools.promises`, written by `conclude`).
2. A node that nobody has cordoned is cordoned, once the raise was accepted.
3. Once it is *observed* unschedulable, every pod of the model on it is evicted, loading ones too:
   sooner, its replacement might land on it again. Of a notice of a minute or less no tick is given away:
   there the evictions follow the cordon as soon as that is accepted. The grace period ends before the
   deadline, so that the pod's own drain runs. A disruption budget may refuse until waiting would cost
   that drain.

**When a pod is told to go.** Its eviction takes it out of the endpoints, and it finishes what it holds.
So it goes at once where what serves elsewhere carries the demand of this moment. Where it does not, a
doomed pod that is ready goes on to take requests until what is left is just the time that pods which held
about as many took to drain (`supply.drains`): one with little in flight stays longer than one with much.
Where nothing was measured yet, or requests wait in it, it does not wait.

A lost node is never cordoned or evicted: a blip of the API server must not drain a fleet. A node at risk
is not touched either. A node whose notice was withdrawn and that carries our cordon is uncordoned.
One that we emptied is marked as drained (`drained`).

**Who drains.** A node that somebody else empties (Karpenter, cluster-autoscaler) is left to him: we do not
cordon it and evict nothing. But where the machine has a deadline, and he has not begun to delete a pod by
the last moment at which it can still have its whole grace period, we evict that pod ourselves: Karpenter
never evicts a pod that says do-not-disrupt, and it would die with the machine.

A disruption that nobody else drains is drained by us once what serves elsewhere is enough: make before
break.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autoscaler.core.contract.state import InterruptionKind, NodeColumns
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.situation import Situation
from autoscaler.core.supply.at_risk import SHORT_NOTICE_S, drain_margin_s
from autoscaler.core.supply.doomed import Doom, DoomedNode
from autoscaler.core.supply.drains import drain_s, in_flight_requests
from autoscaler.core.tick.writes import Writes

DEFAULT_GRACE_S = 30.0
"""Kubernetes' own, where a pod's is not known."""
EVICTION_DELAY_S = 10.0
"""From the moment at which a pod is due to its leaving the endpoints: a tick, its write, and the second
or two until every router has heard of it."""
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
        if node.lost or node.at_risk or not rows:
            continue
        left_s, span_s = _time_left(situation, node)
        if node.drained_elsewhere:
            late = [row for row in rows if left_s <= _grace_s(situation, row)]
            if late and node.kind is InterruptionKind.TERMINATION:
                _evict(
                    situation,
                    late,
                    memory=memory,
                    writes=writes,
                    after=None,
                    left_s=left_s,
                    span_s=span_s,
                )
            continue
        # In the first half of a notice, eviction waits until the fallback is raised. After that it
        # does not: the rest of the time is for the requests that the evicted replicas still serve.
        after = None if left_s <= 0.5 * span_s else raised
        if node.unschedulable:
            if node.kind is InterruptionKind.DISRUPTION and not _is_made_up_for(situation):
                continue
        else:
            cordoned = writes.cordon(model=situation.spec.key, node=node.name, after=after)
            if cordoned is None or span_s > SHORT_NOTICE_S:
                continue
            # The scheduler may not have heard of the cordon yet; but on a node whose GPUs are held until
            # the pod is gone its replacement finds no place.
            after = cordoned
        _evict(
            situation,
            [row for row in rows if _is_due(situation, row, memory=memory, left_s=left_s)],
            memory=memory,
            writes=writes,
            after=after,
            left_s=left_s,
            span_s=span_s,
        )


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
        own_s = _grace_s(situation, row)
        pod = replicas.name[row]
        namespace = situation.spec.pools[int(replicas.pool[row])].target.namespace
        refused = memory.refusals.get(f"Pod/{namespace}/{pod}") if memory.refusals else None
        overdue = left_s <= min(own_s, 0.5 * span_s)
        writes.remove_pod(
            model=situation.spec.key,
            namespace=namespace,
            pod=pod,
            grace_s=max(1, math.floor(min(own_s, left_s))),
            ends_at=None if math.isinf(left_s) else situation.at + left_s,
            after=after,
            delete=overdue and refused is not None and refused[0] in REFUSALS,
        )


def _is_due(situation: Situation, row: int, *, memory: ModelMemory, left_s: float) -> bool:
    """Tell whether a doomed pod has to go now, or can still be of use until its drain has to begin."""
    replicas = situation.observation.replicas
    if not replicas.ready[row] or replicas.waiting_requests[row] > 0.0:
        return True  # it serves nothing yet, or has more than it can serve
    if situation.needed is None or situation.stock.supply.ready >= situation.needed:
        return True
    takes_s = drain_s(memory.drains, in_flight_requests(replicas, row))
    return takes_s is None or left_s <= takes_s + EVICTION_DELAY_S


def _grace_s(situation: Situation, row: int) -> float:
    """Return the grace period of one replica, seconds."""
    own_s = float(situation.observation.replicas.grace_s[row])
    return DEFAULT_GRACE_S if math.isnan(own_s) else own_s


def _is_made_up_for(situation: Situation) -> bool:
    """Tell whether what is to serve is ready without what is doomed."""
    return situation.stock.supply.ready >= situation.serving_replicas


def uncordon_withdrawn(
    nodes: NodeColumns, *, doom: Doom | None, model: str | None, writes: Writes
) -> None:
    """Uncordon what we cordoned and what is no longer doomed, in the name of one active model.

    What somebody else has made schedulable meanwhile must not stay marked as drained: that would be said of
    the next notice's pods.
    """
    if model is None:
        return
    ours = nodes.cordoned_by_us & nodes.exists & (nodes.unschedulable | nodes.marked_drained)
    if doom is not None:
        ours &= ~doom.doomed[:-1]
    for index in np.flatnonzero(ours).tolist():
        writes.uncordon(model=model, node=nodes.name[index])


def _time_left(situation: Situation, node: DoomedNode) -> tuple[float, float]:
    """Return the seconds until the drain must be over, and how many the notice gave."""
    if node.deadline_at is None:
        return math.inf, math.inf
    margin_s = drain_margin_s(
        situation.spec.spot.drain_margin_s,
        noticed_at=node.noticed_at,
        deadline_at=node.deadline_at,
    )
    left_s = node.deadline_at - situation.at - margin_s
    return left_s, max(0.0, node.deadline_at - node.noticed_at - margin_s)
