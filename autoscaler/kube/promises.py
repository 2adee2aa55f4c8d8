"""The fallback annotation: our promises, as they stand on a scale target. Read, never guessed at.

An annotation that does not parse is left alone and said so: to write over what we cannot read could
take back capacity that somebody relies on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from autoscaler.core.contract.state import Promise
from autoscaler.kube.api.timestamps import seconds


def parse_promises(text: str | None) -> tuple[Promise, ...] | None:
    """The promises, ordered by node; None: the annotation does not say what it should.

    No annotation and an empty list are no promises. `since` is an RFC 3339 time or seconds since the
    epoch.
    """
    if text is None:
        return ()
    try:
        entries = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return None
    if not isinstance(entries, list):
        return None
    promises: dict[str, Promise] = {}
    for entry in entries:
        promise = _promise(entry)
        if promise is None or promise.node in promises:
            return None
        promises[promise.node] = promise
    return tuple(promises[node] for node in sorted(promises))


def _promise(entry: object) -> Promise | None:
    if not isinstance(entry, Mapping):
        return None
    node, replicas, since = entry.get("node"), entry.get("replicas"), _since(entry.get("since"))
    if not isinstance(node, str) or not node or not math.isfinite(since):
        return None
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        return None
    return Promise(node=node, replicas=replicas, since=since)


def _since(told: Any) -> float:
    if isinstance(told, int | float) and not isinstance(told, bool):
        return float(told)
    return seconds(told)
