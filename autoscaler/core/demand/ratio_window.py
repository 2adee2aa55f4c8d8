"""Sums over a sliding span of time.

Ticks come when they come (a notice causes an extra one, a busy machine a late one), so a window is
kept in buckets of time, not in a number of ticks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class RatioWindow:
    """Two sums over the last `span_s` seconds, and their ratio. Part of the engine's memory.

    A bucket leaves as a whole, so the span is met within one bucket's width.
    """

    span_s: float
    bucket_s: float
    _buckets: list[tuple[int, float, float]] = field(default_factory=list)
    """(number, sum of numerators, sum of denominators), ascending; the last one is being filled."""
    _totals: tuple[float, float] = (0.0, 0.0)

    def add(self, at: float, *, numerator: float, denominator: float) -> None:
        """Add to the bucket of `at`, and let go of what is older than the span."""
        number = math.floor(at / self.bucket_s)
        buckets = self._buckets
        if buckets and buckets[-1][0] >= number:
            last, top, bottom = buckets[-1]
            buckets[-1] = (last, top + numerator, bottom + denominator)
            top, bottom = self._totals
            self._totals = (top + numerator, bottom + denominator)
            return
        oldest = number - math.ceil(self.span_s / self.bucket_s)
        # A new bucket: sum anew, so that rounding never accumulates.
        buckets.append((number, numerator, denominator))
        kept = [bucket for bucket in buckets if bucket[0] > oldest]
        self._buckets = kept
        self._totals = (math.fsum(b[1] for b in kept), math.fsum(b[2] for b in kept))

    @property
    def buckets(self) -> Sequence[tuple[int, float, float]]:
        """Return (number, sum of numerators, sum of denominators) of each bucket, ascending."""
        return self._buckets

    @property
    def numerator(self) -> float:
        """Sum of the numerators within the span, as of the last addition."""
        return self._totals[0]

    @property
    def denominator(self) -> float:
        """Sum of the denominators within the span, as of the last addition."""
        return self._totals[1]
