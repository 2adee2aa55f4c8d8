"""How good a run's decisions turned out to be, by what truly was and, of an engine, as it saw it itself.

Both by the same definitions (`autoscaler.core.scores`): the engine feeds them what pages and the API told
it, and here they are fed, for whoever decided, what the world and the clients' own clocks say. The two
differ by what the engine did not see, and by noise: it measures a smooth load, and here every request
counts from its arrival, so that short excesses, of late capacity above all, are more.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from autoscaler.core.scores.idle_gpu_time import IdleGpuTime
from autoscaler.core.scores.late_capacity import LateCapacity
from autoscaler.core.scores.regretted_scale_downs import RegrettedScaleDowns
from simulations.agenda import NS
from simulations.replay.run import EngineView, Run
from simulations.serving.offered_demand import demand_replicas

TICK_NS = 5 * NS
"""Truth is looked at as often as the engine looks."""
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionScores:
    """By what truly was, of any policy."""

    idle_gpu_hours: float
    """Of whole replicas that served, beyond the demand."""
    idle_usd: float
    """These at the run's mean price of a replica."""
    late_capacity_s: float
    """With demand above the replicas that served while others that were asked for did not yet."""
    late_replica_hours: float
    """What those would have carried."""
    scale_downs: int
    regretted_scale_downs: int
    """Of these, taken back within one mean cold start, whole or in part."""
    regretted_replicas: int
    regretted_gpu_hours: float
    """What their starts cost beyond what giving them up had saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineScores:
    """As the engine saw it. None is unknown."""

    unscored_s: float
    """Of which it knew too little."""
    idle_gpu_hours: dict[str, float]
    """By who kept the replicas: the fields of `IdleGpuSeconds`."""
    late_capacity_s: float
    late_replica_hours: float
    scale_downs: int
    regretted_scale_downs: int
    regretted_replicas: int
    regretted_gpu_hours: float
    missed_requests: dict[str, float]
    """By cause: the fields of `MissedRequests`."""
    forecast_error_ratio: float | None
    forecast_bias_ratio: float | None
    forecast_coverage_ratio: float | None
    forecast_high_coverage_ratio: float | None


def decision_scores(run: Run, *, usd_per_replica_hour: float) -> DecisionScores:
    """Score what was decided in the scored part of a run.

    Args:
        run: A finished one.
        usd_per_replica_hour: What it paid, on average.
    """
    idle, late = IdleGpuTime(), LateCapacity()
    moments_ns = np.arange(run.score_from_ns, run.end_ns, TICK_NS, dtype=np.int64)
    need = demand_replicas(
        run.requests, run.results, run.profile, at_ns=moments_ns, target=run.judged_target
    )
    sizes_ns = [at_ns for at_ns, _ in run.ledger.sizes]
    serving_ns = [at_ns for at_ns, _ in run.ledger.serving]
    for at_ns, needed in zip(moments_ns.tolist(), need.tolist(), strict=True):
        ready = _last(run.ledger.serving, serving_ns, at_ns)
        asked = _last(run.ledger.sizes, sizes_ns, at_ns)
        elapsed_s = min(TICK_NS, run.end_ns - at_ns) / NS
        late.observe(elapsed_s, need=needed, ready=ready, asked=asked)
        idle.observe(
            elapsed_s,
            need=needed,
            ready=ready,
            kept_by=(),
            gpus_per_replica=float(run.profile.gpus),
            usd_per_hour=usd_per_replica_hour,
        )
    regrets = _regrets(run, sizes_ns)
    return DecisionScores(
        idle_gpu_hours=sum(idle.gpu_s) / HOUR_S,
        idle_usd=idle.usd,
        late_capacity_s=late.seconds,
        late_replica_hours=late.replica_s / HOUR_S,
        scale_downs=regrets.scale_downs,
        regretted_scale_downs=regrets.regretted,
        regretted_replicas=regrets.replicas,
        regretted_gpu_hours=regrets.gpu_s / HOUR_S,
    )


def _last(changes: list[tuple[int, int]], moments_ns: list[int], at_ns: int) -> int:
    """What the last change up to a moment made of it; before the first one, 0."""
    place = bisect_right(moments_ns, at_ns)
    return changes[place - 1][1] if place else 0


def _regrets(run: Run, sizes_ns: list[int]) -> RegrettedScaleDowns:
    regrets = RegrettedScaleDowns()
    from_ns = run.score_from_ns
    begins = (from_ns, _last(run.ledger.sizes, sizes_ns, from_ns))
    changes = [change for change in run.ledger.sizes if from_ns < change[0] <= run.end_ns]
    for at_ns, asked in (begins, *changes):
        regrets.observe(
            at_ns / NS,
            asked=asked,
            cold_start_s=run.cold_start_s,
            gpus_per_replica=float(run.profile.gpus),
        )
    return regrets


def engine_scores(view: EngineView) -> EngineScores | None:
    """What the engine counted in the scored part of a run; None: it decided nothing in it."""
    last = view.last
    if last is None or last.scores is None:
        return None
    now, before = last.scores, view.before
    measures = last.measures
    return EngineScores(
        unscored_s=_since(now, before, "unscored_s"),
        idle_gpu_hours={
            keeper: _since(now.idle_gpu_s, before and before.idle_gpu_s, keeper) / HOUR_S
            for keeper in now.idle_gpu_s._fields
        },
        late_capacity_s=_since(now, before, "late_s"),
        late_replica_hours=_since(now, before, "late_replica_s") / HOUR_S,
        scale_downs=int(_since(now, before, "scale_downs")),
        regretted_scale_downs=int(_since(now, before, "regretted_scale_downs")),
        regretted_replicas=int(_since(now, before, "regretted_replicas")),
        regretted_gpu_hours=_since(now, before, "regretted_gpu_s") / HOUR_S,
        missed_requests={
            cause: _since(now.missed_requests, before and before.missed_requests, cause)
            for cause in now.missed_requests._fields
        },
        forecast_error_ratio=measures.forecast_error_ratio,
        forecast_bias_ratio=measures.forecast_bias_ratio,
        forecast_coverage_ratio=measures.forecast_coverage_ratio,
        forecast_high_coverage_ratio=measures.forecast_high_coverage_ratio,
    )


def _since(now: tuple[object, ...], before: tuple[object, ...] | None, name: str) -> float:
    """How much a total rose; None before: it began at zero."""
    began: float = 0.0 if before is None else getattr(before, name)
    total: float = getattr(now, name)
    return total - began
