"""The guards: ordered adjustments of a proposal, one a file, and one line in a mapping below.

The order is the contract: what comes later binds what came before. Between the guards the tick has two
stages of its own (`tick.stages`): stand-ins, which the guards after it ask for too, and the GPU budget,
which looks at all models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoscaler.core.contract.reasons import StepBy
from autoscaler.core.guards import (
    bounds,
    conflict,
    fallback,
    freshness,
    loss_budget,
    pause,
    rate,
    stabilization,
    warm_floor,
)
from autoscaler.core.guards.contract import Guard, RememberingGuard, Verdict

__all__ = ["Guard", "Guards", "RememberingGuard", "Verdict"]

# Whether what is seen allows the proposal at all; then the tick adds stand-ins.
BEFORE_STAND_INS: Mapping[StepBy, Guard] = {StepBy.FRESHNESS: freshness.adjust}

# How fast the proposal may change, by what HPA remembers.
REMEMBERING: Mapping[StepBy, RememberingGuard] = {
    StepBy.STABILIZATION: stabilization.adjust,
    StepBy.RATE: rate.adjust,
}

# What must be there, whatever is proposed.
FLOORS: Mapping[StepBy, Guard] = {StepBy.WARM_FLOOR: warm_floor.adjust}

# What must be left when some of it is lost, by what was asked for lately.
SPARE: Mapping[StepBy, RememberingGuard] = {StepBy.LOSS_BUDGET: loss_budget.adjust}

# What the user says of this model alone; then the GPU budget binds all models.
BEFORE_BUDGET: Mapping[StepBy, Guard] = {StepBy.BOUNDS: bounds.adjust}

# What no budget may override: somebody else who scales, a pause, and the replacement of what is being taken away.
AFTER_BUDGET: Mapping[StepBy, Guard] = {
    StepBy.CONFLICT: conflict.adjust,
    StepBy.PAUSE: pause.adjust,
    StepBy.INTERRUPTION: fallback.adjust,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """All guards of an engine, in the order in which they are asked."""

    before_stand_ins: Mapping[StepBy, Guard] = field(default_factory=lambda: BEFORE_STAND_INS)
    remembering: Mapping[StepBy, RememberingGuard] = field(default_factory=lambda: REMEMBERING)
    floors: Mapping[StepBy, Guard] = field(default_factory=lambda: FLOORS)
    spare: Mapping[StepBy, RememberingGuard] = field(default_factory=lambda: SPARE)
    before_budget: Mapping[StepBy, Guard] = field(default_factory=lambda: BEFORE_BUDGET)
    after_budget: Mapping[StepBy, Guard] = field(default_factory=lambda: AFTER_BUDGET)
