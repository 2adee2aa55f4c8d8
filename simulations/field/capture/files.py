"""A capture on disk: a plain trace that `simulate` reads, and beside it what else was seen."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import TraceError
from simulations.field.capture.capture import Capture
from simulations.field.capture.counters import stretches
from simulations.serving.columns import RequestColumns

SCHEMA = "autoscaler.capture/v1"


def write_capture(path: Path, captured: Capture, requests: RequestColumns) -> Path:
    """Write `path` (gzip'd if it ends so) and `path` + `.capture.json`; returns the second.

    Raises:
        TraceError: A file cannot be written.
    """
    text = io.StringIO()
    text.write("t_s,input_tokens,output_tokens\n")
    table = np.column_stack(
        [requests.arrival_ns / 1e9, requests.prompt_tokens, requests.output_tokens]
    )
    np.savetxt(text, table, fmt=["%.3f", "%d", "%d"], delimiter=",")
    body = text.getvalue().encode()
    beside = path.with_name(path.name + ".capture.json")
    try:
        # mtime 0: the same capture is the same bytes
        path.write_bytes(gzip.compress(body, mtime=0) if path.suffix == ".gz" else body)
        beside.write_text(json.dumps(_describe(captured, requests), indent=1) + "\n")
    except OSError as error:
        raise TraceError(
            f"writing the capture to {path}: {error}; give a file in a folder that exists"
        ) from error
    return beside


def _describe(captured: Capture, requests: RequestColumns) -> dict[str, Any]:
    grid = captured.grid
    return {
        "schema": SCHEMA,
        "model_name": captured.subject.model_name,
        "namespace": captured.subject.namespace,
        "start": grid.start,
        "step_s": grid.step,
        "steps": len(captured.arrivals),
        "requests": len(requests),
        "holes_s": holes(captured),
        "replicas": _runs(captured.replicas, grid.step),
        "mean": {
            name: histogram.mean() or 0.0 for name, histogram in sorted(captured.histograms.items())
        },
    }


def holes(captured: Capture) -> list[list[int]]:
    """[from, to) in seconds of the trace where nothing is known."""
    step = captured.grid.step
    return [[first * step, last * step] for first, last in stretches(~captured.known)]


def _runs(values: FloatArray, step: int) -> list[list[float]]:
    """[second, value] at each change."""
    changed = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    return [[int(index) * step, float(values[index])] for index in changed]
