"""What a run came to: one row per trace, policy and seed, in the JSON schema that others script on.

Every request counts once, at its first arrival: requests = completed + aborted + lost. Attainment is
the share of all of them that met both objectives. Money runs from a node's start, or a pod's binding,
to the pod's end, until the trace's end. Where a first part was played only to fill memories
(`Run.score_from_ns`), a request counts by its arrival, and money, starts, flaps and interruptions by
their moment: nothing of before the border is in any figure.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from autoscaler.core.contract.state import BoolArray, CapacityType, FloatArray, IntArray
from autoscaler.errors import InvariantBroken
from simulations.agenda import NS
from simulations.bounds.figures import BoundFigures, FoundFigures, LookaheadFigures
from simulations.replay.run import Run
from simulations.results.decision_scores import (
    DecisionScores,
    EngineScores,
    decision_scores,
    engine_scores,
)
from simulations.results.text import rounded
from simulations.serving.columns import RequestColumns, RequestOutcome, RequestResults
from simulations.serving.objective import CHUNK
from simulations.serving.profiles.profiles import Profile
from simulations.world.ledger import Payment
from simulations.world.market.prices import spot_usd

SCHEMA = "autoscaler.simulate/v1"
FLAP_NS = 600 * NS
WORST_WINDOW_NS = 300 * NS
WORST_STEP_NS = 60 * NS
"""Windows of five minutes begin at every whole minute of the trace."""
WORST_REQUESTS_MIN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Of a latency over completed requests, seconds; None: there were none."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotFigures:
    """What a spot market did to a run."""

    interruptions: int
    """Nodes noticed or lost that carried a replica."""
    lost_within_notice: int
    """Requests lost on a node that had been noticed."""
    fallback_hours: float
    """Replica-hours on demand beyond those kept there on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The run over time, a few hundred points whatever its length: columns over the same moments."""

    hours: FloatArray
    """Middle of each slot, from the trace's start."""
    on_demand: FloatArray
    """Replicas paid for, mean of the slot."""
    spot: FloatArray
    waiting: FloatArray
    """Requests that have no first token yet, at the slot's middle."""
    ttft_p95_s: FloatArray
    """Of the requests that arrived in the slot; NaN: none was completed."""
    lost: FloatArray
    """Requests lost in the slot."""
    interruptions: FloatArray | None = None
    """Nodes with a replica that were noticed, or lost without a notice, in the slot; None: not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One run."""

    trace: str
    policy: str
    seed: int
    requests: int
    completed: int
    aborted: int
    lost: int
    gpu_hours: float
    cost_usd: float
    attainment: float
    """0 to 1; 1 for a trace without requests."""
    ttft_s: Quantiles
    tpot_s: Quantiles
    """Of requests with more than one output token."""
    replicas_mean: float
    """Paid ones, over the trace."""
    replicas_max: int
    """Most paid at once."""
    starts: int
    flaps: int
    worst_5min_attainment: float | None
    """Of all windows of five minutes with at least 50 arrivals; None: there is none."""
    wall_s: float
    spot: SpotFigures | None = None
    """With `--spot`."""
    setting: str | None = None
    """With `--sweep`: `default`, or the `best` of a baseline's settings in hindsight."""
    parameters: Mapping[str, float] | None = None
    """With `--sweep`: those that differ from the default."""
    bound: BoundFigures | None = None
    """With `--bounds`."""
    attainment_unlimited: float | None = None
    """With `--bounds`: of a fleet without limit."""
    lookahead: LookaheadFigures | None = None
    """With `--bounds`: the same trace and seed under a perfect forecast of one cold start."""
    found: FoundFigures | None = None
    """With `--bounds`: the cheapest schedules that were found on the same trace and seed."""
    score_from_s: float = 0.0
    """With `--score-from`: what was played before is in no figure."""
    goodput_per_gpu: float | None = None
    """Requests a second that met their objective, per average GPU paid for; None: none was."""
    starts_per_day: float | None = None
    """None: the trace has no length."""
    scores: DecisionScores | None = None
    """How good the decisions turned out to be; None: an older row, or none of a run."""
    engine_scores: EngineScores | None = None
    """The same as the engine saw it; None: of a baseline."""
    timeline: Timeline | None = None
    """With `--report`: the run over time. Not in the published schema."""

    @property
    def attainment_relative(self) -> float | None:
        """Of what an unlimited fleet attains; None: without `--bounds`, or it attains nothing."""
        if not self.attainment_unlimited:
            return None
        return self.attainment / self.attainment_unlimited

    def to_json(self) -> dict[str, object]:
        """The row in the published schema."""
        plain = {name: rounded(getattr(self, name, None)) for name in _PUBLISHED}
        plain["replicas"] = {"mean": rounded(self.replicas_mean), "max": self.replicas_max}
        plain["wall_s"] = round(self.wall_s, 3)
        for name in ("scores", "engine_scores"):
            if getattr(self, name) is not None:
                plain[name] = rounded(getattr(self, name))
        if self.score_from_s:
            plain["score_from_s"] = rounded(self.score_from_s)
        if self.setting is not None:
            plain |= {"setting": self.setting, "parameters": dict(self.parameters or {})}
        if self.spot is not None:
            plain |= {f.name: rounded(getattr(self.spot, f.name)) for f in fields(self.spot)}
        if self.bound is not None and self.attainment_unlimited is not None:
            for name in ("bound", "attainment_unlimited", "attainment_relative"):
                plain[name] = rounded(getattr(self, name))
        if self.lookahead is not None:
            plain["lookahead"] = rounded(self.lookahead)
        if self.found is not None:
            plain["found"] = rounded(self.found)
        return plain


_PUBLISHED = (
    *("trace", "policy", "seed", "requests", "completed", "aborted", "lost"),
    *("gpu_hours", "cost_usd", "attainment", "ttft_s", "tpot_s", "replicas"),
    *("starts", "starts_per_day", "flaps", "worst_5min_attainment", "goodput_per_gpu", "wall_s"),
)
"""Of every row, in this order."""


def score(run: Run) -> Score:
    """Score a finished run.

    Raises:
        InvariantBroken: A request was not decided, or not counted exactly once.
    """
    decided = int(np.count_nonzero(run.results.outcome != RequestOutcome.PENDING))
    if decided != len(run.requests):
        raise InvariantBroken(
            f"{run.trace}, {run.policy}, seed {run.seed}: of {len(run.requests)} requests "
            f"{decided} were completed, aborted or lost; the serving model lost count"
        )
    from_ns = run.score_from_ns
    rows = run.requests.rows_from(from_ns)
    requests, results = run.requests.part(rows), run.results.part(rows)
    counts = {kind: int(np.count_nonzero(results.outcome == kind)) for kind in RequestOutcome}
    completed = results.outcome == RequestOutcome.COMPLETED
    met = _met(run, requests, results)
    payments = run.ledger.closed(from_ns=from_ns, at_ns=run.end_ns)
    replica_hours = sum(p.to_ns - p.from_ns for p in payments) / (3600 * NS)
    gpu_hours = replica_hours * run.profile.gpus
    cost = cost_usd(payments, run.profile)
    hours = (run.end_ns - from_ns) / (3600 * NS)
    starts = sum(at_ns >= from_ns for at_ns in run.ledger.started_ns)
    return Score(
        trace=run.trace,
        policy=run.policy,
        seed=run.seed,
        requests=len(requests),
        completed=counts[RequestOutcome.COMPLETED],
        aborted=counts[RequestOutcome.ABORTED],
        lost=counts[RequestOutcome.LOST],
        gpu_hours=gpu_hours,
        cost_usd=cost,
        attainment=float(np.mean(met)) if len(met) else 1.0,
        ttft_s=quantiles(_ttft_s(requests, results)[completed]),
        tpot_s=quantiles(_tpot_s(requests, results)[completed & (requests.output_tokens > 1)]),
        replicas_mean=replica_hours / hours if hours else 0.0,
        replicas_max=most_at_once(payments),
        starts=starts,
        flaps=run.ledger.flaps(within_ns=FLAP_NS, from_ns=from_ns),
        worst_5min_attainment=worst_window(
            requests.arrival_ns - from_ns, met, end_ns=run.end_ns - from_ns
        ),
        wall_s=run.wall_s,
        spot=None if run.on_demand_kept is None else spot_figures(run, results, payments),
        score_from_s=from_ns / NS,
        goodput_per_gpu=float(np.count_nonzero(met)) / (gpu_hours * 3600) if gpu_hours else None,
        starts_per_day=starts * 24.0 / hours if hours else None,
        scores=decision_scores(
            run, usd_per_replica_hour=cost / replica_hours if replica_hours else 0.0
        ),
        engine_scores=engine_scores(run.engine),
    )


def spot_figures(run: Run, results: RequestResults, payments: list[Payment]) -> SpotFigures:
    """Figures of a run with a spot market, of its scored requests and payments."""
    kept_ns = (run.on_demand_kept or 0) * (run.end_ns - run.score_from_ns)
    lost = results.replica[results.outcome == RequestOutcome.LOST]
    return SpotFigures(
        interruptions=sum(at_ns >= run.score_from_ns for at_ns in run.ledger.interrupted_ns),
        lost_within_notice=int(np.isin(lost, list(run.ledger.ended_in_notice)).sum()),
        fallback_hours=max(0, _on_demand_ns(payments) - kept_ns) / (3600 * NS),
    )


def latencies(requests: RequestColumns, results: RequestResults) -> tuple[FloatArray, FloatArray]:
    """Time to first token and time per further token of each request, seconds.

    Only rows of completed requests mean anything.
    """
    return _ttft_s(requests, results), _tpot_s(requests, results)


def _ttft_s(requests: RequestColumns, results: RequestResults) -> FloatArray:
    ttft: FloatArray = (results.first_token_ns - requests.arrival_ns) / 1e9
    return ttft


def _tpot_s(requests: RequestColumns, results: RequestResults) -> FloatArray:
    tpot: FloatArray = (results.finished_ns - results.first_token_ns) / 1e9
    tpot /= np.maximum(requests.output_tokens - 1, 1)
    return tpot


def _met(run: Run, requests: RequestColumns, results: RequestResults) -> BoolArray:
    """Which requests met both objectives; in chunks, so that not all latencies are in memory at once."""
    met = np.empty(len(requests), dtype=np.bool_)
    for first in range(0, len(met), CHUNK):
        rows = slice(first, first + CHUNK)
        part, ended = requests.part(rows), results.part(rows)
        ttft_s, tpot_s = latencies(part, ended)
        limits_s = run.objective.ttft_limits_s(part, run.profile)
        met[rows] = (
            (ended.outcome == RequestOutcome.COMPLETED)
            & (ttft_s <= limits_s)
            & (tpot_s <= run.objective.tpot_s)
        )
    return met


def quantiles(values: FloatArray) -> Quantiles:
    """Median, 95 % and 99 % quantile."""
    if not len(values):
        return Quantiles(p50=None, p95=None, p99=None)
    p50, p95, p99 = (float(q) for q in np.quantile(values, (0.5, 0.95, 0.99)))
    return Quantiles(p50=p50, p95=p95, p99=p99)


def worst_window(arrival_ns: IntArray, met: BoolArray, *, end_ns: int) -> float | None:
    """Lowest attainment of any five minutes with enough arrivals to judge; None: there are none."""
    starts = np.arange(0, max(1, end_ns - WORST_WINDOW_NS + 1), WORST_STEP_NS)
    first = np.searchsorted(arrival_ns, starts, side="left")
    last = np.searchsorted(arrival_ns, starts + WORST_WINDOW_NS, side="left")
    total = np.concatenate([[0], np.cumsum(met)])
    enough = last - first >= WORST_REQUESTS_MIN
    if not enough.any():
        return None
    shares = (total[last] - total[first])[enough] / (last - first)[enough]
    return float(shares.min())


def cost_usd(payments: list[Payment], profile: Profile) -> float:
    """What the payments come to at the profile's prices."""
    spot = sum(
        spot_usd(profile, from_ns=p.from_ns, to_ns=p.to_ns)
        for p in payments
        if p.capacity_type is CapacityType.SPOT
    )
    return _on_demand_ns(payments) * profile.usd_per_hour / (3600 * NS) + spot


def _on_demand_ns(payments: list[Payment]) -> int:
    paid = (p for p in payments if p.capacity_type is CapacityType.ON_DEMAND)
    return sum(p.to_ns - p.from_ns for p in paid)


def most_at_once(payments: list[Payment]) -> int:
    """Largest number of replicas paid for at the same time."""
    changes = sorted([(p.from_ns, 1) for p in payments] + [(p.to_ns, -1) for p in payments])
    return max(itertools.accumulate(change for _, change in changes), default=0)
