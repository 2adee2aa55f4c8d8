"""Why: one decision per model and tick, with the trail of who changed which number.

A decision exists on every tick; "hold" is one. `Outcome` is what
`Engine.handle` returns.

Named tuples, because every tick makes a dozen of them, and a frozen dataclass takes twice as long to
make. Their fields are given by name, as a dataclass would demand.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from autoscaler.core.contract.commands import Command
from autoscaler.core.contract.reasons import ConditionType, Reason, StepBy


class Direction(StrEnum):
    """What a decision does to the model's replicas, over its pools."""

    UP = "Up"
    DOWN = "Down"
    HOLD = "Hold"


class Step(NamedTuple):
    """One entry of the trail: who changed the number, from what to what, and why."""

    by: StepBy
    before: int
    after: int
    reason: Reason
    message: str
    """For people; says the numbers. Never compared by programs."""


class PoolDecision(NamedTuple):
    """One pool's numbers."""

    pool: str
    current_replicas: int | None
    ready_replicas: int
    """Ready, not deleting, not doomed."""
    starting_replicas: int
    """On their way and counted on: not expired, not unschedulable, not doomed."""
    doomed_replicas: int
    desired_replicas: int | None
    """None: the target cannot be read; nothing is written."""
    fallback_replicas: int
    """Of the desired: promised for interrupted spot nodes."""


class Condition(NamedTuple):
    """As in the Kubernetes API conventions, without times."""

    type: ConditionType
    status: str
    """`True`, `False` or `Unknown`."""
    reason: str
    """A `ConditionReason`, the `Reason` of a step, or why a command was refused."""
    message: str


class Measures(NamedTuple):
    """The numbers a decision rests on; None is unknown."""

    demand_replicas: float | None
    """The offered load, or what stood in for it, in replicas."""
    offered_replicas: float | None
    """What the forecast is of."""
    waiting_requests: float | None
    running_requests: float | None
    kv_usage_ratio: float | None
    forecast_replicas: float | None
    """Mean of the forecast at the lead of one cold start."""
    forecast_low_replicas: float | None
    """5 % quantile there."""
    forecast_high_replicas: float | None
    """95 % quantile there: the band between the two is the 90 % one."""
    forecast_error_ratio: float | None
    forecast_pinball_loss_replicas: float | None
    forecast_coverage_ratio: float | None
    """Share of the realised demands inside the 90 % band, decayed."""
    cold_start_s: float
    """The learnt quantile, of the pool that the next start would go to."""
    warm_floor_replicas: int
    observation_age_s: float | None
    """Oldest engine sample that was used; None: none was."""


class Decision(NamedTuple):
    """One model at one tick."""

    event: int
    """Id of the `Observed` it answers."""
    at: float
    model: str
    direction: Direction
    reason: Reason
    """Of the last step of the trail."""
    policy: str
    """Which policy proposed: a name in POLICIES."""
    current_replicas: int | None
    proposal_replicas: int | None
    """What the policy proposed, before guards; None: it could not tell."""
    desired_replicas: int | None
    """Over all pools, after guards, fallback included."""
    pools: tuple[PoolDecision, ...]
    trail: tuple[Step, ...]
    """From the proposal to the decision: each step's `before` is the last one's `after`."""
    conditions: tuple[Condition, ...]
    measures: Measures


class Outcome(NamedTuple):
    """What one event led to."""

    decisions: tuple[Decision, ...] = ()
    """One per model for `Observed`; none for the other events."""
    commands: tuple[Command, ...] = ()
    """In the order in which they are to be enqueued."""
