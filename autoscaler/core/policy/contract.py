"""What a policy is given and what it returns."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from autoscaler.core.candidates import Played
from autoscaler.core.contract.reasons import Reason
from autoscaler.core.demand.demand import Demand
from autoscaler.core.forecast import Forecast
from autoscaler.core.supply.supply import Supply


class PolicyInput(NamedTuple):
    """One model at one tick."""

    at: float
    demand: Demand
    forecast: Forecast | None
    """None: there is no history yet, or it is switched off."""
    offered_replicas: float | None
    """Mean of the offered load over the last third of a cold start; None: it is not remembered."""
    supply: Supply
    cold_start_s: float
    """Of the pool that the next start would go to."""
    floor: int
    """The larger of the model's minimum and its warm floor."""
    replicas_max: int
    attainment_ratio: float
    """The objective: share of requests that must be served as promised."""
    tick_s: float
    carried_ratio: float = 1.0
    """Of the in-flight target: what a replica was seen to carry. Demand and forecast are in replicas that
    carry all of it."""
    played: Played | None = None
    """What the rule asks for that would have been the cheapest; None: nothing was played."""
    likely: int | None = None
    """What was proposed last: where a search may begin. It changes no result."""


class Proposal(NamedTuple):
    """What the policy asks for, before guards."""

    replicas: int | None
    """Over all pools, >= floor; None: it cannot tell."""
    policy: str
    """The name in POLICIES that had the say."""
    reason: Reason
    message: str


class Policy(Protocol):
    """Proposes; never acts, never remembers."""

    def __call__(self, given: PolicyInput, /) -> Proposal:
        """Propose replicas for the model."""
