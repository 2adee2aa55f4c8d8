"""Promises as text: the value of the fallback annotation on a scale target.

Written by the tick, read back from what is observed; whoever runs a different release may have written
it, or anybody who may edit the target, so nothing in it is guessed and everything has a limit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from autoscaler.core.contract.state import Promise

TEXT_CHARACTERS_MAX = 64 * 1024
"""Of the whole annotation; Kubernetes lets all annotations of an object have 256 KiB."""
PROMISES_MAX = 1000
"""A promise is for one node."""
REPLICAS_MAX = 100_000
"""Of one promise; as of a model's `maxReplicas`."""
NODE_CHARACTERS_MAX = 253
LATEST_AT = 7_258_118_400.0
"""The year 2200: whatever claims to be later, or before 1970, was not written by us."""


def to_text(promises: Iterable[Promise]) -> str | None:
    """Write promises as a JSON list; None (no annotation) where nothing is promised."""
    entries = [
        {
            "node": promise.node,
            "replicas": promise.replicas,
            "since": datetime.fromtimestamp(promise.since, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for promise in promises
    ]
    return json.dumps(entries, separators=(",", ":")) if entries else None


def from_text(text: str | None) -> tuple[Promise, ...] | None:
    """Read promises, ordered by node; None: the text is not a list of promises.

    No annotation and an empty list both mean that nothing is promised. `since` is an RFC 3339 time or
    seconds since the epoch. Fields that are not known here are ignored; a field given twice is not.
    """
    if text is None:
        return ()
    if len(text) > TEXT_CHARACTERS_MAX:
        return None
    try:
        entries = json.loads(text, object_pairs_hook=_fields)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, list) or len(entries) > PROMISES_MAX:
        return None
    promises: dict[str, Promise] = {}
    for entry in entries:
        promise = _promise(entry)
        if promise is None or promise.node in promises:
            return None
        promises[promise.node] = promise
    return tuple(promises[node] for node in sorted(promises))


def _fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """One JSON object; raises ValueError for a field given twice, of which JSON takes the last in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field given twice")
    return found


def _promise(entry: object) -> Promise | None:
    if not isinstance(entry, Mapping):
        return None
    node, replicas, since = entry.get("node"), entry.get("replicas"), _seconds(entry.get("since"))
    if not isinstance(node, str) or not 0 < len(node) <= NODE_CHARACTERS_MAX:
        return None
    if not node.isprintable() or not 0.0 <= since <= LATEST_AT:  # NaN is not
        return None
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        return None
    if not 0 <= replicas <= REPLICAS_MAX:
        return None
    return Promise(node=node, replicas=replicas, since=since)


def _seconds(since: object) -> float:
    """Return seconds since the epoch; NaN for what is no moment, or names no time zone."""
    try:
        if isinstance(since, int | float) and not isinstance(since, bool):
            return float(since)
        if isinstance(since, str):
            moment = datetime.fromisoformat(since)
            return moment.timestamp() if moment.tzinfo is not None else math.nan
    except (ValueError, OverflowError):
        pass
    return math.nan
