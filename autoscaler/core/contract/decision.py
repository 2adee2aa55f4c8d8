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
from autoscaler.core.contract.hindsight import WindowHindsight
from autoscaler.core.contract.history import HistoryTaken
from autoscaler.core.contract.knowledge import KnowledgeTaken
from autoscaler.core.contract.reasons import ConditionType, Reason, StepBy
from autoscaler.core.contract.scores import Scores


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
    unhealthy_replicas: int
    """Ready or not, on a GPU that can carry none: of those that are not ready none is counted on."""
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
    carried_ratio: float
    """Of the in-flight target: what a replica is held to carry, by what was missed, or before enough was seen
    by queues that refuted it."""
    carried_sureness_ratio: float | None
    """Probability that it is nearer to this one of the hypotheses than to any other."""
    rule_replicas: float | None
    """Mean of those that the rule which decides would have asked for; the last day weighs most."""
    rule_attained_ratio: float | None
    """Share of requests that it would have served in time, of those that any rule could."""
    runner_up_replicas: float | None
    """The same of the next best rule that asks for another number."""
    runner_up_attained_ratio: float | None
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
    forecast_bias_ratio: float | None
    """Sum of errors over the sum of demands, decayed: above zero more was forecast than came."""
    forecast_high_coverage_ratio: float | None
    """Share of the realised demands not above the 95 % quantile, decayed."""
    cold_start_s: float
    """The learnt quantile, of the pool that the next start would go to."""
    requests_at_risk: float | None
    """Requests that will be cut with doomed nodes, as far as can be told; 0 where no node is doomed."""
    warm_floor_replicas: int
    """With those of a schedule that is about to begin."""
    warm_floor_usd_per_hour: float | None
    """Of all of them; None: the price of their pool is not given."""
    observation_age_s: float | None
    """Oldest engine sample that was used; None: none was."""


class DepartureCause(StrEnum):
    """Why a replica went, as far as it can be seen."""

    SCALE_DOWN = "ScaleDown"
    """Its scale target was made smaller, by whomever."""
    NOTICE = "Notice"
    """Its node is being taken away, or emptied by somebody."""
    NODE_LOST = "NodeLost"
    """Its node is gone, or not ready, with no warning left."""
    ROLLOUT = "Rollout"
    """Its Deployment replaces its replicas."""
    ELSEWHERE = "Elsewhere"
    """Somebody deleted or evicted it, or it failed."""


class Drained(StrEnum):
    """How a replica was when it was last read before it was gone."""

    IDLE = "Idle"
    """Nothing was in flight any more."""
    CUT = "Cut"
    """Requests were in flight, and it was killed."""
    UNKNOWN = "Unknown"
    """It was not read since it began to go, or it ended by itself after a page with requests in flight."""


class Departure(NamedTuple):
    """One replica that has gone. None is unknown, never zero."""

    pod: str
    pool: str
    """Empty: unknown."""
    cause: DepartureCause
    drained: Drained
    leaving_s: float | None
    """From the beginning of its deletion until it was seen to be gone; None: that beginning was not seen."""
    in_flight_requests: float | None
    """Waiting and running when its deletion was first seen. Some more may have come before routers
    knew."""
    finished_requests: float | None
    """That ended whole while it went, as far as its pages told."""
    aborted_requests: float | None
    """That its client gave up, or the engine cut, while it went; None: the engine does not tell."""
    lost_requests: float | None
    """In flight on its last page, and killed with it."""
    unknown_requests: float | None
    """In flight on its last page: finished or cut after it."""


class AttainedShare(NamedTuple):
    """The share of requests within the objective, over the last hour."""

    requests: float
    """Of how many."""
    ratio: float
    """Between the bounds of a histogram, requests are taken to lie evenly."""
    low_ratio: float
    """If all that lie between the bounds around the objective missed it."""
    high_ratio: float
    """If none of them did."""


class ErrorBudget(NamedTuple):
    """What the objective lets be missed within a span, and what was. None is unknown."""

    span_s: int
    requests: float
    missed_requests: float | None
    """Misses of the first token, of the pace, and requests aborted or lost, added up minute by minute."""
    burn_ratio: float | None
    """Missed of what may be missed of these requests: 1 is just attained."""
    left_ratio: float | None
    """Of what may be missed: what is left; below 0 more was missed."""


class Attainment(NamedTuple):
    """What was attained of one model's objective, as its engines' histograms tell. None is unknown."""

    ttft: AttainedShare | None
    """First tokens in time, of the requests that had one."""
    tpot: AttainedShare | None
    """Of the requests that ended whole."""
    both: AttainedShare | None
    """Ended whole, with both: `ratio` and `low_ratio` add misses up minute by minute, `high_ratio` takes
    them to be of the same requests."""
    ttft_bounds_s: tuple[float, float] | None
    """Where no bound of its histogram is near the objective: those around it."""
    tpot_bounds_s: tuple[float, float] | None
    by_gaps: bool
    """Some replicas tell gaps between tokens alone: they stand for the pace of the requests that ended."""
    budgets: tuple[ErrorBudget, ...]
    """Over an hour, a day and thirty days."""


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
    departed: tuple[Departure, ...] = ()
    """Replicas that have gone since the last decision, and what became of what they had."""
    scores: Scores | None = None
    """How good the decisions before this one turned out to be; None: a bug of ours kept us from telling."""
    attainment: Attainment | None = None
    """None: no engine tells."""
    hindsight: tuple[WindowHindsight, ...] | None = None
    """What others would have cost and attained, over an hour, a day and a week; None: nothing is known, or it is not
    said on this tick: once a minute it is. Empty: a bug of ours kept us from telling."""


class Outcome(NamedTuple):
    """What one event led to."""

    decisions: tuple[Decision, ...] = ()
    """One per model for `Observed`; none for the other events."""
    commands: tuple[Command, ...] = ()
    """In the order in which they are to be enqueued."""
    history: HistoryTaken | None = None
    """What became of a `HistoryRead`; None for the other events."""
    knowledge: KnowledgeTaken | None = None
    """What became of a `KnowledgeRead`; likewise."""
