"""The histograms of one replica's page: what is counted as it happens."""

# Fields of records have no static type.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import uintp

from simulations.serving.histograms import TPOT_BOUNDS_NS, TTFT_BOUNDS_NS
from simulations.serving.kernel.compiled import inlined_function
from simulations.serving.kernel.layout import Lane

_TTFT_NS = np.array(TTFT_BOUNDS_NS)
_TPOT_NS = np.array(TPOT_BOUNDS_NS)


@inlined_function
def observe_first(lane: Lane, slot: int) -> None:
    """Count the time to first token of a request that has it now."""
    request = lane.slots[slot]
    sent_ns = request.inbox_ns - lane.parameters[0].before_ns
    lane.ttft[uintp(_first_within(_TTFT_NS, request.first_ns - sent_ns, 1))] += 1


@inlined_function
def observe_whole(lane: Lane, slot: int) -> None:
    """Count the time per further token, and in the queue, of a request that has its last token now."""
    r = lane.replica[0]
    request = lane.slots[slot]
    took_ns = request.end_ns - (request.first_ns - lane.parameters[0].after_ns)
    gaps = max(1, request.output - 1)
    lane.tpot[uintp(_first_within(_TPOT_NS, took_ns, gaps))] += 1
    r.queue_ns += request.admitted_ns - request.inbox_ns
    r.queued += 1


@inlined_function
def write_cumulated(counts: Any, out: Any, first: int, column: int) -> None:
    """Write how many are within each bound, from a row on."""
    total = 0
    for bucket in range(len(counts)):
        total += counts[bucket]
        out[first + bucket, column] = total


@inlined_function
def _first_within(bounds: Any, value: int, times: int) -> int:
    """The first bound that so many times of it are no less than the value; their count: none."""
    low = 0
    high = len(bounds)
    while low < high:
        middle = (low + high) >> 1
        if bounds[uintp(middle)] * times < value:
            low = middle + 1
        else:
            high = middle
    return low
