"""The condition that says whether it is known what was attained, and how well."""

from __future__ import annotations

import math

from autoscaler.core.contract.decision import AttainedShare, Attainment, Condition
from autoscaler.core.contract.reasons import ConditionReason, ConditionType
from autoscaler.core.contract.spec import Objective
from autoscaler.core.tick.condition import condition

KNOWN = condition(
    ConditionType.ATTAINMENT_KNOWN,
    True,
    ConditionReason.BOUNDS_NEAR,
    "the engines' histograms have bounds near the objective",
)
BY_GAPS = KNOWN._replace(
    message=f"{KNOWN.message}; the pace is that of gaps between tokens, for some engines count no other"
)
MISSING = condition(
    ConditionType.ATTAINMENT_KNOWN,
    None,
    ConditionReason.HISTOGRAMS_MISSING,
    "no replica's page has histograms of the time to first token or per output token",
)


def describe_attainment(attainment: Attainment | None, objective: Objective) -> Condition:
    """Say so; where no bound is near the objective the share is an interval."""
    if attainment is None:
        return MISSING
    said = [
        _interval(name, objective_s, bounds, share)
        for name, objective_s, bounds, share in (
            ("first token", objective.ttft_s, attainment.ttft_bounds_s, attainment.ttft),
            ("output token", objective.tpot_s, attainment.tpot_bounds_s, attainment.tpot),
        )
        if bounds is not None
    ]
    if not said:
        return BY_GAPS if attainment.by_gaps else KNOWN
    return condition(
        ConditionType.ATTAINMENT_KNOWN,
        False,
        ConditionReason.NO_BOUND_NEAR,
        f"{'; '.join(said)}; ask for a bound, or give the engine one there",
    )


def _interval(
    name: str, objective_s: float, bounds: tuple[float, float], share: AttainedShare | None
) -> str:
    low, high = bounds
    where = f"between the bounds {low:g} and {high:g} s"
    if math.isinf(high):
        where = f"over the last bound, {low:g} s"
    between = f"{name}: {objective_s:g} s is {where}"
    if share is None:
        return between
    return f"{between}: attained between {share.low_ratio:.1%} and {share.high_ratio:.1%}"
