"""A recorded run against what the serving model makes of its requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulations.serving.fleet import ServingFleet
from simulations.studies.fidelity.fit import FittedCoefficients, Speed, profile_of
from simulations.studies.fidelity.runs import MeasuredRun, latency_figures

NO_TIMEOUT_NS = 10**13


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Signed and relative: (predicted - measured) / measured. None: nothing to compare with."""

    run: str
    mode: str
    """`blind`: the calibration's speed. `told`: the speed of the run's own step log."""
    requests: int
    ttft_mean_error: float | None
    ttft_p95_error: float | None
    tpot_mean_error: float | None
    e2e_mean_error: float | None
    waiting_mean_error: float | None
    preemptions: int
    preemptions_measured: int
    preemptions_error: float | None
    prefix_hit_tokens_error: float | None
    speed_reading: float
    """What was told: factors on the calibration's times, 1 where the prediction is blind."""
    speed_arithmetic: float
    speed_pause: float


def predict(run: MeasuredRun, fitted: FittedCoefficients, speed: Speed, *, mode: str) -> Errors:
    """Serve the run's requests as they were sent, and compare those that came whole."""
    fleet = ServingFleet(
        profile_of(run, fitted, speed),
        run.columns,
        routing="least-outstanding",
        timeout_ns=NO_TIMEOUT_NS,
        retries=0,
    )
    fleet.add_replica(0, 0)
    waiting = np.zeros(len(run.sampled_s))
    for index, moment in enumerate(run.sampled_s):
        fleet.run_until(int(moment * 1e9))
        waiting[index] = fleet.gauges(0).waiting_requests
    fleet.run_until(NO_TIMEOUT_NS)
    gauges = fleet.gauges(0)
    arrival = run.columns.arrival_ns
    ttft = (fleet.results.first_token_ns - arrival) / 1e9
    e2e = (fleet.results.finished_ns - arrival) / 1e9
    whole, output_tokens = run.whole, run.columns.output_tokens[run.whole]
    predicted = latency_figures(ttft[whole], e2e[whole], output_tokens)
    measured = latency_figures(run.ttft_s[whole], run.e2e_s[whole], output_tokens)
    return Errors(
        run=run.name,
        mode=mode,
        requests=int(whole.sum()),
        **{f"{name}_error": _error(value, measured[name]) for name, value in predicted.items()},
        waiting_mean_error=_error(waiting.mean(), run.waiting.mean()),
        preemptions=round(gauges.preemptions_total),
        preemptions_measured=round(run.preemptions),
        preemptions_error=_error(gauges.preemptions_total, run.preemptions),
        prefix_hit_tokens_error=_error(gauges.prefix_hit_tokens_total, run.prefix_hit_tokens),
        speed_reading=speed.reading,
        speed_arithmetic=speed.arithmetic,
        speed_pause=speed.pause,
    )


def _error(predicted: float, measured: float) -> float | None:
    return float(predicted / measured - 1.0) if measured > 0 else None
