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

from autoscaler.foreign_text import shown

EVENTS: dict[str, str] = {
    "daemon.started": "what runs, where, with which settings",
    "daemon.stopped": "the end of a shutdown",
    "daemon.broke": "a bug of ours ended the daemon; with its trace",
    "settings.loaded": "the specification of the fleet that is used from now on",
    "spec.rejected": "documents that are not used, a line a problem; their models stay as they were",
    "resources.unread": "the InferenceAutoscalers of the cluster cannot be read; what was read before stays in use",
    "resources.read": "they can be read again",
    "status.failed": "the status of a resource cannot be written; it is tried again",
    "status.written": "it was written again",
    "event.failed": "an Event about a resource cannot be written; what it tells is in the status",
    "status.broke": "a bug of ours in describing a resource: its status stays as it is; with its trace",
    "clock.jumped": "the wall clock went ahead, and the daemon's with it",
    "cluster.synced": "everything was listed once",
    "cluster.lost": "the API server is not in step with us any more, or not yet",
    "cluster.recovered": "it is again",
    "namespace.refused": "a right is lacking in a namespace: its models hold, the others go on",
    "namespace.readable": "it can be read again, or nothing is asked of it any more",
    "notices.watched": "Events or NodeClaims, which notices are read from, can be read, or the cluster has none",
    "notices.refused": "the right to read them is lacking; nothing else hangs on it",
    "notices.uncovered": "spot nodes of which nothing could ever give notice, or only late; what to do",
    "rivals.unseen": "HPAs of a namespace cannot be read: one on a target is seen by what it writes alone",
    "rivals.seen": "they can be read, or nothing is asked of them any more",
    "objects.unreadable": "objects are there and cannot be read: what they stand for is unknown",
    "objects.readable": "all can be read again",
    "object.broke": "a bug of ours in reading an object: it is unknown; with its trace",
    "subscriber.broke": "a bug of ours in who is told of changes; with its trace",
    "change.lost": "the change that it could not take; the others were told",
    "listener.broke": "a bug of ours in who is told of events and decisions; with its trace",
    "model.doubted": "what is seen of a model contradicts itself: it holds until the sources agree",
    "model.believed": "they agree again, or the model is gone",
    "target.missing": "a scale target of a model does not exist; what there is in its place",
    "target.found": "it does now, or nothing is asked of it any more",
    "task.broke": "a bug of ours ended a task: it is begun anew; with its trace",
    "lease.gained": "this process acts from now on",
    "lease.lost": "it acts no more, and why; it takes part in the election again",
    "lease.held": "another process has the lease: this one stands by",
    "lease.failed": "the lease cannot be read or written: who has it loses it within seconds; told once",
    "lease.recovered": "it can be again",
    "lease.released": "given back at a shutdown: another takes over at once",
    "lease.kept": "not given back at a shutdown: another takes over when it has run out; why",
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
    "replica.departed": "a replica is gone: why, what was in flight, what finished, was aborted, lost, or is "
    "unknown",
    "fallback.raised": "on-demand replicas were promised for a doomed node",
    "fallback.released": "promised on-demand replicas are not owed any more",
    "condition.changed": "a condition of a model became another",
    "decision.scored": "what became certain of decisions before: capacity came late, a scale-down was regretted",
    "source.failed": "targets of a source began to fail",
    "source.late": "targets of a source are slower than their period, again and again",
    "source.broke": "a bug of ours in reading a target, which is unknown; with its trace",
    "source.recovered": "a source is whole again",
    "source.warned": "Prometheus said something beside its answer",
    "knowledge.taken": "what the engine was given back of what an earlier daemon had learnt of a model; a warning: nothing",
    "knowledge.unread": "what is kept of models could not be read; when it is tried again",
    "knowledge.unwritten": "what was learnt could not be kept, or not of all models",
    "knowledge.recovered": "it can be read, or written, again",
    "history.read": "a model's past was read from Prometheus: how much of what was asked for",
    "history.failed": "it could not be; when it is tried again, if it is",
    "history.abandoned": "it is not tried any more, as its server has not answered for long",
    "history.taken": "what of it the engine has learnt from",
    "engine.broke": "a bug of ours in the engine: the models hold; with its trace",
    "observation.broke": "a bug of ours in observing: nothing is decided on that tick; with its trace",
    "recording.failed": "the recording cannot be written; it is tried again",
    "recording.interrupted": "events are dropped from the recording for want of time",
    "recording.resumed": "the recording goes on after a hole",
    "recording.broke": "a bug of ours in the recorder; with its trace",
    "library.warned": "a warning or an error of a library, through `logging`",
}
"""Every event name, and what it means."""

_TRACE_CHARACTERS_MAX = 20_000
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
        structlog.processors.format_exc_info,
        _cut_trace,
    ]
    rendering: Any = (
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            timestamp_key="time",
            # Its own shows the variables of each frame where `rich` is installed: tokens among them.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if pretty
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    structlog.configure(
        processors=[*shared, rendering],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forwarder(level=logging.WARNING)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _cut_trace(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Cut a trace: its last lines quote what was found, which may be a megabyte, and anything."""
    trace = event.get("exception")
    if isinstance(trace, str):
        lines = trace[-_TRACE_CHARACTERS_MAX:].split("\n")
        event["exception"] = "\n".join(_indented(line) for line in lines)
    return event


def _indented(line: str) -> str:
    text = line.lstrip(" ")
    return " " * (len(line) - len(text)) + shown(text, limit=500)


def _json(event: dict[str, Any], **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


class _Forwarder(logging.Handler):
    """What libraries say through `logging`, as one of our events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record."""
        log = _log.bind(logger=record.name, message=shown(record.getMessage()))
        if record.levelno >= logging.ERROR:
            log.error("library.warned", exc_info=record.exc_info)
        else:
            log.warning("library.warned")
