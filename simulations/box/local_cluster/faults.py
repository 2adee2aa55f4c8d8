"""Faults on demand: what an API server, or a proxy in front of it, does on a bad day. No I/O.

A fault stands until it is lifted or has struck `times` times. Faults of watches also strike
streams that are open already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum


class FaultKind(StrEnum):
    """What happens to a request that a fault matches."""

    HANG = "hang"
    """Taken, never answered."""
    RESET = "reset"
    """The connection is reset without a byte; an open watch is cut in the middle."""
    BAD_GATEWAY = "bad-gateway"
    """502 with the HTML page of a proxy."""
    TOO_MANY_REQUESTS = "too-many-requests"
    """429 with Retry-After, as priority and fairness answers."""
    UNAVAILABLE = "unavailable"
    """503 with a Status."""
    FORBIDDEN = "forbidden"
    """403 with a Status: refused writes, or a role that lacks a rule."""
    CONFLICT = "conflict"
    """409 with a Status: somebody else was quicker."""
    SLOW = "slow"
    """Answered rightly, after `delay_s`."""
    GONE = "gone"
    """410: of a list as the answer, of a watch as an ERROR event, which ends it."""
    ERROR_EVENT = "error-event"
    """A watch says ERROR with code 500, and ends."""
    TRUNCATED = "truncated"
    """A watch breaks off in the middle of a line."""
    SILENT = "silent"
    """A watch says nothing any more, no bookmark either, and never ends: a half-open connection."""
    CLOSED = "closed"
    """A watch ends at once, cleanly."""


WATCH_KINDS = frozenset(
    {
        FaultKind.RESET,
        FaultKind.GONE,
        FaultKind.ERROR_EVENT,
        FaultKind.TRUNCATED,
        FaultKind.SILENT,
        FaultKind.CLOSED,
    }
)
"""Those that strike streams which are open."""


@dataclass(slots=True, kw_only=True, eq=False)
class Fault:
    """One thing that goes wrong."""

    kind: FaultKind
    verbs: frozenset[str] | None = None
    """get, list, watch, create, update, patch, delete; None: all."""
    resource: str | None = None
    """`pods`, or with a subresource: `deployments/scale`; None: all."""
    name: str | None = None
    """Of the object; None: all."""
    times: int | None = None
    """How often it strikes before it is lifted; None: until it is lifted."""
    delay_s: float = 0.0
    """For SLOW."""
    hits: int = field(default=0, init=False)

    def matches(self, verb: str, resource: str, name: str) -> bool:
        """Whether it concerns this request and has not struck often enough."""
        return (
            (self.verbs is None or verb in self.verbs)
            and (self.resource is None or self.resource == resource)
            and (self.name is None or self.name == name)
            and (self.times is None or self.hits < self.times)
        )


class Faults:
    """The faults that stand, in order: the first that matches strikes."""

    def __init__(self, *, wake: Callable[[], None]) -> None:
        self._standing: list[Fault] = []
        self._wake = wake
        self._struck: set[asyncio.Future[None]] = set()

    def inject(self, fault: Fault) -> Fault:
        """Let it stand; open watches notice at once."""
        self._standing.append(fault)
        self._wake()
        return fault

    def lift(self, fault: Fault) -> None:
        """Take it away; what hangs because of it is let go."""
        if fault in self._standing:
            self._standing.remove(fault)
        self._wake()

    def clear(self) -> None:
        """Take all away."""
        self._standing.clear()
        self._wake()

    @contextmanager
    def during(self, fault: Fault) -> Iterator[Fault]:
        """Let it stand for a block."""
        self.inject(fault)
        try:
            yield fault
        finally:
            self.lift(fault)

    def stands(self, fault: Fault) -> bool:
        """Whether it has not been lifted."""
        return fault in self._standing

    def strike(
        self, verb: str, resource: str, name: str, kinds: frozenset[FaultKind] | None = None
    ) -> Fault | None:
        """The fault that hits this request, counted; None: all is well."""
        for fault in self._standing:
            if (kinds is None or fault.kind in kinds) and fault.matches(verb, resource, name):
                fault.hits += 1
                struck, self._struck = self._struck, set()
                for waiter in struck:
                    if not waiter.done():
                        waiter.set_result(None)
                return fault
        return None

    async def hit(self, fault: Fault, *, times: int = 1) -> None:
        """Wait until it has struck that often."""
        while fault.hits < times:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._struck.add(waiter)
            await waiter
