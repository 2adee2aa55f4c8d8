"""One replay of one part under one policy, reduced to what figures and reports need; many, in processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from simulations.agenda import NS
from simulations.field.advise.parts import PartTrace
from simulations.field.advise.scalers.policies import (
    HpaAsWritten,
    RecordedReplicas,
    ScaledObjectAsWritten,
)
from simulations.replay.conditions import Conditions
from simulations.replay.engine_loop import ENGINE_POLICIES
from simulations.replay.replay import run
from simulations.replay.run import Run
from simulations.results.scorecard import Score, latencies, score
from simulations.results.timeline import timeline
from simulations.serving.columns import RequestOutcome
from simulations.world.cold_start import ColdStart

OURS = ENGINE_POLICIES[0]
RECORDED = "as recorded"
NONE = ColdStart(name="none", load_s=0.0, warm_up_s=0.0)
MINUTE_NS = 60 * NS
GAUGES = ("replicas_mean", "running_mean", "waiting_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """One run to be made."""

    model: int
    """Which of the models."""
    part: int
    """Which of its parts."""
    policy: str
    """`inference-aware`, `as recorded`, or the name of a scaler."""
    trace: PartTrace
    conditions: Conditions
    seed: int
    counts: tuple[int, ...] = ()
    """Recorded replicas at the part's points, for `as recorded`."""
    step_s: float = 0.0
    written: HpaAsWritten | ScaledObjectAsWritten | None = None
    with_timeline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """What the run came to. Arrays are of completed requests, except those by minute."""

    replay: ReplayPlan
    row: Score
    ttft_s: FloatArray
    e2e_s: FloatArray
    decode_s: FloatArray
    """From the first token to the last."""
    gaps: IntArray
    """Output tokens less one."""
    minute_requests: IntArray
    """Arrivals of each minute."""
    minute_met: IntArray
    """Those of them that had what they are owed."""
    gauge_means: Mapping[str, float] = field(default_factory=dict)
    """By name of GAUGES, over the fleet, at the recorded moments; of `as recorded` only."""


def play(
    replay: ReplayPlan, /, *, progress: Callable[[float], None] = lambda _: None
) -> ReplayResult:
    """Make one run."""
    recorded = None
    conditions = replay.conditions
    if replay.policy == RECORDED:
        recorded = RecordedReplicas(replay.counts, step_s=replay.step_s)
        # the counts are of ready pods: they come ready
        most = max(conditions.replicas_max, *replay.counts)
        conditions = replace(conditions, cold_start=NONE, replicas_max=most)
    finished = run(
        replay.trace,
        replay.policy,
        seed=replay.seed,
        conditions=conditions,
        make=recorded or replay.written,
        progress=progress,
    )
    row = score(finished)
    if recorded is not None:
        row = _with_starts_paid(row, finished, replay.conditions.cold_start)
    if replay.with_timeline:
        row = replace(row, timeline=timeline(finished))
    return _result(replay, finished, row, recorded)


def _with_starts_paid(row: Score, run: Run, cold_start: ColdStart) -> Score:
    """The score with the starts paid for: recorded counts only show replicas that were ready."""
    hours = row.starts * cold_start.mean_s / 3600
    length_hours = run.end_ns / (3600 * NS)
    return replace(
        row,
        cost_usd=row.cost_usd + hours * run.profile.usd_per_hour,
        gpu_hours=row.gpu_hours + hours * run.profile.gpus,
        replicas_mean=row.replicas_mean + hours / length_hours,
    )


def _result(
    replay: ReplayPlan, finished: Run, row: Score, recorded: RecordedReplicas | None
) -> ReplayResult:
    requests, results = finished.requests, finished.results
    done = results.outcome == RequestOutcome.COMPLETED
    ttft_s, tpot_s = latencies(requests, results)
    limits_s = finished.objective.ttft_limits_s(requests, finished.profile)
    met = done & (ttft_s <= limits_s) & (tpot_s <= finished.objective.tpot_s)
    minutes = max(1, -(-finished.end_ns // MINUTE_NS))
    minute = np.minimum(requests.arrival_ns // MINUTE_NS, minutes - 1)
    return ReplayResult(
        replay=replay,
        row=row,
        ttft_s=ttft_s[done].astype(np.float32),
        e2e_s=((results.finished_ns - requests.arrival_ns)[done] / 1e9).astype(np.float32),
        decode_s=((results.finished_ns - results.first_token_ns)[done] / 1e9).astype(np.float32),
        gaps=np.maximum(requests.output_tokens[done] - 1, 0),
        minute_requests=np.bincount(minute, minlength=minutes),
        minute_met=np.bincount(minute[met], minlength=minutes),
        gauge_means=dict(zip(GAUGES, np.mean(recorded.seen, axis=0).tolist(), strict=True))
        if recorded is not None and recorded.seen
        else {},
    )
