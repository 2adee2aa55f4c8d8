"""What goes into a serving fleet and what comes out: columns, never an object per request.

Ten million requests are a handful of arrays. Times are int64 nanoseconds on the trace's own clock,
whose zero is the trace's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulations.serving.gauges import NEVER, Gauges, RequestOutcome

__all__ = [
    "NEVER",
    "Gauges",
    "Int64Array",
    "RequestColumns",
    "RequestOutcome",
    "RequestResults",
    "WholeNumbers",
]

Int64Array = NDArray[np.int64]
WholeNumbers: TypeAlias = NDArray[np.signedinteger[Any]]
"""int32 where the reader of a trace knows that it suffices, else int64. Convert to int64 before
multiplying by nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestColumns:
    """Requests in order of arrival; row numbers are their identity."""

    arrival_ns: Int64Array
    """When the client sends it, never decreasing."""
    prompt_tokens: WholeNumbers
    """0 is served as 1: an engine always computes a token."""
    output_tokens: WholeNumbers
    """Tokens until it ends by itself; 0 is served as 1."""
    block_tokens: int = 0
    """Tokens of one prefix block (Mooncake: 512); 0: nothing is known of shared prefixes."""
    blocks: WholeNumbers | None = None
    """Prefix blocks of all requests, one after the other. An id stands for its block and all before
    it, so equal ids are a reusable prefix. A last block that the prompt does not fill is ignored."""
    block_ends: Int64Array | None = None
    """End of each request's part of `blocks`."""

    def __post_init__(self) -> None:
        rows = len(self.arrival_ns)
        assert len(self.prompt_tokens) == len(self.output_tokens) == rows
        assert rows == 0 or bool(np.all(self.arrival_ns[1:] >= self.arrival_ns[:-1]))
        assert (self.blocks is None) == (self.block_ends is None)
        assert self.blocks is None or self.block_tokens > 0
        assert self.block_ends is None or len(self.block_ends) == rows

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def rows_from(self, from_ns: int) -> slice:
        """Rows that arrive at `from_ns` or later."""
        return slice(int(np.searchsorted(self.arrival_ns, from_ns)), len(self))

    def part(self, rows: slice) -> RequestColumns:
        """The same memory, of these rows alone, without their prefixes."""
        return RequestColumns(
            arrival_ns=self.arrival_ns[rows],
            prompt_tokens=self.prompt_tokens[rows],
            output_tokens=self.output_tokens[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResults:
    """What became of each request: rows as in `RequestColumns`, written by the fleet as it goes."""

    first_token_ns: Int64Array
    """When the client had the first token of the attempt that counted; NEVER: none yet."""
    finished_ns: Int64Array
    """When it was completed, aborted or lost; NEVER: pending."""
    outcome: NDArray[np.int8]
    """Values of `RequestOutcome`."""
    replica: NDArray[np.int32]
    """Where it was last sent: the number that `add_replica` was given; NEVER: nowhere."""

    def part(self, rows: slice) -> RequestResults:
        """The same memory, of these rows alone."""
        return RequestResults(
            first_token_ns=self.first_token_ns[rows],
            finished_ns=self.finished_ns[rows],
            outcome=self.outcome[rows],
            replica=self.replica[rows],
        )

    @classmethod
    def pending(cls, rows: int) -> RequestResults:
        """Results of requests of which nothing has happened."""
        return cls(
            first_token_ns=np.full(rows, NEVER, dtype=np.int64),
            finished_ns=np.full(rows, NEVER, dtype=np.int64),
            outcome=np.full(rows, RequestOutcome.PENDING, dtype=np.int8),
            replica=np.full(rows, NEVER, dtype=np.int32),
        )
