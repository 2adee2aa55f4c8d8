"""How long a request is served: the mean service time, measured and chosen.

It turns arrivals per second into requests that are in flight (Little's law), and so into work.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.core.contract.spec import Targets
from autoscaler.core.demand.ratio_window import RatioWindow
from autoscaler.core.tuning import TUNING


def _window() -> RatioWindow:
    return RatioWindow(span_s=TUNING.service_time_span_s, bucket_s=TUNING.service_time_bucket_s)


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

    @property
    def calm_s(self) -> float | None:
        """Mean service time where replicas hold about what they are to hold; None: not seen lately."""
        return _mean_s(self.calm_window)


def measure_service_time(
    memory: ServiceTimeMemory, *, at: float, busy_s: float, completed: float, crowded: bool
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
    """
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

    Requests stay longer where more run together, so in an overload the measured one, times the
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
    measured, calm = memory.measured_s, memory.calm_s
    if measured is None or calm is None or arrivals_per_s is None or calm >= measured:
        return measured
    target = targets.in_flight_requests * ready
    longer = running_requests > TUNING.crowded_ratio * target and arrivals_per_s * calm <= target
    return measured if longer else calm


def _mean_s(window: RatioWindow) -> float | None:
    if window.denominator < TUNING.completions_min or window.numerator <= 0.0:
        return None
    return window.numerator / window.denominator
