"""Windows of metrics out of a user's Prometheus."""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import SourceError
from simulations.field.calibrate.windows import MetricWindows
from simulations.field.capture.counters import increases
from simulations.field.capture.ranges import Grid, RangeReader, Series
from simulations.field.capture.signals import RUNNING, Subject, by_process

STEP_TOKENS = "vllm:iteration_tokens_total"
KV_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
MEANS = {
    "prompt": "vllm:request_prompt_tokens",
    "ttft": "vllm:time_to_first_token_seconds",
    "queue": "vllm:request_queue_time_seconds",
    "prefill": "vllm:request_prefill_time_seconds",
}
Process = tuple[tuple[str, str], ...]


def read_windows(
    reader: RangeReader, subject: Subject, grid: Grid, *, kv_tokens_max: int
) -> MetricWindows:
    """One row for each process, whose KV cache holds so many tokens, and each step of the grid.

    Raises:
        SourceError: A query failed, or there are no series of the engine's steps.
    """

    def read(metric: str, also: str = "") -> dict[Process, list[Series]]:
        found: dict[Process, list[Series]] = {}
        for series in reader.series(by_process(subject.select(metric), also), grid):
            labels = {name: value for name, value in series.labels.items() if name != also}
            found.setdefault(tuple(sorted(labels.items())), []).append(series)
        return found

    buckets = read(f"{STEP_TOKENS}_bucket", "le")
    if not buckets:
        raise SourceError(
            f"{subject.name}: no series {STEP_TOKENS}_bucket; it counts the engine's steps, without "
            "it use a request log (--log)"
        )
    sums, generated = read(f"{STEP_TOKENS}_sum"), read("vllm:generation_tokens_total")
    running, usage = read(RUNNING), read(KV_USAGE[0]) or read(KV_USAGE[1])
    means = {
        name: (read(f"{metric}_sum"), read(f"{metric}_count")) for name, metric in MEANS.items()
    }
    parts = []
    for process, series in sorted(buckets.items()):
        bounds, steps = _histogram(series)
        at_once = _series(running, process, grid)
        kv_tokens = _series(usage, process, grid) * kv_tokens_max
        one = {
            name: (_increase(sums_, process, grid), _increase(counts, process, grid))
            for name, (sums_, counts) in means.items()
        }
        windows = MetricWindows(
            length_s=np.full(len(steps), float(grid.step)),
            steps=np.nan_to_num(steps[:, -1]),
            bounds=bounds,
            step_tokens=np.nan_to_num(np.maximum(np.diff(steps, axis=1, prepend=0.0), 0.0)),
            tokens=_increase(sums, process, grid),
            generated_tokens=np.nan_to_num(_increase(generated, process, grid)),
            running_least=np.nan_to_num(np.minimum(at_once[:-1], at_once[1:])),
            kv_tokens=(kv_tokens[:-1] + kv_tokens[1:]) / 2,
            prompt_tokens=_means(*one["prompt"]),
            # those histograms are filled at different moments: only their whole sums go together
            outside_s=_mean(*one["ttft"]) - _mean(*one["queue"]) - _mean(*one["prefill"]),
        )
        parts.append(windows)
    return _all_processes(parts)


def _histogram(buckets: list[Series]) -> tuple[FloatArray, FloatArray]:
    """(bounds, increases up to each of them), by step."""
    ordered = sorted(buckets, key=lambda series: float(series.labels["le"]))
    bounds = np.array([float(series.labels["le"]) for series in ordered])
    return bounds, np.column_stack([increases(series.values) for series in ordered])


def _means(total: FloatArray, count: FloatArray) -> FloatArray:
    """Of each window, or of the whole span where a window has none."""
    own = np.where(count > 0, total / np.where(count > 0, count, 1.0), np.nan)
    return np.where(np.isnan(own), _mean(total, count), own)


def _mean(total: FloatArray, count: FloatArray) -> float:
    """Of the whole span; NaN: there is nothing."""
    whole, number = float(np.nansum(total)), float(np.nansum(count))
    return whole / number if number > 0 else float("nan")


def _series(found: dict[Process, list[Series]], process: Process, grid: Grid) -> FloatArray:
    matching = found.get(process)
    return matching[0].values if matching else np.full(grid.points, np.nan)


def _increase(found: dict[Process, list[Series]], process: Process, grid: Grid) -> FloatArray:
    return increases(_series(found, process, grid))


def _all_processes(parts: list[MetricWindows]) -> MetricWindows:
    """The windows of all processes, as far as they have the same buckets as the first."""
    alike = [part for part in parts if np.array_equal(part.bounds, parts[0].bounds)]
    names = [name for name in MetricWindows.__slots__ if name not in ("bounds", "outside_s")]
    columns = {name: np.concatenate([getattr(part, name) for part in alike]) for name in names}
    known = [part.outside_s for part in parts if np.isfinite(part.outside_s)]
    mean = float(np.mean(known)) if known else float("nan")
    return MetricWindows(bounds=parts[0].bounds, outside_s=mean, **columns)
