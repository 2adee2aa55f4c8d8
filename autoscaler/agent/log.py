"""The agent's log: one JSON object a line on standard output, and few of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO, TypeAlias

from autoscaler.agent.notice import rfc3339

Log: TypeAlias = Callable[..., None]
"""Called with an event and its details."""

EVENTS = {
    "agent.started": "which Node, which metadata service, with which options",
    "agent.stopped": "it was asked to end; the mark stays as it is",
    "agent.broke": "a bug of ours: a thread ended; so does the agent, and is started anew",
    "provider.unknown": "no cloud is recognized on this machine; it is looked for again",
    "metadata.failed": "one feed of the metadata service says nothing; what it said last stays",
    "metadata.recovered": "it answers again",
    "metadata.broke": "a bug of ours in one feed: the others go on; with its trace",
    "notice.marked": "the Node carries a notice now, or another one",
    "notice.cleared": "the Node carries none any more",
    "node.failed": "the API server does not take the mark; it is tried again",
    "node.recovered": "it does again",
    "event.acknowledged": "Azure may begin before the deadline: the Node is drained",
}
"""All there are."""


def log_to(stream: TextIO | None = None) -> Log:
    """Return a log that writes to a stream, by default standard output. It never raises."""

    def log(event: str, **details: Any) -> None:
        assert event in EVENTS, event
        line = json.dumps({"at": rfc3339(time.time()), "event": event, **details}, default=str)
        out = sys.stdout if stream is None else stream
        try:
            out.write(line + "\n")
            out.flush()
        except (OSError, ValueError):
            return  # nobody reads it: the mark matters, the log does not

    return log
