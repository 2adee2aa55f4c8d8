"""One line a model: is it fine, what does it want, why."""

from __future__ import annotations

from typing import NamedTuple

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.spec import Mode, Pause
from autoscaler.explain.asked import AskedModel
from autoscaler.explain.explanation import wrong_conditions


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


_BUDGET_S = 86_400


def status_row(decision: Decision, asked: AskedModel) -> StatusRow:
    """Sum a decision up."""
    measures, attained = decision.measures, decision.attainment
    budgets = () if attained is None else attained.budgets
    left = [each.left_ratio for each in budgets if each.span_s == _BUDGET_S]
    mode = str(asked.mode)
    if asked.pause is not Pause.NO and asked.mode is Mode.ACTIVE:
        mode = "Paused" if asked.pause is Pause.ALL else "ScaleUpOnly"
    return StatusRow(
        model=decision.model,
        mode=mode,
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
        usd_per_hour=_usd_per_hour(decision, asked),
        reason=str(decision.reason),
        wrong=tuple(str(condition.type) for condition in wrong_conditions(decision)),
    )


def _usd_per_hour(decision: Decision, asked: AskedModel) -> float | None:
    """Price what is desired; None: a pool has no price, or cannot be read."""
    prices = {pool.pool: pool.price_usd_per_hour for pool in asked.pools}
    total = 0.0
    for pool in decision.pools:
        price = prices.get(pool.pool)
        if price is None or pool.desired_replicas is None:
            return None
        total += price * pool.desired_replicas
    return total
