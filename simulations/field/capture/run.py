"""`autoscaler capture`: from a Prometheus to a file that `autoscaler simulate` reads."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from autoscaler.errors import SettingsError, SourceError
from simulations.field.capture.capture import Capture, capture_model, find_subjects
from simulations.field.capture.draw import draw_requests
from simulations.field.capture.files import holes, write_capture
from simulations.field.capture.ranges import Grid, PrometheusServer, RangeReader

SPAN_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_span(text: str) -> float:
    """Read `7d`, `12h`, `90m`, `300s` as seconds.

    Raises:
        SettingsError: It is none of these.
    """
    try:
        span = float(text[:-1]) * SPAN_UNITS[text[-1:]]
    except (ValueError, KeyError) as error:
        raise SettingsError(
            f"--since {text}: not a span of time; write a number and one of s, m, h, d, w (7d)"
        ) from error
    if span <= 0:
        raise SettingsError(f"--since {text}: must be more than nothing")
    return span


def run_capture(
    *,
    server: PrometheusServer,
    output: Path,
    namespace: str | None,
    model: str | None,
    since: str,
    step: int,
    seed: int,
    until: float | None = None,
) -> int:
    """Capture one model to `output`; 0, or an error with its reason."""
    reader = RangeReader(server)
    end = time.time() if until is None else until
    grid = Grid.until(end, since_s=parse_span(since), step=step)
    subjects = find_subjects(reader, grid, namespace=namespace)
    chosen = [subject for subject in subjects if model in (None, subject.model_name)]
    names = ", ".join(subject.name for subject in subjects)
    if not chosen:
        raise SourceError(f"--model {model}: no such model in this Prometheus; there are: {names}")
    if len(chosen) > 1:
        raise SourceError(
            f"several models have series: {names}; choose one with --model (and --namespace)"
        )
    captured = capture_model(
        reader,
        chosen[0],
        grid,
        progress=lambda metric: print(f"capture: {metric}", file=sys.stderr),
    )
    requests = draw_requests(captured, np.random.default_rng([seed, 0x6361]))
    beside = write_capture(output, captured, requests)
    print(_summary(captured, len(requests), output, beside))
    return 0


def _summary(captured: Capture, requests: int, output: Path, beside: Path) -> str:
    missing = sum(b - a for a, b in holes(captured))
    replicas = captured.replicas
    seen = f"{captured.subject.name}: {requests} requests in {captured.hours:.1f} h"
    lines = [
        f"{seen}, {np.mean(replicas):.1f} replicas on average, {np.max(replicas):.0f} at most",
        f"written to {output}; replicas, holes and means to {beside}",
    ]
    if missing:
        lines.insert(1, f"holes: {missing / 3600:.2f} h in which Prometheus had no counters")
    return "\n".join(lines)
