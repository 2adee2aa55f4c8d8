"""After a decision: how good the ones before it turned out to be.

Nothing here is read by what decides. Where too little is known (samples or cluster are stale, a target cannot
be read, demand is only remembered, the model is held) the time is counted as unscored, and nothing else.
"""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.decision import Decision, DepartureCause
from autoscaler.core.contract.reasons import StepBy
from autoscaler.core.contract.scores import Scores
from autoscaler.core.contract.spec import EngineSettings, ModelSpec
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.situation import Situation
from autoscaler.core.scores.memory import Moment

_TAKEN_AWAY = frozenset({DepartureCause.NOTICE, DepartureCause.NODE_LOST})


def score(
    situation: Situation, decision: Decision, *, settings: EngineSettings, memory: ModelMemory
) -> Scores:
    """Score one model's tick.

    Args:
        situation: the facts that were decided on.
        decision: what came of them.
        settings: of the engine.
        memory: of the model; changed.
    """
    spec = situation.spec
    need = situation.needed
    if (
        need is None
        or situation.offered is None
        or situation.blind is not None
        or situation.mute
        or decision.desired_replicas is None
    ):
        return pass_over(spec, decision, at=situation.at, memory=memory)
    ready = situation.stock.supply.ready
    if situation.doom is not None:
        ready = _count_serving(situation)
    gpus, usd = _of_one(situation)
    waiting = decision.measures.waiting_requests
    moment = Moment(
        situation.at,
        need,
        ready,
        sum([pool.current for pool in situation.pools]),
        situation.serving_replicas,
        0.0 if waiting is None else waiting,
        bool(situation.stock.doomed_rows or situation.stock.leaving_rows),
        situation.cold_start_s,
        _kept_by(spec, decision),
        gpus,
        usd,
        _newly_missed(decision, memory=memory),
        spec.sample_age_s_max + (memory.demand.service_time.measured_s or 0.0),
    )
    gap_s_max = max(spec.sample_age_s_max, 2.0 * settings.tick_s)
    remarks = memory.scores.observe(moment, gap_s_max=gap_s_max)
    return memory.scores.totals(priced=_priced(spec), remarks=remarks)


def pass_over(spec: ModelSpec, decision: Decision, *, at: float, memory: ModelMemory) -> Scores:
    """Let a tick pass of which too little is known."""
    memory.scores.skip(at, missed=_newly_missed(decision, memory=memory))
    return memory.scores.totals(priced=_priced(spec), remarks=())


def _newly_missed(decision: Decision, *, memory: ModelMemory) -> float:
    """Return how many more requests were missed since the last tick, without those lost with replicas.

    Those are told with what their replica went by.
    """
    scores, total = memory.scores, memory.attainment.missed_requests
    missed, scores.missed_seen = total - scores.missed_seen, total
    for gone in decision.departed:
        if gone.lost_requests:
            scores.lose(gone.lost_requests, interrupted=gone.cause in _TAKEN_AWAY)
            missed -= gone.lost_requests
    return max(0.0, missed)


def _kept_by(spec: ModelSpec, decision: Decision) -> tuple[int, int, int, int, int]:
    """Return up to how many replicas the minimum, the floor, the policy, the window and all others keep."""
    stabilized = 0
    if len(decision.trail) > 1:
        for step in decision.trail:
            if step.by is StepBy.STABILIZATION:
                stabilized = step.after
    return (
        spec.min_replicas,
        spec.warm_floor.replicas,
        decision.proposal_replicas or 0,
        stabilized,
        decision.desired_replicas or 0,
    )


def _count_serving(situation: Situation) -> int:
    """Count the replicas that serve where nodes are doomed: those on them do so until they are lost."""
    replicas, doom = situation.observation.replicas, situation.doom
    serving = replicas.ready & ~replicas.deleting
    if doom is not None:
        serving &= ~doom.lost[replicas.node]
    return int(np.count_nonzero(serving))


def _of_one(situation: Situation) -> tuple[float, float]:
    """Return the GPUs and the dollars an hour of one replica, mean over those that are ready."""
    spec, pools = situation.spec, situation.observation.pools
    if len(pools) == 1:
        return float(pools[0].gpus_per_replica), spec.pools[0].price_usd_per_hour or 0.0
    gpus = usd = 0.0
    ready = 0
    for state, priced, seen in zip(situation.pools, spec.pools, pools, strict=True):
        count = state.ready
        if count:
            ready += count
            gpus += count * seen.gpus_per_replica
            usd += count * (priced.price_usd_per_hour or 0.0)
    if not ready:
        return float(pools[0].gpus_per_replica), spec.pools[0].price_usd_per_hour or 0.0
    return gpus / ready, usd / ready


def _priced(spec: ModelSpec) -> bool:
    return None not in [pool.price_usd_per_hour for pool in spec.pools]
