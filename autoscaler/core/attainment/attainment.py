"""The shares of requests within the objective, and what is left of the error budget.

Of each latency the share is told with the interval that the bounds of its histogram leave. A request has
*both* if it ended whole, had its first token in time, and its pace. No page says how many had both, so
misses are added up minute by minute: of first tokens, of paces, and the requests that were aborted or
lost. One that missed twice may be counted twice, so the share that is told is hardly ever more than the
true one; the highest that is possible is told beside it (all misses by the same requests).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from autoscaler.core.attainment.minutes import MinuteMemory, misses, take
from autoscaler.core.attainment.progress import SUMS, ProgressMemory, far_bounds, read_progress
from autoscaler.core.attainment.windows import SPANS_S, WindowMemory, add
from autoscaler.core.contract.decision import (
    AttainedShare,
    Attainment,
    ErrorBudget,
)
from autoscaler.core.contract.spec import Objective
from autoscaler.core.contract.state import FloatArray, ReplicaColumns


class Came(NamedTuple):
    """What one look found."""

    judged: float
    """Requests of which it is known whether they were within the objective; none where no page tells when
    first tokens came."""
    missed: float
    """Of these, the ones that were not."""


@dataclass(slots=True, kw_only=True)
class AttainmentMemory:
    """What is remembered of what one model attained. Part of the engine's memory."""

    objective: Objective | None = None
    """Of which the sums are; another one begins them anew."""
    progress: ProgressMemory = field(default_factory=ProgressMemory)
    minute: MinuteMemory = field(default_factory=MinuteMemory)
    windows: WindowMemory = field(default_factory=WindowMemory)
    missed_before: float = 0.0
    """Misses of all minutes that are over, ever."""
    missed_requests: float = 0.0
    """The same with the minute that is not: only rises."""
    came: Came = field(default_factory=lambda: Came(judged=0.0, missed=0.0))
    """Since the look before the last one."""


class _Sums(NamedTuple):
    """As WINDOW_SUMS, with the misses of the minute that is not over."""

    first_tokens: float
    ttft_low: float
    ttft_within: float
    ttft_high: float
    paced: float
    tpot_low: float
    tpot_within: float
    tpot_high: float
    ended: float
    failed: float
    missed: float
    missed_most: float


def measure_attainment(
    memory: AttainmentMemory,
    *,
    at: float,
    replicas: ReplicaColumns,
    objective: Objective,
    lost: float,
) -> Attainment | None:
    """Take in what came since the last look, once a tick.

    Args:
        memory: of this model; changed.
        at: now, seconds; never before the last call.
        replicas: all pods of the model, also those that leave.
        objective: of the model.
        lost: requests that went with their replicas since the last look, surely.

    Returns:
        None: no page says anything, and none did within the longest window.
    """
    known = memory.objective
    if known is None or (known.ttft_s, known.tpot_s) != (objective.ttft_s, objective.tpot_s):
        memory.windows, memory.minute = WindowMemory(), MinuteMemory()
        memory.missed_before = memory.missed_requests
        if known is not None:
            memory.progress = ProgressMemory(at=memory.progress.at)
    memory.objective = objective
    sums = read_progress(memory.progress, at=at, replicas=replicas, objective=objective, lost=lost)
    memory.came = _came(sums) if replicas.ttft else Came(judged=0.0, missed=0.0)
    for when, came in take(memory.minute, at=at, sums=sums):
        add(memory.windows, at=when, sums=came)
        memory.missed_before += float(came[len(SUMS)])
    about, most = misses(memory.minute)
    memory.missed_requests = max(memory.missed_requests, memory.missed_before + about)
    totals = [
        _Sums._make((*counted, missed + about, missed_most + most))
        for *counted, missed, missed_most in memory.windows.totals.tolist()
    ]
    hour, longest = totals[0], totals[-1]
    if not (longest.first_tokens or longest.paced or replicas.ttft or replicas.tpot):
        return None
    return Attainment(
        ttft=_share(hour.first_tokens, hour.ttft_low, hour.ttft_within, hour.ttft_high),
        tpot=_share(hour.paced, hour.tpot_low, hour.tpot_within, hour.tpot_high),
        both=_both(hour),
        ttft_bounds_s=far_bounds(replicas.ttft, objective.ttft_s),
        tpot_bounds_s=far_bounds((*replicas.tpot, *replicas.token_gaps), objective.tpot_s),
        by_gaps=bool(replicas.token_gaps),
        budgets=tuple(
            [
                _budget(span_s, sums, attainment_ratio=objective.attainment_ratio)
                for span_s, sums in zip(SPANS_S, totals, strict=True)
            ]
        ),
    )


def _came(sums: FloatArray) -> Came:
    """Count the requests of one look, and those that missed anything."""
    first, _, in_time, _, paced, _, in_pace, _, ended, failed = sums.tolist()
    judged = max(first, ended)
    return Came(
        judged=judged, missed=min(judged, max(0.0, first - in_time + paced - in_pace + failed))
    )


def _share(requests: float, low: float, within: float, high: float) -> AttainedShare | None:
    """Return a share; None: there were no requests."""
    if requests <= 0.0:
        return None
    return AttainedShare(
        requests=requests,
        ratio=min(1.0, within / requests),
        low_ratio=min(1.0, low / requests),
        high_ratio=min(1.0, high / requests),
    )


def _judged(sums: _Sums) -> float | None:
    """Return the requests of which it is known whether they had both; None: no page tells.

    Those that had a first token, or those that ended: of the latter some never had one, of the former
    some have not ended.
    """
    if sums.first_tokens <= 0.0 or (sums.paced <= 0.0 and sums.ended > sums.failed):
        return None
    return max(sums.first_tokens, sums.ended)


def _both(sums: _Sums) -> AttainedShare | None:
    requests = _judged(sums)
    if requests is None:
        return None
    # At the least the same requests missed all: those that failed had no pace that could be too slow.
    least = max(sums.first_tokens - sums.ttft_high, sums.paced - sums.tpot_high + sums.failed)
    return AttainedShare(
        requests=requests,
        ratio=max(0.0, 1.0 - sums.missed / requests),
        low_ratio=max(0.0, 1.0 - sums.missed_most / requests),
        high_ratio=max(0.0, 1.0 - least / requests),
    )


def _budget(span_s: int, sums: _Sums, *, attainment_ratio: float) -> ErrorBudget:
    requests = _judged(sums)
    if requests is None:
        return ErrorBudget(
            span_s=span_s, requests=0.0, missed_requests=None, burn_ratio=None, left_ratio=None
        )
    missed = min(requests, sums.missed)
    burn = missed / requests / (1.0 - attainment_ratio)
    return ErrorBudget(
        span_s=span_s,
        requests=requests,
        missed_requests=missed,
        burn_ratio=burn,
        left_ratio=1.0 - burn,
    )
