"""Faults on demand: how an API server, or a proxy in front of it, fails. No I/O.

A fault stands until it is lifted or has struck `times` times. What it does to a request it also does to
a watch that is open already: one that hangs is silent, one that is reset is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum


class ApiFaultKind(StrEnum):
    """What happens to a request that a fault matches."""

    HANG = "hang"
    """Taken, never answered; an open watch says nothing any more, no bookmark either."""
    RESET = "reset"
    """The connection is reset without a byte; an open watch is cut in the middle."""
    ANSWER_LOST = "answer-lost"
    """Done, and then the connection is reset without a byte."""
    SLOW = "slow"
    """Answered rightly, after `delay_s`."""
    BAD_GATEWAY = "bad-gateway"
    """502 with the HTML page of a proxy."""
    UNAVAILABLE = "unavailable"
    """503 with a Status."""
    FORBIDDEN = "forbidden"
    """403 with a Status: refused writes, or a role that lacks a rule."""
    CONFLICT = "conflict"
    """409 with a Status: somebody else was quicker."""
    GONE = "gone"
    """410: of a list as the answer, of a watch as an ERROR event, which ends it."""


WATCH_KINDS = frozenset({ApiFaultKind.HANG, ApiFaultKind.RESET, ApiFaultKind.GONE})
"""Those that strike watches which are open."""


@dataclass(slots=True, kw_only=True, eq=False)
class ApiFault:
    """One thing that goes wrong."""

    kind: ApiFaultKind
    verbs: frozenset[str] | None = None
    """get, list, watch, create, update, patch, delete; None: all."""
    resource: str | None = None
    """`pods`, or with a subresource: `deployments/scale`; None: all."""
    times: int | None = None
    """How often it strikes before it is lifted; None: until it is lifted."""
    delay_s: float = 0.0
    """For SLOW."""
    hits: int = field(default=0, init=False)

    def matches(self, verb: str, resource: str) -> bool:
        """Whether it concerns this request and has not struck often enough."""
        return (
            (self.verbs is None or verb in self.verbs)
            and (self.resource is None or self.resource == resource)
            and (self.times is None or self.hits < self.times)
        )


class ApiFaults:
    """The faults that stand, in order: the first that matches strikes."""

    def __init__(self, *, wake: Callable[[], None]) -> None:
        self._standing: list[ApiFault] = []
        self._wake = wake
        self._struck = asyncio.Event()
        self._lifted = asyncio.Event()

    def inject(self, fault: ApiFault) -> ApiFault:
        """Let it stand; open watches notice at once."""
        self._standing.append(fault)
        self._wake()
        return fault

    def lift(self, fault: ApiFault) -> None:
        """Take it away; what hangs because of it is let go."""
        if fault in self._standing:
            self._standing.remove(fault)
        self._lifted.set()

    @contextmanager
    def during(self, fault: ApiFault) -> Iterator[ApiFault]:
        """Let it stand for a block."""
        self.inject(fault)
        try:
            yield fault
        finally:
            self.lift(fault)

    async def lifted(self, fault: ApiFault) -> None:
        """Wait until it stands no more."""
        while fault in self._standing:
            self._lifted.clear()
            await self._lifted.wait()

    def strike(
        self, verb: str, resource: str, kinds: frozenset[ApiFaultKind] = frozenset(ApiFaultKind)
    ) -> ApiFault | None:
        """The fault of one of these kinds that hits this request, counted; None: all is well."""
        for fault in self._standing:
            if fault.kind in kinds and fault.matches(verb, resource):
                fault.hits += 1
                self._struck.set()
                return fault
        return None

    async def hit(self, fault: ApiFault) -> None:
        """Wait until it has struck."""
        while not fault.hits:
            self._struck.clear()
            await self._struck.wait()
