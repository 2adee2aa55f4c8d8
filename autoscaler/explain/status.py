"""One line a model: is it fine, what does it want, why."""

from __future__ import annotations

from typing import NamedTuple

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.spec import Mode, Pause
from autoscaler.explain.asked import AskedModel
from autoscaler.explain.explanation import desired_usd_per_hour, wrong_conditions
from autoscaler.explain.figures import UNKNOWN, number, percent


class StatusRow(NamedTuple):
    """Of one model; None is unknown."""

    model: str
    mode: str
    """Of the resource; `Paused` where an annotation holds it."""
    ready_replicas: int
    current_replicas: int | None
    desired_replicas: int | None
    warm_floor_replicas: int
    demand_replicas: float | None
    forecast_low_replicas: float | None
    forecast_high_replicas: float | None
    attained_ratio: float | None
    """Last hour."""
    attainment_ratio: float
    """That is promised."""
    budget_left_ratio: float | None
    """Over a day."""
    usd_per_hour: float | None
    """Of what is desired."""
    reason: str
    wrong: tuple[str, ...]
    """Conditions that somebody may have to see to, as `Type`."""

    @property
    def ready_text(self) -> str:
        """Ready of those that are asked for."""
        return f"{self.ready_replicas}/{_whole(self.current_replicas)}"

    @property
    def desired_text(self) -> str:
        """As decided."""
        return _whole(self.desired_replicas)

    def expected_text(self, between: str) -> str:
        """From where to where the forecast goes."""
        if self.forecast_low_replicas is None:
            return UNKNOWN
        return f"{number(self.forecast_low_replicas)}{between}{number(self.forecast_high_replicas)}"

    @property
    def misses(self) -> bool:
        """Whether less was attained than is promised."""
        return self.attained_ratio is not None and self.attained_ratio < self.attainment_ratio

    @property
    def spent(self) -> bool:
        """Whether nothing is left of a day's error budget."""
        return self.budget_left_ratio is not None and self.budget_left_ratio < 0.0

    @property
    def budget_text(self) -> str:
        """What is left of it."""
        return "spent" if self.spent else percent(self.budget_left_ratio)

    @property
    def usd_text(self) -> str:
        """Dollars an hour."""
        return UNKNOWN if self.usd_per_hour is None else f"{self.usd_per_hour:,.2f}"


_BUDGET_S = 86_400


def _whole(count: int | None) -> str:
    return UNKNOWN if count is None else str(count)


_PAUSED_MODES = {
    Pause.ALL: "Paused",
    Pause.SCALE_DOWN: "ScaleUpOnly",
    Pause.SCALE_UP: "ScaleDownOnly",
}


def mode_text(mode: Mode, pause: Pause) -> str:
    """Say whether a model is acted on, and in which direction."""
    return str(mode) if mode is Mode.OBSERVE or pause is Pause.NO else _PAUSED_MODES[pause]


def status_row(decision: Decision, asked: AskedModel) -> StatusRow:
    """Sum a decision up."""
    measures, attained = decision.measures, decision.attainment
    budgets = () if attained is None else attained.budgets
    left = [each.left_ratio for each in budgets if each.span_s == _BUDGET_S]
    return StatusRow(
        model=decision.model,
        mode=mode_text(asked.mode, asked.pause),
        ready_replicas=sum(pool.ready_replicas for pool in decision.pools),
        current_replicas=decision.current_replicas,
        desired_replicas=decision.desired_replicas,
        warm_floor_replicas=measures.warm_floor_replicas,
        demand_replicas=measures.demand_replicas,
        forecast_low_replicas=measures.forecast_low_replicas,
        forecast_high_replicas=measures.forecast_high_replicas,
        attained_ratio=None if attained is None or attained.both is None else attained.both.ratio,
        attainment_ratio=asked.objective.attainment_ratio,
        budget_left_ratio=left[0] if left else None,
        usd_per_hour=desired_usd_per_hour(decision, asked),
        reason=str(decision.reason),
        wrong=tuple(str(condition.type) for condition in wrong_conditions(decision)),
    )
