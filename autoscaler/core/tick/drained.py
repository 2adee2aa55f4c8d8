"""The last step of a drain: a node that we emptied says so, for whoever may then let its machine go.

Azure asks before it takes a machine, and begins early if it is told to (`autoscaler.agent`). As every
step, this one follows from what is seen: a termination that somebody has announced and nobody else drains,
our cordon, and no replica of any model on it, whoever drains those; one that is being deleted is still
there. Other workloads are not seen here; nor is a model whose document was refused as the daemon began, and as
long as there is one, nothing is marked.

A pod that was bound a moment before the cordon, and is not seen yet, may be missed. It serves nothing yet,
and starts elsewhere.
"""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.state import InterruptionKind
from autoscaler.core.supply.doomed import Doom
from autoscaler.core.tick.writes import Writes


def mark_drained(event: Observed, *, doom: Doom | None, model: str | None, writes: Writes) -> None:
    """Mark the nodes that we cordoned for a termination and that no replica is on any more.

    Args:
        event: what is seen, of every model of the fleet.
        doom: the doomed nodes; None: there is none.
        model: an active one, in whose name it is written; None: there is none, and nothing is.
        writes: takes the commands.
    """
    if doom is None or model is None:
        return
    nodes = event.nodes
    occupied = np.zeros(len(nodes) + 1, dtype=np.bool_)  # one more, for NO_NODE
    for observation in event.models:
        occupied[observation.replicas.node] = True
    ours = nodes.cordoned_by_us & nodes.exists & nodes.unschedulable
    due = ours & ~nodes.marked_drained & ~occupied[:-1]
    for node in doom.nodes:
        ends = node.kind is InterruptionKind.TERMINATION and not node.drained_elsewhere
        if ends and due[node.index]:
            writes.mark_drained(model=model, node=node.name)
