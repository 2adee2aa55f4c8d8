"""What is said of decisions and of commands: each change once, what repeats with every tick not at all."""

from __future__ import annotations

import structlog

from autoscaler.core.contract.commands import Annotate, Command, SetReplicas
from autoscaler.core.contract.decision import Decision, Direction
from autoscaler.daemon.actuator import Ending

_REMEMBERED_MAX = 1000
"""Targets whose last failure is remembered."""

_log = structlog.get_logger(__name__)


class DecisionLog:
    """Says decisions: the canonical line, and what became different since the last one."""

    def __init__(self) -> None:
        self._reasons: dict[str, tuple[str, int | None]] = {}
        self._conditions: dict[tuple[str, str], tuple[str, str]] = {}

    def say(self, decision: Decision, *, cluster_age_s: float, duration_s: float) -> None:
        """Log one decision, with the ages of what it rests on and how long all models took."""
        measures = decision.measures
        now = (decision.reason, decision.desired_replicas)
        changed = (
            decision.direction is not Direction.HOLD or self._reasons.get(decision.model) != now
        )
        self._reasons[decision.model] = now
        log = _log.bind(model=decision.model, tick=decision.event)
        _say_fallback(decision)
        (log.info if changed else log.debug)(
            "tick.finished",
            direction=str(decision.direction),
            reason=decision.reason,
            message=decision.trail[-1].message if decision.trail else "",
            policy=decision.policy,
            desired_replicas=decision.desired_replicas,
            current_replicas=decision.current_replicas,
            ready_replicas=sum(pool.ready_replicas for pool in decision.pools),
            starting_replicas=sum(pool.starting_replicas for pool in decision.pools),
            proposal_replicas=decision.proposal_replicas,
            demand_replicas=_rounded(measures.demand_replicas),
            forecast_replicas=_rounded(measures.forecast_replicas),
            cold_start_s=_rounded(measures.cold_start_s),
            observation_age_s=_rounded(measures.observation_age_s),
            cluster_age_s=_rounded(cluster_age_s),
            duration_s=round(duration_s, 6),
        )
        for condition in decision.conditions:
            key = (decision.model, condition.type)
            state = (condition.status, condition.reason)
            if self._conditions.get(key) != state:
                self._conditions[key] = state
                log.info(
                    "condition.changed",
                    condition=condition.type,
                    status=condition.status,
                    reason=condition.reason,
                    message=condition.message,
                )

    def forget(self, models: set[str]) -> None:
        """Drop what was said of models that are not among these."""
        self._reasons = {key: said for key, said in self._reasons.items() if key in models}
        self._conditions = {key: said for key, said in self._conditions.items() if key[0] in models}


class CommandLog:
    """Says commands: what was decided, and how it ended."""

    def __init__(self) -> None:
        self._endings: dict[tuple[str, str], str] = {}
        """By kind and target: how the last command ended, unless it was accepted."""
        self._scales: dict[str, int] = {}
        """By target: what was last decided and not yet accepted."""

    def decided(self, command: Command) -> None:
        """Log a scale that is to be written; one that is decided again with every tick, only once."""
        if not isinstance(command, SetReplicas):
            return
        again = self._scales.get(command.target) == command.replicas
        self._scales[command.target] = command.replicas
        (_log.debug if again else _log.info)(
            "scale.decided",
            model=command.model,
            target=command.target,
            replicas=command.replicas,
            command=command.id,
        )

    def ended(self, command: Command, ending: Ending) -> None:
        """Log how a command ended; a failure that repeats with every tick is said once."""
        repeated = self._repeated(command, ending)
        log = _log.bind(model=command.model, target=command.target, command=command.id)
        kind, detail = type(command).__name__, _detail(command)
        scale = isinstance(command, SetReplicas)
        if ending.accepted:
            log.info("scale.applied" if scale else "command.applied", kind=kind, value=detail)
            return
        quiet = repeated or ending.reason in ("Superseded", "Skipped")
        say = log.debug if quiet else log.info if ending.reason == "Withheld" else log.warning
        say(
            "scale.failed" if scale else "command.failed",
            kind=kind,
            value=detail,
            reason=ending.reason,
            message=ending.message,
        )

    def _repeated(self, command: Command, ending: Ending) -> bool:
        """Whether the same write to the same target ended the same way the last time."""
        key = (type(command).__name__, command.target)
        said = f"{ending.reason} {ending.message} {_detail(command)}"
        repeated = self._endings.get(key) == said
        if ending.accepted:
            self._endings.pop(key, None)
            self._scales.pop(command.target, None)
        else:
            if len(self._endings) >= _REMEMBERED_MAX:
                self._endings.clear()  # pods come and go; saying something twice does no harm
            self._endings[key] = said
        return repeated


def _detail(command: Command) -> int | str | None:
    if isinstance(command, SetReplicas):
        return command.replicas
    return command.value if isinstance(command, Annotate) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


_FALLBACK_EVENTS = {"FallbackRaised": "fallback.raised", "FallbackReleased": "fallback.released"}


def _say_fallback(decision: Decision) -> None:
    for step in decision.trail:
        if step.reason in _FALLBACK_EVENTS:
            _log.info(
                _FALLBACK_EVENTS[step.reason],
                model=decision.model,
                message=step.message,
                replicas=sum(pool.fallback_replicas for pool in decision.pools),
            )
