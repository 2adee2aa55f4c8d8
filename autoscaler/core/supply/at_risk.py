"""Requests at risk: those that a doomed node will cut, as far as it can be told beforehand.

A request that runs is as likely at its beginning as near its end, so what it has to go is spread evenly
over the time that a request takes (the mean service time). Where a replica has stopped to take requests,
the youngest is as old as that, and what is to go is shorter by it. Of those whose rest is longer than
what is left before the replica is stopped, each will be cut; a request that waits has all of it to go.

An example: 40 requests of 40 s each run, and 30 s are left: a quarter of them, 10, are cut. Ten seconds
later the replica, which takes none since, has 30 left, of which a third, 10, are cut in 20 s.

It is an estimate: where requests are of very different lengths, more of them are short than the mean
says, and those that are cut are fewer, but longer.
"""

from __future__ import annotations

import math

import numpy as np

from autoscaler.core.contract.state import ReplicaColumns
from autoscaler.core.supply.doomed import Doom

SHORT_NOTICE_S = 60.0
"""Google and Azure give 30 s, of which neither a tick nor a margin of ten seconds can be spared."""
SHORT_NOTICE_MARGIN_S = 1.0
"""Of clocks that disagree; all else of a short notice is for the requests."""


def drain_margin_s(asked_s: float, *, noticed_at: float, deadline_at: float) -> float:
    """Return the seconds between the end of a grace period and the deadline of a node."""
    if deadline_at - noticed_at > SHORT_NOTICE_S:
        return asked_s
    return min(asked_s, SHORT_NOTICE_MARGIN_S)


def requests_at_risk(
    *,
    at: float,
    replicas: ReplicaColumns,
    doom: Doom | None,
    service_s: float | None,
    margin_s: float,
) -> float | None:
    """Return how many requests will be cut with the doomed nodes.

    Args:
        at: now, seconds.
        replicas: of the model.
        doom: the nodes that are doomed or at risk.
        service_s: what a request takes, on average; None: unknown.
        margin_s: as the specification asks for it.

    Returns:
        None: a replica on a doomed node does not say what it holds, or nobody knows how long requests
        take. What is lost with a node already is no risk any more.
    """
    if doom is None:
        return 0.0
    total = 0.0
    for node in doom.nodes:
        if node.lost or node.at_risk or node.deadline_at is None:
            continue
        margin = drain_margin_s(margin_s, noticed_at=node.noticed_at, deadline_at=node.deadline_at)
        ends_at = node.deadline_at - margin
        for row in np.flatnonzero(replicas.node == node.index).tolist():
            if not replicas.ready[row] and not replicas.deleting[row]:
                continue  # it takes no requests yet
            running, waiting = (
                float(replicas.running_requests[row]),
                float(replicas.waiting_requests[row]),
            )
            if math.isnan(running) or math.isnan(waiting):
                return None
            if running + waiting == 0.0:
                continue
            if service_s is None:
                return None
            # As long as it takes requests it holds about as many. Then they become fewer, and what it
            # said a moment ago is true of that moment.
            closed_at = float(replicas.deleting_since[row])
            moment, rest_s = at, service_s
            if not math.isnan(closed_at):
                moment = max(closed_at, min(at, float(replicas.sampled_at[row])))
                rest_s = service_s - (moment - closed_at)
            left_s = ends_at - moment
            total += running * _cut_ratio(rest_s, left_s=left_s)
            total += waiting if service_s > left_s else 0.0
    return total


def _cut_ratio(rest_s: float, *, left_s: float) -> float:
    """Return the share that has longer to go than is left, where up to `rest_s` is to go."""
    if left_s <= 0.0:
        return 1.0
    return max(0.0, 1.0 - left_s / rest_s) if rest_s > 0.0 else 0.0
