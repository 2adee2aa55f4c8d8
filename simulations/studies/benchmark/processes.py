"""What the rows share: a process of their own, the most memory it held, a fleet that serves to the end."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeAlias, TypeVar

from simulations.serving.columns import RequestColumns
from simulations.serving.fleet import TIMEOUT_NS, ServingFleet
from simulations.serving.reference.fleet import ReferenceFleet

Measured = TypeVar("Measured")
Row: TypeAlias = dict[str, Any]
"""What was measured, as the JSON output names it."""


def in_own_process(measure: Callable[..., Measured], *arguments: object) -> Measured:
    """Call it in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def peak_rss_bytes() -> int:
    """The most that the process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(fleet: ServingFleet | ReferenceFleet, columns: RequestColumns, *, replicas: int) -> float:
    """CPU seconds from the first arrival until every request has its outcome."""
    for replica in range(replicas):
        fleet.add_replica(0, replica)
    began = time.process_time()
    fleet.run_until(int(columns.arrival_ns[-1]) + 2 * TIMEOUT_NS)
    return time.process_time() - began
