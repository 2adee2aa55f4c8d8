"""The API server of `local_cluster` without a socket: every write is seen, and answers may be malformed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulations.box.local_cluster.api.requests import ApiRequest
from simulations.box.local_cluster.api.server import ApiServer
from simulations.box.local_cluster.objects import Object, StatusError
from simulations.box.local_cluster.store import Store

WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiWrite:
    """A write of the daemon as the API server took it."""

    at: float
    verb: str
    resource: str
    """As roles name it: `deployments/scale`."""
    namespace: str
    name: str
    body: Any
    before: Object | None
    """The object that was there."""
    error: str
    """Why it was refused; empty: it was done."""

    def __str__(self) -> str:
        where = "/".join(filter(None, (self.namespace, self.name)))
        said = json.dumps(self.body, sort_keys=True)[:300]
        return f"{self.verb} {self.resource} {where} {said} {self.error or 'done'}"


def _nested(answer: Object, path: tuple[str, ...], value: Any) -> Object:
    """A copy with another value at a path; through lists: of their first entry."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    inner = answer.get(step) if isinstance(answer, dict) else None
    if isinstance(inner, list) and rest:
        inner = [_nested(inner[0] if inner else {}, rest, value), *inner[1:]]
    else:
        inner = _nested(inner if isinstance(inner, dict) else {}, rest, value)
    return {**(answer if isinstance(answer, dict) else {}), step: inner}


_PATHS: tuple[tuple[str, ...], ...] = (
    ("metadata",),
    ("metadata", "resourceVersion"),
    ("metadata", "continue"),
    ("items",),
    ("items", "metadata"),
    ("items", "spec"),
    ("items", "status"),
    ("items", "status", "conditions"),
    ("items", "spec", "replicas"),
    ("items", "metadata", "annotations"),
    ("items", "metadata", "ownerReferences"),
    ("items", "metadata", "deletionTimestamp"),
    ("spec",),
    ("spec", "replicas"),
    ("type",),
    ("object",),
    ("object", "metadata"),
    ("object", "spec"),
    ("object", "status"),
    ("object", "status", "conditions"),
    ("object", "spec", "taints"),
    ("object", "metadata", "labels"),
    ("object", "metadata", "resourceVersion"),
    ("code",),
)
_VALUES: tuple[Any, ...] = (
    None, "x", "", [], [None], ["x"], {}, {"a": [1]}, 0, -1, 10**400, 1e300, True, "9" * 400,
    "0001-01-01T00:00:00Z", "99999-01-01T00:00:00Z", [[[[]]]],
)  # fmt: skip


def malformed(answer: Object, rng: random.Random) -> bytes:
    """An answer, or an event of a watch, with one thing wrong: in type, size, time or encoding."""
    whole = json.dumps(answer).encode()
    match rng.randrange(12):
        case 0:
            return whole[: rng.randrange(len(whole))]
        case 1:
            return whole.replace(b'"', b"\xff\xfe", 3)
        case 2:
            return rng.choice((b"null", b"[]", b'"x"', b"7", b"", b"{}", b"[" * 2_000, b"<html>"))
        case 3:
            return b'{"type": "ERROR", "object": {"code": "abc", "message": [1], "reason": {}}}'
        case 4:
            return b'{"kind": "Status", "code": [410], "details": "x", "metadata": {}}'
        case _:
            return json.dumps(_nested(answer, rng.choice(_PATHS), rng.choice(_VALUES))).encode()


class SimulatedApi(ApiServer):
    """See the module."""

    def __init__(
        self,
        store: Store,
        *,
        rng: random.Random,
        before_write: Callable[[], bool],
        after_write: Callable[[ApiWrite], None],
    ) -> None:
        """Prepare.

        Args:
            store: The objects.
            rng: For malformed answers.
            before_write: Called as a write comes in; True: it gets lost.
            after_write: Called with each write that was done or refused, before its answer is sent.
        """
        super().__init__(store, bookmark_every_s=60.0)
        self.malformed_left = 0
        """So many of the next answers are malformed."""
        self._objects = store
        self._rng = rng
        self._before, self._after = before_write, after_write

    def written(self, request: ApiRequest, answer: Object) -> bytes:
        if self.malformed_left > 0:
            self.malformed_left -= 1
            return malformed(answer, self._rng)
        return super().written(request, answer)

    def _perform(self, request: ApiRequest) -> Object:
        if request.verb not in WRITES:
            return super()._perform(request)
        if self._before():
            raise StatusError("ServiceUnavailable", "the one who asked is dead")
        before = self._objects.find(request.plural, request.namespace, request.name)
        error = ""
        try:
            return super()._perform(request)
        except StatusError as refused:
            error = str(refused)
            raise
        finally:
            self._after(
                ApiWrite(
                    at=asyncio.get_running_loop().time(),
                    verb=request.verb,
                    resource=request.resource,
                    namespace=request.namespace,
                    name=request.name,
                    body=request.body,
                    before=before,
                    error=error,
                )
            )
