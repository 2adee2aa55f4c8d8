"""How good decisions turned out to be: running totals of one model, as of one tick.

They say what was decided well or badly, never what to decide. All totals begin at zero with the engine's
memory and only rise, so that two of them, subtracted, are what happened in between. What could not be
seen is in none of them: `unscored_s` says for how long that was.
"""

from __future__ import annotations

from typing import NamedTuple


class IdleGpuSeconds(NamedTuple):
    """GPU-seconds of ready replicas beyond what the demand needed, by who kept them.

    In the order in which they are asked: what the minimum alone would keep is the minimum's.
    """

    minimum: float
    """`minReplicas`."""
    warm_floor: float
    """The warm floor, where it is above the minimum."""
    forecast: float
    """The policy: it proposed that many."""
    stabilization: float
    """The stabilization window: its highest proposal."""
    other: float
    """Another guard or stage: rate, rollout, fallback, stand-ins, loss budget, pause, placement."""
    released: float
    """Nobody: the decision has given them up, and they are not gone yet (or nobody acts on it)."""


class MissedRequests(NamedTuple):
    """Requests that were not served as promised, by why; a request is counted once."""

    no_capacity_yet: float
    """Demand was above the ready replicas, and replicas that were asked for were not ready."""
    interruption: float
    """A node had been noticed or lost within a cold start, and demand was above what was left; or it was
    lost with the node."""
    undersized: float
    """Demand was above the ready replicas, and no more were asked for: a maximum, a budget, a pause, or the
    policy was content."""
    cut_off: float
    """It was lost with a replica that went for another reason than its node."""
    within_capacity: float
    """Demand was within what was ready, which was busy: bursts shorter than a tick, routing, long prompts."""
    not_attainable: float
    """The ready replicas were lightly loaded: no number of them would have served it in time."""
    unknown: float
    """It was missed in a time of which too little was known."""


class Scores(NamedTuple):
    """One model's totals."""

    scored_s: float
    """Seconds over which the totals below were kept."""
    unscored_s: float
    """Seconds of which too little was known."""
    late_s: float
    """Seconds in which demand was above the ready replicas while replicas that were asked for were not ready."""
    late_replica_s: float
    """Replica-seconds that those would have carried, had they been asked for in time."""
    scale_downs: int
    regretted_scale_downs: int
    """Of these, the ones after which replicas were asked for again within one cold start."""
    regretted_replicas: int
    """Replicas that were given up and asked for again within one cold start."""
    regretted_gpu_s: float
    """What their starts cost beyond what giving them up had saved."""
    idle_gpu_s: IdleGpuSeconds
    idle_usd: float | None
    """The price of these; None: a pool has no price."""
    missed_requests: MissedRequests
    remarks: tuple[str, ...]
    """For people: what became certain on this tick."""
