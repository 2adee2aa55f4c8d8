"""What a replica shows and what becomes of a request: the words that every model of serving shares.

Without numpy, so that a server process starts quickly.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

NEVER = -1
"""In a time column: it has not happened. In `RequestResults.replica`: never routed."""
FOREVER = 1 << 62
"""Nanoseconds; later than every moment that it is compared with."""


class RequestOutcome(IntEnum):
    """What became of a request; the values stand in `RequestResults.outcome`."""

    PENDING = 0
    """Not decided yet: waiting at the router, or in flight."""
    COMPLETED = 1
    ABORTED = 2
    """The client's time-out ran out."""
    LOST = 3
    """Its replica died, and so did the client's retries."""


class Gauges(NamedTuple):
    """What a replica's `/metrics` page says: everything as of the end of its last engine step.

    A tuple, because a replay makes one for every replica and scrape.
    """

    waiting_requests: int
    running_requests: int
    kv_usage_ratio: float
    """Blocks in use over usable blocks; one block is reserved and counts as neither."""
    finished_requests_total: int
    """All reasons: completed and aborted."""
    prompt_tokens_total: int
    """Of prompts whose first token came; prefix hits included, recomputation not."""
    generation_tokens_total: int
    preemptions_total: int
    prefix_queried_tokens_total: int
    """Tokens that were looked up in the prefix cache."""
    prefix_hit_tokens_total: int
    aborted_requests_total: int = 0
    """Of the finished, those whose client gave up."""
    steps_total: int = 0
    queue_time_ns_total: int = 0
    """From when the engine could see a request until it was first admitted, of those that ended whole."""
    queued_requests_total: int = 0
    """How many these are."""


def gauges(values: list[float]) -> Gauges:
    """A page from its fields as floats: all but the usage are counts, below 2**53."""
    waiting, running, usage, *totals = values
    return Gauges(int(waiting), int(running), usage, *map(int, totals))
