"""Commands, counted and logged: what is to be written, and how each write ended.

What repeats with every tick is logged once.
"""

from __future__ import annotations

import structlog

from autoscaler.core.contract.commands import Annotate, Command, SetDeletionCost, SetReplicas
from autoscaler.core.contract.events import Observed
from autoscaler.daemon.actuator import CommandEnding
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.daemon.telemetry.metrics import Metrics
from autoscaler.daemon.telemetry.words import COMMAND_KINDS, COMMAND_REASONS, SENT_AND_REFUSED

_REMEMBERED_MAX = 1000
"""Targets whose last failure is remembered."""

_log = structlog.get_logger(__name__)


class CommandListener(Listener):
    """Takes note of each command when it is decided and when it ended."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._failures: dict[tuple[str, str], str] = {}
        """By kind and target: how the last command ended, unless it was accepted."""
        self._replicas: dict[str, int] = {}
        """By target: what was last decided and not yet accepted."""
        for kind in COMMAND_KINDS:
            for reason in COMMAND_REASONS:
                metrics.count("commands_total", kind, reason, by=0)
        for reason in SENT_AND_REFUSED:
            metrics.count("actuation_errors_total", reason, by=0)

    def handled(self, handled: Handled) -> None:
        """Log the scales that are to be written; not those that another daemon writes."""
        if isinstance(handled.event, Observed) and handled.acts:
            for command in handled.outcome.commands:
                if isinstance(command, SetReplicas):
                    self._log_decided(command)

    def command_ended(self, command: Command, ending: CommandEnding) -> None:
        """Count and log how a command ended."""
        kind = type(command).__name__
        self._metrics.count("commands_total", kind, ending.reason)
        if ending.sent_s is not None and not ending.accepted:
            self._metrics.count("actuation_errors_total", ending.reason)
        repeated = self._is_repeated(command, ending)
        log = _log.bind(model=command.model, target=command.target, command=command.id)
        value = _written_value(command)
        is_scale = isinstance(command, SetReplicas)
        if ending.accepted:
            log.info("scale.applied" if is_scale else "command.applied", kind=kind, value=value)
            return
        quiet = repeated or ending.stood_by or ending.reason in ("Superseded", "Skipped")
        say = log.debug if quiet else log.info if ending.reason == "Withheld" else log.warning
        say(
            "scale.failed" if is_scale else "command.failed",
            kind=kind,
            value=value,
            reason=ending.reason,
            message=ending.message,
        )

    def _log_decided(self, command: SetReplicas) -> None:
        again = self._replicas.get(command.target) == command.replicas
        self._replicas[command.target] = command.replicas
        (_log.debug if again else _log.info)(
            "scale.decided",
            model=command.model,
            target=command.target,
            replicas=command.replicas,
            command=command.id,
        )

    def _is_repeated(self, command: Command, ending: CommandEnding) -> bool:
        """Whether the same write to the same target ended the same way the last time."""
        key = (type(command).__name__, command.target)
        failure = f"{ending.reason} {ending.message} {_written_value(command)}"
        if isinstance(command, SetDeletionCost) and (
            ending.accepted or ending.reason == "Forbidden"
        ):
            # The right is missing for all pods of a namespace alike: that is said once.
            key, failure = (key[0], command.namespace), ending.reason
        repeated = self._failures.get(key) == failure
        if ending.accepted:
            self._failures.pop(key, None)
            self._replicas.pop(command.target, None)
        else:
            if len(self._failures) >= _REMEMBERED_MAX:
                self._failures.clear()  # pods come and go; to log something twice does no harm
            self._failures[key] = failure
        return repeated


def _written_value(command: Command) -> int | str | None:
    """What the command writes; None: it has no value."""
    if isinstance(command, SetReplicas):
        return command.replicas
    if isinstance(command, SetDeletionCost):
        return command.cost
    return command.value if isinstance(command, Annotate) else None
