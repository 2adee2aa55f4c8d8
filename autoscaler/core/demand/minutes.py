"""Offered load and service time from minute means of a time before the first tick.

The same laws as on a tick (`demand`, `service_time`), on rows that are sums over all replicas already. What
is not known of a row stays unknown, and the load after it begins anew with what comes in.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

import numpy as np

from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.contract.spec import Targets
from autoscaler.core.contract.state import FloatArray
from autoscaler.core.demand.demand import DemandMemory
from autoscaler.core.demand.ratio_window import RatioWindow
from autoscaler.core.demand.service_time import (
    ServiceTimeMemory,
    choose_service_time,
    measure_service_time,
)
from autoscaler.core.tuning import TUNING

_ROWS_AT_ONCE = 256
"""Some two milliseconds."""


def measure_minutes(
    memory: DemandMemory, *, rows: HistoryColumns, targets: Targets
) -> Generator[None, None, FloatArray]:
    """Measure the offered load of each row, in replicas; yields between pieces.

    Args:
        memory: of this model; its service time is what the rows say, where it is not known from later.
        rows: in order of time, before the first tick.
        targets: what one replica carries.

    Returns:
        [row] mean offered load; NaN: unknown.
    """
    learnt = ServiceTimeMemory()
    offered = np.full(len(rows), np.nan)
    load: float | None = None
    last_at = -math.inf
    columns = (
        rows.at,
        rows.arrivals_per_s,
        rows.completed_per_s,
        rows.running_requests,
        rows.waiting_requests,
        rows.replicas,
    )
    for number, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if number % _ROWS_AT_ONCE == _ROWS_AT_ONCE - 1:
            yield
        at, arrivals, completed, running, waiting, replicas = row
        if at - last_at > 1.5 * rows.span_s:
            load = None
        last_at = at
        service_s = _service_s(
            learnt,
            at=at,
            span_s=rows.span_s,
            arrivals=arrivals,
            completed=completed,
            running=running,
            replicas=replicas,
            targets=targets,
        )
        if service_s is None or math.isnan(arrivals):
            load, mean = None, running + waiting  # NaN where either is unknown
        else:
            # Arrivals spread over the row: u moves towards rate * S, and the mean of it is between.
            due = arrivals * service_s
            before = due if load is None else load
            left = math.exp(-rows.span_s / service_s)
            mean = due + (before - due) * service_s / rows.span_s * (1.0 - left)
            load = due + (before - due) * left
        offered[number] = mean / targets.in_flight_requests
    _keep(memory, learnt)
    kv = np.where(np.isnan(rows.kv_usage_replicas), 0.0, rows.kv_usage_replicas)
    load_or_caches: FloatArray = np.maximum(offered, kv / targets.kv_usage_ratio)
    return load_or_caches


def _service_s(
    learnt: ServiceTimeMemory,
    *,
    at: float,
    span_s: float,
    arrivals: float,
    completed: float,
    running: float,
    replicas: float,
    targets: Targets,
) -> float | None:
    """Measure and choose the service time as on a tick."""
    ready = 0 if math.isnan(replicas) else round(replicas)
    if not (math.isnan(running) or math.isnan(completed)):
        # Where it is not known how many carried it, it may have been a crowd.
        crowded = not ready or running > TUNING.crowded_ratio * targets.in_flight_requests * ready
        measure_service_time(
            learnt, at=at, busy_s=running * span_s, completed=completed * span_s, crowded=crowded
        )
    return choose_service_time(
        learnt,
        arrivals_per_s=None if math.isnan(arrivals) else arrivals,
        running_requests=running,
        ready=ready,
        targets=targets,
    )


def _keep(memory: DemandMemory, learnt: ServiceTimeMemory) -> None:
    """Put what was learnt before what ticks have measured since."""
    now = memory.service_time
    memory.service_time = replace(
        now,
        window=_joined(learnt.window, now.window),
        measured_s=learnt.measured_s if now.measured_s is None else now.measured_s,
        calm_window=_joined(learnt.calm_window, now.calm_window),
    )


def _joined(before: RatioWindow, after: RatioWindow) -> RatioWindow:
    for number, numerator, denominator in after.buckets:
        before.add(number * after.bucket_s, numerator=numerator, denominator=denominator)
    return before
