"""What waits, and whether a replica that starts now could help with it.

A queue that the ready replicas will have cleared before another one is ready is no reason to start
it: a burst of seconds would buy a fleet of replicas that come minutes after it.
"""

from __future__ import annotations

from autoscaler.core.policy.contract import PolicyInput
from autoscaler.core.tuning import TUNING


def pressing_replicas(given: PolicyInput) -> float | None:
    """Return the replicas that what waits asks for; None: nothing waits, or not until they are ready.

    While the queue is cleared, work goes on arriving: how much, the offered load of the last third of a
    cold start says, and not that of this tick. It bounds what is asked, too: twice that load and one.
    """
    demand, waiting = given.demand.replicas, given.demand.waiting_requests
    if demand is None or waiting is None or waiting <= 0.0:
        return None
    offered, backlog = given.offered_replicas, given.demand.backlog_replica_s
    carried = given.carried_ratio
    if offered is None:
        return demand / carried
    spare = given.supply.ready * carried - offered
    if backlog is not None and spare > 0.0 and backlog <= spare * given.cold_start_s:
        return None
    return min(demand / carried, TUNING.backlog_ratio * offered / carried + TUNING.backlog_replicas)
