"""Writes that are sent only while this process is the one that acts.

A fence says how long a write that is begun now may take. `FencedClient` asks it just before each write is sent, and
gives the write no longer: one that hangs (a proxy, a server under load) is given up before another process could
have taken over. Reads pass.

What remains possible. Between that question and the socket lie the connection, if a new one is needed, and some
microseconds. A process that is stopped while it waits for the connection gives up when it goes on, for its timers
are looked at before its tasks are; one that is stopped within the microseconds sends the write then, however late.
And whoever stands between here and the API server may hold a write back and deliver it after we gave it up. Such a
write was decided by a process that did hold the lease, and

- a scale, a cordon, a mark and a deletion cost carry the resourceVersion that was read just before: refused, if
  the object was written since;
- an eviction and a deletion carry the pod's uid: they can end no other pod than the one that was meant, but that one
  later than it was decided;
- an annotation of a scale target (a promise) is no more than what was true then; the next tick writes it anew. So
  it is with the status of a resource, and with Events.

If nobody has written the object meanwhile it goes through, once, and whoever acts now sees it on its next tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from autoscaler.errors import LeadershipLost
from autoscaler.kube.api.client import CALL_TIMEOUT_S, ApiError, Client
from autoscaler.kube.api.fields import Json
from autoscaler.kube.api.resources import ApiResource

_READS = frozenset({"get", "list", "watch"})


class Fence(Protocol):
    """Between decisions and writes."""

    def write_s(self) -> float:
        """How long a write that is begun now may take, seconds; 0: none may be begun."""

    def note_unanswered(self) -> None:
        """Take note that a write was sent and had no answer: it may still be on its way."""


class FencedClient(Client):
    """A client whose writes pass a fence. It shares the connections of the one that it is made of."""

    def __init__(self, client: Client, fence: Fence) -> None:
        super().__init__(client._api, client._access)  # noqa: SLF001  of its own class
        self._fence = fence

    async def call(
        self,
        verb: str,
        resource: ApiResource,
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Json:
        """As the client's; raises LeadershipLost instead of sending a write that the fence does not let through."""
        write = verb not in _READS
        if write:
            # First, so that nothing slow stands between the question and the sending: a token may be a program's.
            await self._access.refresh()
            write_s = self._fence.write_s()
            if write_s <= 0.0:
                raise LeadershipLost(
                    f"{verb} {resource.plural} {namespace}/{name}: not sent, the lease was not held any more"
                )
            timeout_s = min(timeout_s, write_s)
        answered = False
        try:
            # aiohttp rounds time-outs of more than five seconds up; this one may not be.
            async with asyncio.timeout(timeout_s if write else None):
                answer = await super().call(
                    verb,
                    resource,
                    namespace=namespace,
                    name=name,
                    subresource=subresource,
                    query=query,
                    body=body,
                    content_type=content_type,
                    timeout_s=timeout_s,
                )
            answered = True
        except ApiError as error:
            answered = not error.unanswered
            raise
        except TimeoutError as error:
            raise ApiError(
                f"{verb} {resource.plural} {namespace}/{name} at {self.server}: no answer within "
                f"{timeout_s:.1f} s, which is as long as no other daemon can have taken over",
                found="no answer in time",
                unanswered=True,
            ) from error
        finally:
            if write and not answered:
                self._fence.note_unanswered()
        return answer
