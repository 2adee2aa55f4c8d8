"""More or less of the same traffic: copies laid over each other, or a part thinned out.

Time is never stretched: a wave that took five minutes takes five minutes at every scale, as it would
with more users.
"""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.state import IntArray
from simulations.rng import stream
from simulations.serving.columns import RequestColumns, WholeNumbers

SHIFT_S = 60.0
"""Each request of a copy is moved by its own uniform draw from 0 to this."""


def scaled_requests(requests: RequestColumns, *, scale: float, seed: int) -> RequestColumns:
    """Overlay `scale` copies: whole copies, and of the last one a thinned part.

    The last answer is kept: a sweep replays the same traffic under one policy after the other.

    At 1 and below nothing is moved, only thinned. Above, every request of every copy is moved, the
    first copy's too, so that a burst inside a minute is not kept in one copy and smeared in others.
    Each copy has prefix blocks of its own: other users share other prefixes.
    """
    if scale == 1.0 or not len(requests):
        return requests
    for of, *asked, overlaid in _last:
        # columns are never written to, so comparing identity is enough
        if of is requests and asked == [scale, seed]:
            return overlaid
    _last.clear()  # before the next one is made: there is never memory for two
    overlaid = _overlay(requests, scale, seed)
    _last.append((requests, scale, seed, overlaid))
    return overlaid


_last: list[tuple[RequestColumns, float, int, RequestColumns]] = []
"""The last overlay, behind the arguments it was made of."""


def _overlay(requests: RequestColumns, scale: float, seed: int) -> RequestColumns:
    random = stream(seed, "overlay")
    if scale < 1.0:
        return selected_requests(requests, np.flatnonzero(random.random(len(requests)) < scale))
    copies = [np.arange(len(requests)) for _ in range(int(scale))]
    if rest := scale - int(scale):
        copies.append(np.flatnonzero(random.random(len(requests)) < rest))
    rows = np.concatenate(copies)
    copy = None
    if requests.blocks is not None:
        copy = np.repeat(np.arange(len(copies)), [len(part) for part in copies])
    del copies
    shifts = random.random(len(rows))
    shifts *= SHIFT_S
    shifts *= 1e9
    arrivals = requests.arrival_ns[rows]
    arrivals += shifts.astype(np.int64)
    del shifts
    order = np.argsort(arrivals, kind="stable")
    rows = rows[order]
    arrivals = arrivals[order]
    return selected_requests(
        requests, rows, arrival_ns=arrivals, copy=None if copy is None else copy[order]
    )


def selected_requests(
    requests: RequestColumns,
    rows: IntArray,
    *,
    arrival_ns: IntArray | None = None,
    copy: IntArray | None = None,
) -> RequestColumns:
    """The named rows in the named order, with their prefix blocks; the first arrives at 0."""
    arrivals = requests.arrival_ns[rows] if arrival_ns is None else arrival_ns
    blocks, ends = requests.blocks, requests.block_ends
    if blocks is not None and ends is not None:
        blocks, ends = _selected_blocks(blocks, ends, rows, copy)
    return RequestColumns(
        arrival_ns=arrivals - (arrivals[0] if len(arrivals) else 0),
        prompt_tokens=requests.prompt_tokens[rows],
        output_tokens=requests.output_tokens[rows],
        block_tokens=requests.block_tokens,
        blocks=blocks,
        block_ends=ends,
    )


def _selected_blocks(
    blocks: WholeNumbers, ends: IntArray, rows: IntArray, copy: IntArray | None
) -> tuple[WholeNumbers, IntArray]:
    starts = np.concatenate([[0], ends[:-1]])[rows]
    lengths = ends[rows] - starts
    taken_ends: IntArray = np.cumsum(lengths)
    # position of each taken block: its request's start, plus how far into the request it is
    within = np.arange(lengths.sum()) - np.repeat(taken_ends - lengths, lengths)
    selected_requests = blocks[np.repeat(starts, lengths) + within]
    if copy is not None and len(blocks):
        selected_requests = selected_requests + np.repeat(copy, lengths) * (int(blocks.max()) + 1)
    return selected_requests, taken_ends
