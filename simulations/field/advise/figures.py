"""What the replays of one model come to: a policy's figures, and how far the replay was from the record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray, IntArray
from simulations.field.advise.parts import Part
from simulations.field.advise.replays import GAUGES, ReplayResult
from simulations.field.capture.capture import Capture, Histogram
from simulations.results.scorecard import Quantiles, Score

PER_REQUEST = "vllm:request_time_per_output_token_seconds"
"""The one family of token times that counts requests; the others count tokens."""
QUEUE_MIN = 0.5
"""Waiting requests on average below which a relative error says nothing."""


def weighted_score(played: Sequence[ReplayResult], parts: Sequence[Part]) -> Score:
    """One policy's score: the sum of its parts, each by its weight."""
    weights = [part.weight for part in parts]
    lengths = [w * (part.last - part.first) for w, part in zip(weights, parts, strict=True)]
    scores = [one.row for one in played]

    def total(name: str) -> float:
        return float(np.dot(weights, [getattr(score, name) for score in scores]))

    requests = float(np.dot(weights, [_total(one.minute_requests) for one in played]))
    met = float(np.dot(weights, [_total(one.minute_met) for one in played]))
    worst = [known for score in scores if (known := score.worst_5min_attainment) is not None]
    counted = ("completed", "aborted", "lost", "starts", "flaps")
    counts: dict[str, Any] = {name: round(total(name)) for name in counted}
    return replace(
        scores[0],
        policy=played[0].replay.policy,
        requests=round(requests),
        **counts,
        gpu_hours=total("gpu_hours"),
        cost_usd=total("cost_usd"),
        attainment=met / requests if requests else 1.0,
        ttft_s=_quantiles([one.ttft_s for one in played], weights),
        tpot_s=_quantiles([tpot_s(one) for one in played], weights),
        replicas_mean=float(np.average([score.replicas_mean for score in scores], weights=lengths)),
        replicas_max=max(score.replicas_max for score in scores),
        worst_5min_attainment=min(worst, default=None),
        timeline=next((score.timeline for score in scores if score.timeline is not None), None),
    )


def _total(per_minute: IntArray) -> float:
    return float(per_minute.sum())


def tpot_s(played: ReplayResult) -> FloatArray:
    """Of each completed request with more than one token."""
    several = played.gaps > 0
    paces: FloatArray = played.decode_s[several] / played.gaps[several]
    return paces


def _quantiles(values: Sequence[FloatArray], weights: Sequence[float]) -> Quantiles:
    flat = np.concatenate(values)
    if not len(flat):
        return Quantiles(p50=None, p95=None, p99=None)
    order = np.argsort(flat, kind="stable")
    weight = np.repeat(weights, [len(part) for part in values])[order]
    reached = np.cumsum(weight)
    at = np.searchsorted(reached, np.array([0.5, 0.95, 0.99]) * reached[-1])
    p50, p95, p99 = (float(flat[order[min(i, len(flat) - 1)]]) for i in at)
    return Quantiles(p50=p50, p95=p95, p99=p99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One quantity, as recorded and as the replay of the recorded replicas has it."""

    name: str
    recorded: float | None
    replayed: float | None

    @property
    def error(self) -> float | None:
        """Signed and relative; None: not recorded, or too small to say."""
        least = QUEUE_MIN if self.name == "waiting_mean" else 0.0
        if self.recorded is None or self.replayed is None or self.recorded <= least:
            return None
        return self.replayed / self.recorded - 1.0


def comparisons(
    captured: Capture, parts: Sequence[Part], played: Sequence[ReplayResult]
) -> list[Comparison]:
    """The replay of the recorded replicas against what was recorded, over the same steps."""
    steps = np.zeros(len(captured.arrivals), dtype=np.bool_)
    for part in parts:
        steps[part.first : part.last] = True
    lengths = [float(part.last - part.first) for part in parts]
    replicas, running, waiting = (
        Comparison(
            name=name,
            recorded=float(values[steps & captured.known].mean()),
            replayed=_mean([one.gauge_means.get(name) for one in played], lengths),
        )
        for name, values in zip(
            GAUGES, (captured.replicas, captured.running, captured.waiting), strict=True
        )
    )
    requests = Comparison(
        name="requests",
        recorded=float(captured.arrivals[steps].sum()),
        replayed=float(sum(_total(one.minute_requests) for one in played)),
    )
    return [
        requests,
        replicas,
        *_lengths(captured, steps, played),
        *_latencies(captured, steps, played),
        running,
        waiting,
    ]


def _lengths(
    captured: Capture, steps: BoolArray, played: Sequence[ReplayResult]
) -> Iterator[Comparison]:
    for name in ("prompt_tokens", "output_tokens"):
        recorded = captured.mean(name, steps)
        if recorded is not None:
            drawn = np.concatenate([getattr(one.replay.trace.requests, name) for one in played])
            yield Comparison(name=f"{name}_mean", recorded=recorded, replayed=_mean_of(drawn))


def _latencies(
    captured: Capture, steps: BoolArray, played: Sequence[ReplayResult]
) -> Iterator[Comparison]:
    tpot = captured.histograms.get("tpot_s")
    by_request = tpot is not None and tpot.metric == PER_REQUEST
    paces = np.concatenate([tpot_s(one) for one in played])
    tokens = float(sum(one.gaps.sum() for one in played))
    decode_s = float(sum(one.decode_s.sum(dtype=np.float64) for one in played))
    pace = (_mean_of(paces) if by_request else decode_s / tokens) if tokens else None
    ttft = np.concatenate([one.ttft_s for one in played])
    e2e = np.concatenate([one.e2e_s for one in played])
    for name, values, mean in (
        ("ttft", ttft, _mean_of(ttft)),
        ("tpot", paces, pace),
        ("e2e", e2e, _mean_of(e2e)),
    ):
        histogram = captured.histograms.get(f"{name}_s")
        recorded = None if histogram is None else histogram.mean(steps)
        if histogram is None or recorded is None:
            continue
        yield Comparison(name=f"{name}_mean", recorded=recorded, replayed=mean)
        if name != "tpot" or by_request:
            counts = histogram.counts[steps].sum(axis=0)
            yield Comparison(
                name=f"{name}_p95",
                recorded=bucket_quantile(histogram.bounds, counts, 0.95),
                # through the same buckets: their width is no error of the replay
                replayed=bucket_quantile(histogram.bounds, _counts(values, histogram), 0.95),
            )


def _counts(values: FloatArray, histogram: Histogram) -> FloatArray:
    at = np.searchsorted(histogram.bounds, values)
    return np.bincount(at, minlength=len(histogram.bounds)).astype(np.float64)


def bucket_quantile(bounds: FloatArray, counts: FloatArray, share: float) -> float | None:
    """The quantile as `histogram_quantile` has it: linear inside its bucket; None: beyond the last."""
    total = counts.sum()
    if total <= 0:
        return None
    reached = np.cumsum(counts)
    at = int(np.searchsorted(reached, share * total))
    if at >= len(bounds) or not np.isfinite(bounds[at]):
        return None
    below = float(reached[at - 1]) if at else 0.0
    lower = float(bounds[at - 1]) if at else 0.0
    inside = (share * total - below) / counts[at] if counts[at] > 0 else 1.0
    return float(lower + (bounds[at] - lower) * inside)


def _mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    if not known:
        return None
    return float(np.average([v for v, _ in known], weights=[w for _, w in known]))


def _mean_of(values: FloatArray) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A minute in which too few of the requests that arrived were served as they are owed."""

    at: float
    """Its start, seconds since 1970."""
    requests: int
    shares: tuple[float, ...]
    """Met, by policy, in the order asked."""


def breaches(
    captured: Capture,
    parts: Sequence[Part],
    policies: Sequence[Sequence[ReplayResult]],
    *,
    attainment_ratio: float,
) -> list[Breach]:
    """Every replayed minute in which one of the policies attained less than is owed."""
    found = []
    for number, part in enumerate(parts):
        start = captured.grid.start + part.first * captured.grid.step
        requests = policies[0][number].minute_requests
        shares = np.vstack(
            [played[number].minute_met / np.maximum(requests, 1) for played in policies]
        )
        bad = (requests > 0) & (shares < attainment_ratio).any(axis=0)
        found += [
            Breach(
                at=float(start + 60 * minute),
                requests=int(requests[minute]),
                shares=tuple(float(share) for share in shares[:, minute]),
            )
            for minute in np.flatnonzero(bad)
        ]
    return found
