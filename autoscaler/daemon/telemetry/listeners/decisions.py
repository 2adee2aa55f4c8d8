"""Decisions, counted and logged: one canonical line a model and tick, and each change once."""

from __future__ import annotations

import structlog

from autoscaler.core.contract.decision import Decision, Direction
from autoscaler.core.contract.events import Observed, SpecChanged
from autoscaler.core.contract.reasons import Reason
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.daemon.telemetry.metrics import Metrics
from autoscaler.daemon.telemetry.words import ADJUSTMENTS

_FALLBACK_EVENTS = {
    Reason.FALLBACK_RAISED: "fallback.raised",
    Reason.FALLBACK_RELEASED: "fallback.released",
}

_log = structlog.get_logger(__name__)


class DecisionListener(Listener):
    """Takes note of each decision, and of how long observing and deciding took."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._models: frozenset[str] = frozenset()
        self._reasons: dict[str, tuple[str, int | None]] = {}
        """By model: reason and desired replicas of its last decision."""
        self._conditions: dict[tuple[str, str], tuple[str, str]] = {}
        """By model and condition type: status and reason."""
        for direction in Direction:
            for reason in Reason:
                metrics.count("fleet_decisions_total", str(direction), reason, by=0)
        for guard in ADJUSTMENTS:
            for direction in (Direction.UP, Direction.DOWN):
                metrics.count("fleet_guard_adjustments_total", guard, str(direction), by=0)

    def handled(self, handled: Handled) -> None:
        """Measure what was decided; follow the fleet."""
        event, decide_s = handled.event, handled.decide_s
        if isinstance(event, SpecChanged):
            self._follow(frozenset(model.key for model in event.fleet.models))
        if not isinstance(event, Observed):
            return
        self._metrics.measure("decision_duration_seconds", decide_s)
        self._metrics.measure("tick_duration_seconds", handled.observe_s + decide_s)

    def decided(self, handled: Handled, decision: Decision) -> None:
        """Count and log one decision."""
        event = handled.event
        cluster_age_s = (
            max(0.0, event.at - event.cluster_at) if isinstance(event, Observed) else 0.0
        )
        self._log_decision(decision, cluster_age_s=cluster_age_s, duration_s=handled.decide_s)
        if handled.acts:
            _log_fallback(decision)
        self._count(decision)

    def engine_broke(self) -> None:
        """Count a bug over which the whole engine held."""
        self._metrics.count("engine_errors_total")

    def _count(self, decision: Decision) -> None:
        namespace, _, model = decision.model.partition("/")
        count = self._metrics.count
        count("decisions_total", namespace, model, str(decision.direction), decision.reason)
        count("fleet_decisions_total", str(decision.direction), decision.reason)
        broken = decision.scores is None or decision.hindsight == ()
        if decision.reason == Reason.INVARIANT_BROKEN or broken:
            count("engine_errors_total")
        for step in decision.trail:
            if step.by in ADJUSTMENTS and step.before != step.after:
                direction = Direction.UP if step.after > step.before else Direction.DOWN
                count("guard_adjustments_total", namespace, model, step.by, str(direction))
                count("fleet_guard_adjustments_total", step.by, str(direction))

    def _log_decision(self, decision: Decision, *, cluster_age_s: float, duration_s: float) -> None:
        measures = decision.measures
        now = (decision.reason, decision.desired_replicas)
        changed = (
            decision.direction is not Direction.HOLD or self._reasons.get(decision.model) != now
        )
        self._reasons[decision.model] = now
        if decision.scores is not None:
            for remark in decision.scores.remarks:
                _log.info(
                    "decision.scored", model=decision.model, tick=decision.event, message=remark
                )
        log = _log.bind(model=decision.model, tick=decision.event)
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
        self._log_conditions(decision)

    def _log_conditions(self, decision: Decision) -> None:
        for condition in decision.conditions:
            key = (decision.model, condition.type)
            state = (condition.status, condition.reason)
            if self._conditions.get(key) != state:
                self._conditions[key] = state
                _log.info(
                    "condition.changed",
                    model=decision.model,
                    tick=decision.event,
                    condition=condition.type,
                    status=condition.status,
                    reason=condition.reason,
                    message=condition.message,
                )

    def _follow(self, models: frozenset[str]) -> None:
        """Forget the models that are gone."""
        before, self._models = self._models, models
        self._reasons = {key: last for key, last in self._reasons.items() if key in models}
        self._conditions = {key: last for key, last in self._conditions.items() if key[0] in models}
        for key in before - models:
            namespace, _, model = key.partition("/")
            for name in ("decisions_total", "guard_adjustments_total"):
                self._metrics.forget(name, namespace, model)


def _log_fallback(decision: Decision) -> None:
    for step in decision.trail:
        if step.reason in _FALLBACK_EVENTS:
            _log.info(
                _FALLBACK_EVENTS[step.reason],
                model=decision.model,
                message=step.message,
                replicas=sum(pool.fallback_replicas for pool in decision.pools),
            )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
