"""Captures by hand."""

from __future__ import annotations

import numpy as np

from simulations.field.capture.capture import Capture, Histogram
from simulations.field.capture.ranges import Grid
from simulations.field.capture.signals import Subject


def captured(
    *,
    arrivals,
    known=None,
    replicas=None,
    running=None,
    waiting=None,
    step: int = 60,
    model_name: str = "meta-llama/Llama-3.1-8B-Instruct",
    histograms: dict[str, Histogram] | None = None,
) -> Capture:
    steps = len(arrivals)
    return Capture(
        subject=Subject(model_name=model_name, namespace="serving"),
        grid=Grid(start=1_790_000_040, step=step, points=steps + 1),
        arrivals=np.asarray(arrivals, dtype=float),
        known=np.ones(steps, dtype=bool) if known is None else np.asarray(known, dtype=bool),
        replicas=np.ones(steps) if replicas is None else np.asarray(replicas, dtype=float),
        waiting=np.zeros(steps) if waiting is None else np.asarray(waiting, dtype=float),
        running=np.zeros(steps) if running is None else np.asarray(running, dtype=float),
        histograms=histograms or {},
    )


def constant(value: float, *, steps: int, each: float = 10.0, metric: str = "") -> Histogram:
    """`each` observations of one value in every step."""
    bounds = np.array([value / 2, value * 2, np.inf])
    counts = np.tile([0.0, each, 0.0], (steps, 1))
    return Histogram(bounds=bounds, counts=counts, sums=np.full(steps, value * each), metric=metric)
