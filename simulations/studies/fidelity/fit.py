"""Coefficients of a profile from an engine's own step log, bounded by what the hardware allows.

The step log has per step the requests and tokens in prefill and in decode, its time, and the share of
KV blocks in use. A step's time is linear in what it did but for the flat part T0, which is tried out:

    elapsed = a + s * max(0, tokens - T0) + c * kv + h * pairs + q * prefills

with no negative coefficient. Means are kept (least squares, not medians): what a replica gets done is
decided by how long its steps take in sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from autoscaler.core.contract.state import BoolArray, FloatArray
from autoscaler.errors import SettingsError
from simulations.serving.profiles.profiles import Profile
from simulations.studies.fidelity.runs import MeasuredRun

FLAT_TOKENS = tuple(range(1, 17))
ARTEFACT_RATIO = 0.6
"""A step logged as quicker than this share of its kind was logged late: what it really took is in the
gap before it. Its own time says nothing; the sum of both does."""
SOLVED = ("step_s", "token_s", "kv_token_s", "pair_s", "prefill_request_s")
ARITHMETIC = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
"""Which of them are arithmetic (1) and which are reading."""
PAUSE_S_MAX = 1.0
"""A longer gap is a stall of the machine, not a pause of the engine."""
MEMORY_BYTES_PER_S_MAX = 4e11
"""No machine with one socket's memory reads faster: a floor under `a` and `c`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCoefficients:
    """One model on one machine, in seconds; by default nothing takes any time."""

    step_s: float = 0.0
    token_s: float = 0.0
    flat_tokens: int = 0
    kv_token_s: float = 0.0
    pair_s: float = 0.0
    prefill_request_s: float = 0.0
    pause_s: float = 0.0
    pause_decode_s: float = 0.0
    before_s: float = 0.0
    after_s: float = 0.0
    residual_ratio: float = 0.0
    """Mean absolute error of the steps' times over their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast the machine was in one run: three factors on the coefficients, 1 as fitted."""

    reading: float = 1.0
    arithmetic: float = 1.0
    pause: float = 1.0


def fit(runs: Sequence[MeasuredRun]) -> FittedCoefficients:
    """Fit one model's coefficients on its calibration runs.

    Raises:
        SettingsError: There are none.
    """
    if not runs:
        raise SettingsError(
            "there is no calibration run of this model; record one (a closed loop over phases)"
        )
    elapsed = np.concatenate([run.steps.elapsed_s for run in runs])
    floors = _floors(runs[0])
    tables = {flat: np.vstack([_features(run, flat) for run in runs]) for flat in FLAT_TOKENS}
    solved = {flat: _solve(table, elapsed, floors) for flat, table in tables.items()}
    flat = min(solved, key=lambda flat: solved[flat][1])
    values, _ = solved[flat]
    expected = tables[flat] @ values
    sound = elapsed > ARTEFACT_RATIO * expected
    residual = float(np.abs(expected - elapsed)[sound].mean() / elapsed[sound].mean())
    pause_s, pause_decode_s, factor = _fit_pause(runs, flat, values)
    values = np.where(ARITHMETIC > 0, values * factor, values)
    before_s, after_s = _fit_around(runs)
    return FittedCoefficients(
        **dict(zip(SOLVED, values.tolist(), strict=True)),
        flat_tokens=flat,
        pause_s=pause_s,
        pause_decode_s=pause_decode_s,
        before_s=before_s,
        after_s=after_s,
        residual_ratio=residual,
    )


def speed_of(run: MeasuredRun, fitted: FittedCoefficients) -> Speed:
    """The machine's speed in a run, from its step log alone: reading, arithmetic, pause."""
    table = _features(run, fitted.flat_tokens)
    reading = table[:, 0] * fitted.step_s + table[:, 2] * fitted.kv_token_s
    arithmetic = (
        table[:, 1] * fitted.token_s
        + table[:, 3] * fitted.pair_s
        + table[:, 4] * fitted.prefill_request_s
    )
    both = np.column_stack([reading, arithmetic])
    factors, _ = _solve(both, run.steps.elapsed_s, np.zeros(2))
    pauses = _pauses([run], [reading * factors[0] + arithmetic * factors[1]])
    plain = pauses.prefills == 0
    expected = fitted.pause_s + fitted.pause_decode_s * pauses.decodes
    pause = _ratio(pauses.beyond_s[plain], expected[plain])
    # what is left of the steps with prefills is arithmetic that was slower or faster
    left = (pauses.beyond_s - pause * expected)[~plain]
    spent = arithmetic[1:][pauses.rows][~plain]
    arithmetic_factor = factors[1] + _ratio(left, spent, otherwise=0.0)
    return Speed(
        reading=float(factors[0]), arithmetic=float(arithmetic_factor), pause=max(pause, 0.0)
    )


def profile_of(run: MeasuredRun, fitted: FittedCoefficients, speed: Speed) -> Profile:
    """The run's server as the serving model takes it."""
    return Profile(
        name=f"recorded/{run.name}",
        model=run.model,
        variant="fp16",
        gpu="CPU",
        gpus=1,
        step_ns=round(fitted.step_s * speed.reading * 1e9),
        token_ns=round(fitted.token_s * speed.arithmetic * 1e9),
        flat_tokens=fitted.flat_tokens,
        kv_token_ns=round(fitted.kv_token_s * speed.reading * 1e9),
        attention_ps=round(fitted.pair_s * speed.arithmetic * 1e12),
        prefill_request_ns=round(fitted.prefill_request_s * speed.arithmetic * 1e9),
        pause_ns=round(fitted.pause_s * speed.pause * 1e9),
        pause_decode_ns=round(fitted.pause_decode_s * speed.pause * 1e9),
        before_ns=round(fitted.before_s * 1e9),
        after_ns=round(fitted.after_s * 1e9),
        kv_blocks=run.kv_blocks,
        block_tokens=run.block_tokens,
        requests_max=run.requests_max,
        step_tokens_max=run.step_tokens_max,
        prefix_caching=run.prefix_caching,
        in_flight_target=run.requests_max,
        source="fitted on the step log of recorded runs",
    )


def _floors(run: MeasuredRun) -> FloatArray:
    """Reading the weights, and a token's keys and values, at the fastest memory there is."""
    floors = np.zeros(5)
    floors[0] = run.weight_bytes / MEMORY_BYTES_PER_S_MAX
    floors[2] = run.kv_bytes_per_token / MEMORY_BYTES_PER_S_MAX
    return floors


def _features(run: MeasuredRun, flat_tokens: int) -> FloatArray:
    """Rows of (1, tokens beyond the flat part, context read by decodes, pairs, prefills)."""
    steps = run.steps
    # chunks of a prompt attend to the chunks before: the log does not say to how much, the run does
    pairs = steps.prefill_tokens**2 / (2.0 * np.maximum(steps.prefill_requests, 1.0))
    return np.column_stack(
        [
            np.ones(len(pairs)),
            np.maximum(steps.tokens - flat_tokens, 0.0),
            run.context_tokens,
            pairs * (run.pairs / max(float(pairs.sum()), 1.0)),
            steps.prefill_requests,
        ]
    )


def _solve(table: FloatArray, elapsed: FloatArray, floors: FloatArray) -> tuple[FloatArray, float]:
    """Least squares with floors; steps that were logged late are left out."""
    # a step twice as long has about twice the noise
    weight = 1.0 / np.sqrt(np.maximum(elapsed, 1e-4))
    sound: BoolArray = elapsed > np.percentile(elapsed, 2)
    values, loss = floors, 0.0
    for _ in range(3):
        rows = table[sound] * weight[sound, None]
        wanted = (elapsed - table @ floors)[sound] * weight[sound]
        solved, loss = nnls(rows, wanted)
        values = solved + floors
        sound = elapsed > ARTEFACT_RATIO * (table @ values)
    return values, float(loss / np.sqrt(sound.sum()))


class _Pauses(NamedTuple):
    """Time between consecutive steps of a busy engine, beyond what the steps should take."""

    rows: BoolArray
    """Which steps, but for each run's first."""
    beyond_s: FloatArray
    decodes: FloatArray
    """Of the step before."""
    prefills: FloatArray
    """Of the step itself."""


def _pauses(runs: Sequence[MeasuredRun], expected: Sequence[FloatArray]) -> _Pauses:
    """From one end to the next, so that the sum comes out right whatever single steps were logged as.

    Only where the engine had work all along: what decodes in a step was there before it.
    """
    parts = []
    for run, duration in zip(runs, expected, strict=True):
        steps = run.steps
        gaps = np.diff(steps.ended_s) - duration[1:]
        busy = (steps.decode_requests[1:] > 0) & (gaps < PAUSE_S_MAX)
        decodes, prefills = steps.decode_requests[:-1], steps.prefill_requests[1:]
        parts.append((busy, gaps[busy], decodes[busy], prefills[busy]))
    return _Pauses(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _ratio(part: FloatArray, of: FloatArray, *, otherwise: float = 1.0) -> float:
    total = float(of.sum())
    return float(part.sum()) / total if total > 0 else otherwise


def _fit_pause(
    runs: Sequence[MeasuredRun], flat: int, values: FloatArray
) -> tuple[float, float, float]:
    """Pause, its share per decode, and the factor by which arithmetic is off in sum."""
    tables = [_features(run, flat) for run in runs]
    pauses = _pauses(runs, [table @ values for table in tables])
    plain = pauses.prefills == 0
    table = np.column_stack([np.ones(len(plain)), pauses.decodes])
    solved, _ = nnls(table[plain], pauses.beyond_s[plain])
    left = (pauses.beyond_s - table @ solved)[~plain]
    arithmetic = np.concatenate([part[1:] @ (values * ARITHMETIC) for part in tables])
    factor = 1.0 + _ratio(left, arithmetic[pauses.rows][~plain], otherwise=0.0)
    return float(solved[0]), float(solved[1]), factor


def _fit_around(runs: Sequence[MeasuredRun]) -> tuple[float, float]:
    """Before and after the engine: from requests that were alone, from all, and the server's own clock.

    A request alone (phase `single`) shows the way in; under load it is longer: what clients see of the
    time to the first token beyond what the server sees. The way out is from the end of the last step
    with a prefill to the client's first token.
    """
    before, after = [], []
    for run in runs:
        steps = run.steps
        started = steps.ended_s - steps.elapsed_s
        sent = run.columns.arrival_ns / 1e9
        for row, phase in enumerate(run.phase):
            if phase != "single" or not run.whole[row]:
                continue
            first = int(np.searchsorted(steps.ended_s, sent[row]))
            if first < len(started) and steps.prefill_requests[first] > 0:
                before.append(started[first] - sent[row])
        prefilled = steps.ended_s[steps.prefill_requests > 0]
        seen = (sent + run.ttft_s)[run.whole]
        step = np.searchsorted(prefilled, seen) - 1
        after += list((seen - prefilled[step])[step >= 0])
    outside = float(np.mean([run.ttft_outside_s for run in runs]))
    alone = float(np.median(before)) if before else 0.0
    return max(alone, outside, 0.0), max(float(np.mean(after)) if after else 0.0, 0.0)
