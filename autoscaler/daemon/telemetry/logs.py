"""Every log event of the daemon, and how it is written: structlog, JSON unless on a terminal.

Event names are constant strings, `noun.past_verb`, and all of them are listed here: whoever searches or
alerts on one finds it, and a test compares this list with the code of every room. One canonical line a
model and tick (`tick.finished`) says what was decided; it is `info` when something changed, `debug` when
not.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import msgspec
import structlog

EVENTS: dict[str, str] = {
    "daemon.started": "what runs, where, with which settings",
    "daemon.stopped": "the end of a shutdown",
    "daemon.broke": "a bug of ours ended the daemon; with its trace",
    "settings.loaded": "the specification of the fleet that is used from now on",
    "spec.rejected": "a changed configuration is not used; one line a problem; the old one stays",
    "clock.jumped": "the wall clock went ahead, and the daemon's with it",
    "cluster.synced": "everything was listed once",
    "cluster.lost": "the API server is not in step with us any more, or not yet",
    "cluster.recovered": "it is again",
    "namespace.refused": "a right is lacking in a namespace: its models hold, the others go on",
    "namespace.readable": "it can be read again, or nothing is asked of it any more",
    "notice.received": "a node is being, or has been, taken away",
    "tick.finished": "one decision: numbers, reason, ages, duration",
    "scale.decided": "a new number of replicas of a target is to be written",
    "scale.applied": "it was accepted",
    "scale.failed": "it was not",
    "command.applied": "another write (annotation, cordon, eviction, deletion) was accepted",
    "command.failed": "it was not",
    "command.broke": "a bug of ours in a write; with its trace",
    "drain.started": "a pod of a doomed node is asked to finish and go",
    "drain.finished": "its last replica is gone in time, or the notice was taken back",
    "drain.overran": "the deadline came first",
    "fallback.raised": "on-demand replicas were promised for a doomed node",
    "fallback.released": "promised on-demand replicas are not owed any more",
    "condition.changed": "a condition of a model became another",
    "source.failed": "targets of a source began to fail",
    "source.recovered": "a source is whole again",
    "source.warned": "Prometheus said something beside its answer",
    "engine.broke": "a bug of ours in the engine: the models hold; with its trace",
    "observation.broke": "a bug of ours in observing: nothing is decided on that tick; with its trace",
    "recording.failed": "the recording cannot be written; it is tried again",
    "recording.interrupted": "events are dropped from the recording for want of time",
    "recording.resumed": "the recording goes on after a hole",
    "recording.broke": "a bug of ours in the recorder; with its trace",
    "library.warned": "a warning or an error of a library, through `logging`",
}
"""Every event name, and what it means."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_log = structlog.get_logger(__name__)


def configure(*, form: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Set up logging for this process; only the daemon's command does this.

    Args:
        form: `json`, `pretty`, or `auto`: pretty on a terminal.
        level: A key of LEVELS.
        stream: Where to; standard error by default, so that standard output stays a program's.
    """
    stream = stream or sys.stderr
    pretty = form == "pretty" or (form == "auto" and stream.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    rendering: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time")]
        if pretty
        else [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    )
    structlog.configure(
        processors=shared + rendering,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forwarder(level=logging.WARNING)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _json(event: dict[str, Any], **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


class _Forwarder(logging.Handler):
    """What libraries say through `logging`, as one of our events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record."""
        log = _log.bind(logger=record.name, message=record.getMessage())
        if record.levelno >= logging.ERROR:
            log.error("library.warned", exc_info=record.exc_info)
        else:
            log.warning("library.warned")
