"""Coefficients from an engine's metrics, window by window: how long its steps took, and with what in them.

`vllm:iteration_tokens_total` counts the engine's steps and says how many tokens they had. In a window
in which the engine was never idle the mean time from step to step is the window's length over its steps,
and that is linear in what the steps held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from autoscaler.core.contract.state import BoolArray, FloatArray
from autoscaler.errors import SettingsError
from simulations.field.calibrate.coefficients import (
    Coefficients,
    at_roofline,
    coefficients_of,
    profile_with,
)
from simulations.field.calibrate.log_fit import Fit
from simulations.serving.profiles.hardware import Roofline
from simulations.serving.profiles.profiles import Profile

WINDOWS_MIN = 20
STEPS_MIN = 20
"""Of a window; fewer say little about a mean, and perhaps the engine was idle."""
PRIOR_WINDOWS = 0.5
"""What the base profile weighs: it decides only what the windows leave open."""
PARTS = 8
"""Of a bucket, between whose bounds anything is as likely."""
ROUNDS = 6
"""The flat part follows from the coefficients and they from it; a few rounds settle it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricWindows:
    """What one or several engines did; one row a window of one of them."""

    length_s: FloatArray
    steps: FloatArray
    bounds: FloatArray
    """Upper bounds of the buckets of tokens in a step; the last is infinite."""
    step_tokens: FloatArray
    """(windows, buckets): steps by tokens in them, not cumulated."""
    tokens: FloatArray
    """Sum over the steps, prefix hits left out."""
    generated_tokens: FloatArray
    running_least: FloatArray
    """The fewest running requests seen at its ends."""
    kv_tokens: FloatArray
    """Mean tokens in the KV cache."""
    prompt_tokens: FloatArray
    """Mean length of a prompt."""
    outside_s: float
    """Mean time to the first token that is neither in the queue's histogram nor in the prefill's,
    over the whole span; NaN: unknown."""

    def busy(self) -> BoolArray:
        """Windows that can be used: the engine was never idle in them, as far as can be told."""
        return (
            (self.running_least >= 1)
            & (self.steps >= STEPS_MIN)
            & (self.generated_tokens > 0)
            & np.isfinite(self.length_s + self.kv_tokens + self.tokens + self.prompt_tokens)
        )


def fit_windows(windows: MetricWindows, base: Profile, floors: Roofline) -> Fit:
    """Fit the base profile's coefficients to windows of metrics.

    Raises:
        SettingsError: Too few of them can be used.
    """
    busy = windows.busy()
    if busy.sum() < WINDOWS_MIN:
        raise SettingsError(
            f"{int(busy.sum())} of {len(busy)} windows had a busy engine and all of its metrics; a fit "
            f"needs {WINDOWS_MIN}: take a longer span, a loaded one, or a wider --step"
        )
    period_ns = windows.length_s[busy] / windows.steps[busy] * 1e9
    found = coefficients_of(base)
    for _ in range(ROUNDS):
        table = _features(windows, profile_with(base, floors, found), floors)[busy]
        found = _solve(table, period_ns, floors, coefficients_of(base))
    if np.isfinite(windows.outside_s):
        wait_ns = _wait_ns(windows, busy, profile_with(base, floors, found))
        found = found._replace(around_ns=max(0.0, windows.outside_s * 1e9 - wait_ns))
    profile = profile_with(base, floors, found)
    table = _features(windows, profile, floors)[busy]
    predicted = table @ np.array(coefficients_of(profile)[:4])
    return Fit(
        profile=profile,
        samples=int(busy.sum()),
        residual_ratio=float(np.median(np.abs(predicted / period_ns - 1))),
        ttft_mean_error=None,
        tpot_mean_error=float(predicted.sum() / period_ns.sum() - 1),
        e2e_mean_error=None,
        at_roofline=at_roofline(profile, floors),
    )


def _wait_ns(windows: MetricWindows, busy: BoolArray, profile: Profile) -> float:
    """How long a request waits for the step under way to end, before any histogram begins.

    Half a step's time, weighed by that time: who comes, comes more likely in a long one.
    """
    counts, chunks, beyond_full, beyond_last = _chunks(windows, profile)
    decodes = windows.generated_tokens / np.maximum(windows.steps, 1.0)
    context = profile.kv_token_ns * windows.kv_tokens
    fixed = (profile.step_ns + context + profile.pause_decode_ns * decodes)[:, None]
    full, last = (fixed + profile.token_ns * beyond for beyond in (beyond_full, beyond_last))
    squares = (counts * (chunks * full**2 + last**2))[busy].sum()
    lengths = (counts * (chunks * full + last))[busy].sum()
    return float(squares / (2 * lengths))


def _features(windows: MetricWindows, profile: Profile, floors: Roofline) -> FloatArray:
    """Per step of each window: 1, tokens beyond the flat part (with attention), context, decodes."""
    steps = np.maximum(windows.steps, 1.0)
    decodes = windows.generated_tokens / steps
    counts, chunks, full, last = _chunks(windows, profile)
    beyond = (counts * (chunks * full + last)).sum(axis=1)
    prefilled = np.maximum(0.0, windows.tokens - windows.generated_tokens)
    pairs = prefilled * windows.prompt_tokens / 2
    attention = pairs * (floors.attention_ps / 1000 / floors.token_ns)
    return np.column_stack(
        [np.ones(len(steps)), (beyond + attention) / steps, windows.kv_tokens, decodes]
    )


def _spread(windows: MetricWindows) -> tuple[FloatArray, FloatArray]:
    """(tokens, steps) of each part of each bucket, of each window."""
    lower = np.concatenate([[0.0], windows.bounds[:-1]])
    upper = np.where(np.isfinite(windows.bounds), windows.bounds, 2 * lower)
    counted = windows.step_tokens @ ((lower + upper) / 2)
    # Buckets are wide: what they say of the spread is kept, what the sum says of the mean is right.
    scale = np.where(counted > 0, windows.tokens / np.maximum(counted, 1.0), 1.0)
    parts = (np.arange(PARTS) + 0.5) / PARTS
    middles = (lower[:, None] + (upper - lower)[:, None] * parts).ravel()
    return scale[:, None] * middles, np.repeat(windows.step_tokens, PARTS, axis=1) / PARTS


def _chunks(
    windows: MetricWindows, profile: Profile
) -> tuple[FloatArray, FloatArray, int, FloatArray]:
    """(steps, full chunks of each, tokens beyond the flat part of those and of the last one).

    vLLM counts a whole prompt in the step of its first token, but computes no more than the budget in
    one: the rest was computed in steps before, which were counted with their decodes alone.
    """
    tokens, counts = _spread(windows)
    decodes = (windows.generated_tokens / np.maximum(windows.steps, 1.0))[:, None]
    room = np.maximum(1.0, profile.step_tokens_max - decodes)
    chunks = np.maximum(0.0, np.floor((tokens - decodes) / room))
    rest = np.maximum(0.0, tokens - decodes - chunks * room)
    full = max(0, profile.step_tokens_max - profile.flat_tokens)
    return counts, chunks, full, np.maximum(0.0, rest + decodes - profile.flat_tokens)


def _solve(
    table: FloatArray, period_ns: FloatArray, floors: Roofline, prior: Coefficients
) -> Coefficients:
    """Least squares of relative errors, above the floors, pulled a little to where it started."""
    least = np.array([floors.step_ns, floors.token_ns, floors.kv_token_ns, 0.0])
    start = np.array(prior[:4], dtype=np.float64)
    rows = table / period_ns[:, None]
    pull = np.sqrt(PRIOR_WINDOWS) * np.diag(1 / np.maximum(start, 1.0))
    wanted = 1.0 - rows @ least
    above, _ = nnls(np.vstack([rows, pull]), np.concatenate([wanted, pull @ (start - least)]))
    return Coefficients._make([*(least + above).tolist(), prior.around_ns])
