"""Coefficients that make the serving model's clients see what the log's clients saw.

The model itself is the regression: it serves the log's requests as they were sent, with coefficients that
a simplex search moves until its times to the first token and between tokens are the log's. So queueing,
chunks and batches need no formula, and an overloaded hour says as much as an idle one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import SettingsError
from simulations.field.calibrate.coefficients import (
    Coefficients,
    at_roofline,
    coefficients_of,
    profile_with,
)
from simulations.field.calibrate.request_log import ServedRequests
from simulations.results.scorecard import latencies
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles.hardware import Roofline
from simulations.serving.profiles.profiles import Profile

REQUESTS_MIN = 50
"""Fewer say more about chance than about the engine."""
EVALUATIONS = 500
NOISE_S = 0.002
"""Differences of this size are the client's, not the engine's."""
FAR = 2.0
"""A time that is off by more than this factor counts no more than linearly."""
NO_TIMEOUT_NS = 10**15
LEAST = np.array([1e-3, 1e-3, 1e-3, 100.0, 100_000.0])
"""Of a coordinate before its logarithm is taken: shares above the floor, then nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A profile and how well it tells what was seen. Errors are relative, and signed where so said."""

    profile: Profile
    samples: int
    """Requests, or windows of metrics."""
    residual_ratio: float
    """Median over the samples of the absolute error."""
    ttft_mean_error: float | None
    """Of the mean, signed; None: not compared."""
    tpot_mean_error: float | None
    e2e_mean_error: float | None
    at_roofline: tuple[str, ...] = ()
    """Coefficients that the hardware's roofline kept from being less."""


def fit_log(served: Sequence[ServedRequests], base: Profile, floors: Roofline) -> Fit:
    """Fit the base profile's coefficients to a request log.

    Raises:
        SettingsError: The log has too few requests.
    """
    total = sum(len(part.columns) for part in served)
    if total < REQUESTS_MIN:
        raise SettingsError(
            f"the log has {total} requests; a fit needs at least {REQUESTS_MIN}, better 500 over low "
            "and high load"
        )

    def loss(point: FloatArray) -> float:
        profile = profile_with(base, floors, _coefficients(point, floors))
        errors = np.concatenate([_errors(part, profile) for part in served])
        large = np.abs(errors)
        return float(np.mean(np.where(large < FAR, large**2, FAR * (2 * large - FAR))))

    start = _point(coefficients_of(base), floors)
    best = start
    for spread in (0.7, 0.25):
        # A second, smaller simplex frees the search from where the first one has collapsed.
        simplex = np.vstack([best, best + spread * np.eye(len(best))])
        found = minimize(
            loss,
            best,
            method="Nelder-Mead",
            options={
                "maxfev": EVALUATIONS,
                "initial_simplex": simplex,
                "xatol": 1e-3,
                "fatol": 1e-7,
            },
        )
        best = found.x
    profile = profile_with(base, floors, _coefficients(best, floors))
    return replace(_fit_of(served, profile), at_roofline=at_roofline(profile, floors))


def _fit_of(served: Sequence[ServedRequests], profile: Profile) -> Fit:
    predicted = [_predicted_times(part, profile) for part in served]
    seen = [(part.ttft_s, part.e2e_s, part.tpot_s) for part in served]
    (ttft, e2e, tpot), (seen_ttft, seen_e2e, seen_tpot) = (
        [np.concatenate(times) for times in zip(*parts, strict=True)] for parts in (predicted, seen)
    )
    errors = np.abs(np.concatenate([_errors(part, profile) for part in served]))
    several = ~np.isnan(seen_tpot)
    return Fit(
        profile=profile,
        samples=len(ttft),
        residual_ratio=float(np.expm1(np.median(errors))),
        ttft_mean_error=float(ttft.mean() / seen_ttft.mean() - 1),
        tpot_mean_error=float(tpot[several].mean() / seen_tpot[several].mean() - 1),
        e2e_mean_error=float(e2e.mean() / seen_e2e.mean() - 1),
    )


def _predicted_times(
    part: ServedRequests, profile: Profile
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(TTFT, E2E, TPOT) of one replica's requests, in seconds."""
    fleet = ServingFleet(profile, part.columns, timeout_ns=NO_TIMEOUT_NS)
    fleet.add_replica(0, 0)
    fleet.run_until(NO_TIMEOUT_NS)
    ttft_s, tpot_s = latencies(part.columns, fleet.results)
    return ttft_s, (fleet.results.finished_ns - part.columns.arrival_ns) / 1e9, tpot_s


def _errors(part: ServedRequests, profile: Profile) -> FloatArray:
    """Logarithms of predicted over seen, of the first token and of the time between the others."""
    ttft, _, tpot = _predicted_times(part, profile)
    several = part.columns.output_tokens > 1
    first = np.log((ttft + NOISE_S) / (part.ttft_s + NOISE_S))
    following = np.log((tpot + NOISE_S) / (part.tpot_s + NOISE_S))[several]
    return np.concatenate([first, following])


def _point(found: Coefficients, floors: Roofline) -> FloatArray:
    """Coefficients as a point without bounds: logarithms of what they are above their floors."""
    step, token, kv_token, pause_decode, around = found
    above = (step / floors.step_ns, token / floors.token_ns, kv_token / floors.kv_token_ns)
    point: FloatArray = np.log(
        np.maximum([*(ratio - 1 for ratio in above), pause_decode, around], LEAST)
    )
    return point


def _coefficients(point: FloatArray, floors: Roofline) -> Coefficients:
    step, token, kv_token, pause_decode, around = np.exp(np.clip(point, -30, 30)).tolist()
    return Coefficients(
        step_ns=floors.step_ns * (1 + step),
        token_ns=floors.token_ns * (1 + token),
        kv_token_ns=floors.kv_token_ns * (1 + kv_token),
        pause_decode_ns=pause_decode,
        around_ns=around,
    )
