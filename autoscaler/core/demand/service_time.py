"""How long a request is served: the mean service time, measured and chosen.

It turns arrivals per second into requests that are in flight (Little's law), and so into work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autoscaler.core.contract.spec import Targets
from autoscaler.core.demand.ratio_window import RatioWindow
from autoscaler.core.tuning import TUNING


def _window() -> RatioWindow:
    return RatioWindow(span_s=TUNING.service_time_span_s, bucket_s=TUNING.service_time_bucket_s)


@dataclass(slots=True, kw_only=True)
class BatchLine:
    """A line through times per token over the batches they were measured in, by decayed least squares.

    Of generated tokens, so that answers that become longer are not taken for a batch that slows them down. Part of the engine's memory.
    """

    since: float | None = None
    """Seconds; when the minute that is being filled began."""
    busy_s: float = 0.0
    """Running request-seconds in it."""
    tokens: float = 0.0
    completed: float = 0.0
    replica_s: float = 0.0
    sums: tuple[float, float, float, float, float, float, float] = (0.0,) * 7
    """Minutes; weights; and weighted: batches, times, batches squared, products of the two, times squared."""
    slope_s: float = field(init=False)
    """Seconds by which each request that runs beside it lengthens a token; 0 where that is not sure. It follows from the
    sums, which are other ones once a minute; it is asked for on every tick."""

    def __post_init__(self) -> None:
        self.slope_s = self._slope_s()

    def add(
        self, at: float, *, busy_s: float, tokens: float, completed: float, replica_s: float
    ) -> None:
        """Take in one tick; a minute of them makes a point."""
        if self.since is None:
            self.since = at
        self.busy_s += busy_s
        self.tokens += tokens
        self.completed += completed
        self.replica_s += replica_s
        passed_s = at - self.since
        if passed_s < TUNING.service_time_bucket_s:
            return
        left = math.exp(-passed_s / TUNING.batch_line_s)
        sums = [left * each for each in self.sums]
        if self.tokens > 0.0 and self.replica_s > 0.0 and self.completed > 0.0:
            batch, took_s = self.busy_s / self.replica_s, self.busy_s / self.tokens
            told = min(self.completed, TUNING.batch_line_requests)
            point = (1.0, batch, took_s, batch * batch, batch * took_s, took_s * took_s)
            sums[0] += 1.0
            for place, value in enumerate(point, start=1):
                sums[place] += told * value
        self.sums = (sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6])
        self.slope_s = self._slope_s()
        self.since, self.busy_s, self.tokens, self.completed, self.replica_s = (
            at,
            0.0,
            0.0,
            0.0,
            0.0,
        )

    def _slope_s(self) -> float:
        minutes, weight = self.sums[:2]
        if minutes < TUNING.batch_line_minutes or weight <= 0.0:
            return 0.0
        x, y, xx, xy, yy = [each / weight for each in self.sums[2:]]
        spread = xx - x * x
        if spread <= TUNING.batch_line_spread:
            return 0.0
        together = xy - x * y
        rest = max(0.0, yy - y * y - together * together / spread)
        error_s = math.sqrt(rest / spread / (minutes - 2.0))
        slope_s = together / spread
        return slope_s if slope_s > TUNING.batch_line_errors * error_s else 0.0


@dataclass(slots=True, kw_only=True)
class ServiceTimeMemory:
    """Running request-seconds over completions of the last quarter of an hour.

    Their ratio is the mean service time. Part of the engine's memory.
    """

    window: RatioWindow = field(default_factory=_window)
    measured_s: float | None = None
    """Mean service time; the last one known when completions are too rare to measure it anew. None:
    it was never known."""
    calm_window: RatioWindow = field(default_factory=_window)
    """Of the ticks on which the replicas were not crowded."""

    batch: RatioWindow = field(default_factory=_window)
    """Running request-seconds over replica-seconds: how many ran together."""
    tokens: RatioWindow = field(default_factory=_window)
    """Generated tokens over completions; tokens are not counted by every engine."""
    line: BatchLine = field(default_factory=BatchLine)
    """How the time of a token grew with the batch."""

    @property
    def alone_s(self) -> float | None:
        """What a request takes alone: the measured time without what its batch added. None: not known."""
        measured_s = self.measured_s
        if measured_s is None or self.batch.denominator <= 0.0 or self.tokens.denominator <= 0.0:
            return measured_s
        batch = self.batch.numerator / self.batch.denominator
        added_s = self.line.slope_s * batch * self.tokens.numerator / self.tokens.denominator
        return max(TUNING.alone_ratio_min * measured_s, measured_s - added_s)

    @property
    def calm_s(self) -> float | None:
        """Mean service time where replicas hold about what they are to hold; None: not seen lately."""
        return _mean_s(self.calm_window)


def measure_service_time(
    memory: ServiceTimeMemory,
    *,
    at: float,
    busy_s: float,
    completed: float,
    crowded: bool,
    replica_s: float = 0.0,
    tokens: float = math.nan,
) -> None:
    """Measure the mean service time by Little's law: running request-seconds over completions.

    Waiting is no service, so a queue does not lengthen it; prefill is, so long prompts do. Running
    time of requests that died with their replica counts without a completion, which is how the mean
    of a censored sample is estimated. The trapezoid of two samples stands for the time between.

    Args:
        memory: of this model; changed.
        at: now, seconds.
        busy_s: running request-seconds since the last tick.
        completed: requests that were finished since.
        crowded: whether replicas hold much more than they are to hold.
        replica_s: seconds that replicas served since, summed over them.
        tokens: generated since; NaN: not counted.
    """
    if not math.isnan(tokens):
        memory.line.add(at, busy_s=busy_s, tokens=tokens, completed=completed, replica_s=replica_s)
        memory.batch.add(at, numerator=busy_s, denominator=replica_s)
        memory.tokens.add(at, numerator=tokens, denominator=completed)
    memory.window.add(at, numerator=busy_s, denominator=completed)
    memory.calm_window.add(
        at, numerator=0.0 if crowded else busy_s, denominator=0.0 if crowded else completed
    )
    measured_s = _mean_s(memory.window)
    if measured_s is not None:
        memory.measured_s = measured_s


def choose_service_time(
    memory: ServiceTimeMemory,
    *,
    arrivals_per_s: float | None,
    running_requests: float,
    ready: int,
    targets: Targets,
) -> float | None:
    """Choose the service time that says how much work arrives; None: it is not known.

    Requests stay longer where more run together: by how much, a line through what was measured says, and it is
    what one would take alone that counts. Before that is known, in an overload the measured one, times the
    arrivals, asks for up to twice the replicas that would serve them in time; and what the forecast
    learnt then would stay for hours. So it is that of calm times, as long as they are not long ago:
    but where it says that what is there suffices, and it is crowded all the same, the requests
    themselves have become longer, and the measured one holds.

    Args:
        memory: of this model.
        arrivals_per_s: over all replicas; None: unknown.
        running_requests: over all replicas that answer.
        ready: replicas that are ready and not deleting.
        targets: what one replica carries.
    """
    measured, calm, alone = memory.measured_s, memory.calm_s, memory.alone_s
    if measured is None or calm is None or arrivals_per_s is None or calm >= measured:
        return alone
    target = targets.in_flight_requests * ready
    longer = running_requests > TUNING.crowded_ratio * target and arrivals_per_s * calm <= target
    return alone if longer or alone is None else min(alone, calm)


def _mean_s(window: RatioWindow) -> float | None:
    if window.denominator < TUNING.completions_min or window.numerator <= 0.0:
        return None
    return window.numerator / window.denominator
