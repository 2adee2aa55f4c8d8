"""What the daemon tells of itself: it listens to the loop and feeds metrics, logs and pages."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from autoscaler import __version__
from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.contract.commands import Command
from autoscaler.core.contract.decision import Decision, Direction, Outcome
from autoscaler.core.contract.events import Event, NoticeReceived, Observed, SpecChanged
from autoscaler.core.contract.spec import FleetSpec, ModelSpec
from autoscaler.core.guards import GUARDS
from autoscaler.daemon.actuator import Ending
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.recording.recorder import Recorder
from autoscaler.daemon.telemetry.drains import DrainOutcome, Drains
from autoscaler.daemon.telemetry.gauges import model_values, source_values
from autoscaler.daemon.telemetry.metrics import Levels, Metrics, Value
from autoscaler.daemon.telemetry.narration import CommandLog, DecisionLog
from autoscaler.daemon.telemetry.words import (
    COMMAND_KINDS,
    COMMAND_REASONS,
    NOTICE_SOURCES,
    REASONS,
    SENT_AND_REFUSED,
)
from autoscaler.daemon.world import World

_STALLED_TICKS = 3
_STALLED_S_MIN = 30.0
"""Less than this is a busy machine, not a stalled loop."""

_log = structlog.get_logger(__name__)


class Report(Levels):
    """The daemon's listener, the source of its metrics' levels, and of its pages."""

    def __init__(
        self, *, clock: Clock, tick_s: float, world: World, recorder: Recorder | None
    ) -> None:
        self._clock = clock
        self._tick_s = tick_s
        self._world = world
        self._recorder = recorder
        self._fleet: FleetSpec | None = None
        self._decisions: dict[str, Decision] = {}
        self._decided_at: float | None = None
        self._alive_at = clock.now()
        self._spec_problems: tuple[str, ...] = ()
        self._drains = Drains()
        self._log = DecisionLog()
        self._commands = CommandLog()
        self._metrics = Metrics(self)
        self._create_closed_series()

    # -- what it listens to

    def handled(self, event: Event, outcome: Outcome, *, observe_s: float, decide_s: float) -> None:
        """Take note of one event that was handled."""
        self._alive_at = event.at
        match event:
            case Observed():
                self._decided(event, outcome, observe_s=observe_s, decide_s=decide_s)
            case SpecChanged():
                self._fleet_changed(event.fleet)
            case NoticeReceived():
                self._noticed(event)
            case _:
                pass

    def command_ended(self, command: Command, ending: Ending) -> None:
        """Take note of how one command ended."""
        kind = type(command).__name__
        self._metrics.count("commands_total", kind, ending.reason)
        if ending.sent_s is not None and not ending.accepted:
            self._metrics.count("actuation_errors_total", ending.reason)
        self._commands.ended(command, ending)

    def engine_broke(self) -> None:
        """Take note of a bug that the whole engine held over."""
        self._metrics.count("engine_errors_total")

    def spec_problems(self, lines: tuple[str, ...]) -> None:
        """Take note of the problems of the configuration on disk; none: it is in use."""
        self._spec_problems = lines

    def alive(self) -> None:
        """The loop came round."""
        self._alive_at = self._clock.now()

    # -- what it shows

    @property
    def registry(self) -> CollectorRegistry:
        """For /metrics."""
        return self._metrics.registry

    def unhealthy(self) -> str:
        """Why the process should be restarted; empty: it should not."""
        silent_s = self._clock.now() - self._alive_at
        if silent_s > max(_STALLED_S_MIN, 2 * _STALLED_TICKS * self._tick_s):
            return f"the loop has not come round for {silent_s:.0f} s"
        return ""

    def unready(self) -> tuple[str, ...]:
        """Why its decisions are not to be counted on now; empty: they are."""
        reasons = []
        problem = self._world.problem()
        if problem:
            reasons.append(problem)
        if self._decided_at is None:
            reasons.append("no decision was made yet")
        else:
            silent_s = self._clock.now() - self._decided_at
            if silent_s > max(_STALLED_S_MIN, _STALLED_TICKS * self._tick_s):
                reasons.append(f"the last decision was made {silent_s:.0f} s ago")
        return tuple(reasons)

    def models(self) -> dict[str, Any]:
        """The last decision of each model, with what is asked of it; and the sources."""
        fleet = self._fleet
        problems = self.unready()
        return {
            "at": self._clock.now(),
            "decided_at": self._decided_at,
            "version": __version__,
            "ready": not problems,
            "problems": list(problems),
            "spec_problems": list(self._spec_problems),
            "refused_namespaces": self._world.cluster.refusals(),
            "models": [
                {**to_builtins(self._decisions[model.key], Decision), "spec": _asked(model)}
                for model in (fleet.models if fleet else ())
                if model.key in self._decisions
            ],
            "sources": self._world.sources(),
        }

    def values(self) -> Iterable[Value]:
        """The levels, for a scrape."""
        if self._fleet is not None:
            for model in self._fleet.models:
                decision = self._decisions.get(model.key)
                if decision is not None:
                    yield from model_values(model, decision)
        yield from source_values(self._world.collector, at=self._clock.now())
        yield Value("cluster_age_seconds", (), self._world.age_s())
        yield Value("cluster_failures_total", (), self._world.cluster.failures_total)
        recorder = self._recorder
        yield Value("recording_events_total", (), recorder.recorded_events if recorder else 0)
        yield Value("recording_lost_events_total", (), recorder.lost_events if recorder else 0)
        yield Value("recording_bytes_total", (), recorder.written_bytes if recorder else 0)
        yield Value("refused_namespaces", (), len(self._world.cluster.refusals()))
        yield Value("spec_problems", (), len(self._spec_problems))
        yield Value("leader", (), 1)
        yield Value("build_info", (__version__, platform.python_version()), 1)

    # -- within

    def _decided(
        self, event: Observed, outcome: Outcome, *, observe_s: float, decide_s: float
    ) -> None:
        if outcome.decisions:
            self._decided_at = event.at
        self._metrics.measure("decision_duration_seconds", decide_s)
        self._metrics.measure("tick_duration_seconds", observe_s + decide_s)
        for decision in outcome.decisions:
            self._decisions[decision.model] = decision
            self._log.say(
                decision,
                cluster_age_s=max(0.0, event.at - event.cluster_at),
                duration_s=decide_s,
            )
            self._count_decision(decision)
        for command in outcome.commands:
            self._commands.decided(command)
        self._follow_drains(event, outcome)

    def _count_decision(self, decision: Decision) -> None:
        namespace, _, model = decision.model.partition("/")
        count = self._metrics.count
        count("decisions_total", namespace, model, str(decision.direction), decision.reason)
        if decision.reason == "InvariantBroken":
            count("engine_errors_total")
        for step in decision.trail:
            if step.by in GUARDS and step.before != step.after:
                direction = Direction.UP if step.after > step.before else Direction.DOWN
                count("guard_adjustments_total", namespace, model, step.by, str(direction))

    def _follow_drains(self, event: Observed, outcome: Outcome) -> None:
        began, ended = self._drains.follow(event, outcome.commands)
        for node in began:
            _log.info("drain.started", node=node)
        for drain in ended:
            self._metrics.count("drains_total", str(drain.outcome))
            if drain.outcome is DrainOutcome.FINISHED:
                self._metrics.measure("drain_duration_seconds", drain.duration_s)
            say = _log.warning if drain.outcome is DrainOutcome.OVERRAN else _log.info
            event_name = (
                "drain.overran" if drain.outcome is DrainOutcome.OVERRAN else "drain.finished"
            )
            say(
                event_name,
                node=drain.node,
                outcome=str(drain.outcome),
                replicas=drain.replicas,
                duration_s=round(drain.duration_s, 3),
            )

    def _noticed(self, event: NoticeReceived) -> None:
        notice = event.interruption
        self._metrics.count("interruption_notices_total", notice.source)
        lead_s = None
        if notice.deadline_at is not None:
            lead_s = max(0.0, notice.deadline_at - event.at)
            self._metrics.measure("notice_lead_time_seconds", lead_s)
        _log.warning(
            "notice.received",
            node=notice.node,
            interruption=str(notice.kind),
            source=notice.source,
            lead_s=None if lead_s is None else round(lead_s, 1),
        )

    def _fleet_changed(self, fleet: FleetSpec) -> None:
        before = {model.key for model in self._fleet.models} if self._fleet else set()
        self._fleet = fleet
        now = {model.key for model in fleet.models}
        self._decisions = {key: kept for key, kept in self._decisions.items() if key in now}
        self._log.forget(now)
        for key in before - now:
            namespace, _, model = key.partition("/")
            for name in ("decisions_total", "guard_adjustments_total"):
                self._metrics.forget(name, namespace, model)
        for key in now - before:
            self._create_model_series(key)

    def _create_closed_series(self) -> None:
        count = self._metrics.count
        for kind in COMMAND_KINDS:
            for reason in COMMAND_REASONS:
                count("commands_total", kind, reason, by=0)
        for reason in SENT_AND_REFUSED:
            count("actuation_errors_total", reason, by=0)
        for source in NOTICE_SOURCES:
            count("interruption_notices_total", source, by=0)
        for outcome in DrainOutcome:
            count("drains_total", str(outcome), by=0)

    def _create_model_series(self, key: str) -> None:
        namespace, _, model = key.partition("/")
        for direction in Direction:
            for reason in REASONS:
                self._metrics.count(
                    "decisions_total", namespace, model, str(direction), reason, by=0
                )
        for guard in GUARDS:
            for direction in (Direction.UP, Direction.DOWN):
                self._metrics.count(
                    "guard_adjustments_total", namespace, model, guard, str(direction), by=0
                )


def _asked(model: ModelSpec) -> dict[str, Any]:
    """What a reader of a decision needs of the specification."""
    return {
        "mode": str(model.mode),
        "pause": str(model.pause),
        "min_replicas": model.min_replicas,
        "max_replicas": model.max_replicas,
        "pools": [
            {
                "pool": pool.name,
                "target": str(pool.target),
                "capacity_type": str(pool.capacity_type),
                "price_usd_per_hour": pool.price_usd_per_hour,
            }
            for pool in model.pools
        ],
    }
