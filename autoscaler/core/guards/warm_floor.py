"""Warm-pool floor: replicas kept even without demand.

It counts ready, not doomed replicas on its capacity type. Here the number is kept from falling
below it; placement keeps it in its pool, does not cut a pool that holds doomed replicas below it,
and asks another pool of its type where its own is stuck.
"""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import CapacityType, ModelObservation, NodeColumns
from autoscaler.core.guards.contract import Verdict
from autoscaler.core.pools.replica_count import ReplicaCount, with_stand_ins
from autoscaler.core.pools.situation import Situation
from autoscaler.core.supply.stock import Stock


def adjust(situation: Situation, count: ReplicaCount, /) -> Verdict | None:
    """Keep at least the floor."""
    floor = situation.floor
    if count.serving >= floor.replicas:
        return None
    return Verdict(
        with_stand_ins(situation, floor.replicas),
        Reason.WARM_FLOOR,
        floor.account(situation.spec.warm_floor),
    )


def count_ready(
    *, spec: ModelSpec, observation: ModelObservation, nodes: NodeColumns, stock: Stock
) -> int:
    """Count the replicas that count in the warm floor. Those of a Mixed pool are told by their nodes."""
    floor_type = spec.warm_floor.capacity_type
    if spec.warm_floor.replicas == 0 or floor_type is None:
        return stock.supply.ready
    count = 0
    for index, pool in enumerate(spec.pools):
        ready = stock.supply.pools[index].ready
        if pool.capacity_type is floor_type:
            count += ready
        elif pool.capacity_type is CapacityType.MIXED and ready:
            replicas = observation.replicas
            of_type = np.array([*(kind is floor_type for kind in nodes.capacity_type), False])
            mine = stock.ready & (replicas.pool == index)
            count += int(np.count_nonzero(mine & of_type[replicas.node]))
    return count
