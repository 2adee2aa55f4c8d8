"""Requests drawn from what was captured: as many in each step as arrived, lengths as observed."""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.state import FloatArray
from simulations.field.capture.capture import Capture, Histogram
from simulations.serving.columns import RequestColumns

WINDOW_S = 600
"""Lengths are observed when a request ends: their distribution is taken over ten minutes."""
LENGTHS_UNKNOWN = {"prompt_tokens": 512, "output_tokens": 128}
"""Where Prometheus has no length histograms."""


def draw_requests(captured: Capture, rng: np.random.Generator) -> RequestColumns:
    """Draw one request per arrival.

    The moment inside a step is uniform; counts are whole, what is left over is carried on. Prompt and
    output lengths are independent (histograms do not say how they go together).
    """
    grid = captured.grid
    carried = np.floor(np.cumsum(captured.arrivals) + 1e-9)
    counts = np.diff(carried, prepend=0.0).astype(np.int64)
    total = int(counts.sum())
    step = np.repeat(np.arange(len(counts)), counts)
    moments = (step + rng.uniform(0.0, 1.0, total)) * grid.step
    order = np.argsort(moments, kind="stable")
    step = step[order]
    return RequestColumns(
        arrival_ns=(moments[order] * 1e9).astype(np.int64),
        prompt_tokens=_lengths(captured, "prompt_tokens", step, rng),
        output_tokens=_lengths(captured, "output_tokens", step, rng),
    )


def _lengths(
    captured: Capture, name: str, step: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw a length for each request from the buckets of its window, scaled to the window's mean."""
    histogram = captured.histograms.get(name)
    if histogram is None or histogram.counts.sum() <= 0:
        return np.full(len(step), LENGTHS_UNKNOWN[name], dtype=np.int64)
    per_window = max(1, WINDOW_S // captured.grid.step)
    lengths = np.zeros(len(step))
    at = step // per_window
    for window in np.unique(at):
        inside = at == window
        part = slice(window * per_window, (window + 1) * per_window)
        seen = part if histogram.mean(part) is not None else slice(None)
        lengths[inside] = _window_lengths(histogram, seen, int(inside.sum()), rng)
    return np.maximum(np.rint(lengths), 1).astype(np.int64)


def _window_lengths(
    histogram: Histogram, part: slice, number: int, rng: np.random.Generator
) -> FloatArray:
    """Draw a bucket by its share, a length uniformly inside it, then scale to the recorded mean."""
    counts, bounds = histogram.counts[part].sum(axis=0), histogram.bounds
    share = counts / counts.sum()
    lower = np.concatenate([[0.0], bounds[:-1]])
    # what is over the last finite bound is taken to be within twice of it
    upper = np.where(np.isfinite(bounds), bounds, 2.0 * lower)
    bucket = rng.choice(len(share), size=number, p=share)
    drawn = rng.uniform(lower[bucket], upper[bucket])
    mean, expected = histogram.mean(part), float((share * (lower + upper) / 2.0).sum())
    if mean and expected > 0:
        drawn *= mean / expected
    return np.asarray(drawn, dtype=np.float64)
