"""The sums that are kept of fleets in hindsight, and what they say."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from autoscaler.core.contract.hindsight import (
    HindsightPolicy,
    PolicyHindsight,
    WindowHindsight,
)
from autoscaler.core.contract.spec import ModelSpec, Objective
from autoscaler.core.hindsight.recipes import Bounds
from autoscaler.core.hindsight.windows import SPANS_S, HindsightWindows

STATIC_SIZES = 8
"""Static fleets that are played, at most."""
HARDLY = 0.1
"""Of the misses that the objective allows. Judgement."""
COLUMNS = (
    "covered_s",
    "requests",
    "judged",
    "missed",
    "foretold",
    "paid_s",
    "hpa_s",
    "hpa_missed",
    "keda_s",
    "keda_missed",
    "paid_usd",
    "one_usd",
)
"""Sums of a window, then the misses of each static fleet: of the real fleet what histograms judged and found missed, what
the play foretold of it, and its replica-seconds; of the others theirs, and their misses; and what was paid, and what one
replica cost all along, dollars, NaN where a price is not known."""


class HindsightTerms(NamedTuple):
    """What the sums are of; others begin them anew."""

    objective: Objective
    target: float
    sizes: tuple[int, ...]


def static_sizes(spec: ModelSpec) -> tuple[int, ...]:
    """Return the static fleets that are played: each size within the bounds, or so many that grow evenly.

    >>> static_sizes(ModelSpec(namespace="n", name="m", pools=(), max_replicas=5))
    (1, 2, 3, 4, 5)
    >>> static_sizes(ModelSpec(namespace="n", name="m", pools=(), min_replicas=2, max_replicas=100))
    (2, 3, 5, 9, 16, 29, 54, 100)
    """
    return _sizes(*bounds(spec.min_replicas, spec))


@lru_cache(maxsize=256)
def _sizes(least: int, most: int) -> tuple[int, ...]:
    if most - least < STATIC_SIZES:
        return tuple(range(least, most + 1))
    sizes = [least]
    for left in range(STATIC_SIZES - 1, 0, -1):
        grown = sizes[-1] * math.pow(most / sizes[-1], 1.0 / left)
        sizes.append(max(sizes[-1] + 1, round(grown)))
    return tuple(sizes)


def bounds(least: int, spec: ModelSpec) -> Bounds:
    """Return what a fleet is held to that keeps at least so many, and one."""
    least = max(1, least)
    return Bounds(least, max(least, spec.max_replicas))


def tell(
    windows: HindsightWindows, terms: HindsightTerms, *, at: float
) -> tuple[WindowHindsight, ...] | None:
    """Return what is known of each window that ends at `at`; None: nothing of any."""
    totals = windows.totals(at=at)
    if not totals[-1, 0] > 0.0:
        return None
    return tuple(
        [
            _window(span_s, sums, terms=terms)
            for span_s, sums in zip(SPANS_S, totals.tolist(), strict=True)
        ]
    )


def _window(span_s: int, sums: list[float], *, terms: HindsightTerms) -> WindowHindsight:
    (
        covered_s,
        requests,
        judged,
        missed,
        foretold,
        paid_s,
        hpa_s,
        hpa_missed,
        keda_s,
        keda_missed,
        paid_usd,
        one_usd,
    ) = sums[: len(COLUMNS)]
    priced = covered_s > 0.0 and not math.isnan(paid_usd)
    one = one_usd / covered_s if priced else 0.0

    def of(
        policy: HindsightPolicy, replica_s: float, lost: float, replicas: int | None = None
    ) -> PolicyHindsight:
        return PolicyHindsight(
            policy=policy,
            replica_s=replica_s,
            usd=replica_s * one if priced else None,
            attained_ratio=_attained(lost, requests),
            replicas=replicas,
        )

    size, static_missed = _static(sums[len(COLUMNS) :], requests, terms)
    return WindowHindsight(
        span_s=span_s,
        covered_s=covered_s,
        requests=requests,
        foretold_ratio=_attained(foretold, requests),
        policies=(
            PolicyHindsight(
                policy=HindsightPolicy.OWN,
                replica_s=paid_s,
                usd=paid_usd if priced else None,
                attained_ratio=_attained(missed, judged),
            ),
            of(HindsightPolicy.HPA, hpa_s, hpa_missed),
            of(HindsightPolicy.KEDA, keda_s, keda_missed),
            of(HindsightPolicy.STATIC, size * covered_s, static_missed, size),
        ),
    )


def _static(missed: list[float], requests: float, terms: HindsightTerms) -> tuple[int, float]:
    """Return the size of the smallest static fleet that keeps the objective, and its misses.

    Where none does, that of the smallest which misses hardly more than the one that misses least.
    """
    allowed = (1.0 - terms.objective.attainment_ratio) * requests
    limit = max(allowed, min(missed) + HARDLY * allowed)
    return next(
        (size, lost) for size, lost in zip(terms.sizes, missed, strict=True) if lost <= limit
    )


def _attained(missed: float, requests: float) -> float | None:
    return 1.0 - min(1.0, missed / requests) if requests > 0.0 else None
