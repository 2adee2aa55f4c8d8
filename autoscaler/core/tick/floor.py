"""The warm floor of this tick, by what is remembered of starts and of the ramp."""

from __future__ import annotations

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.memory import ModelMemory
from autoscaler.core.policy import Proposal
from autoscaler.core.pools.floor import FloorNow, find_floor
from autoscaler.core.pools.order import PoolOrder
from autoscaler.core.supply.cold_starts import ColdStartMemory, whole_start_s
from autoscaler.core.tick.facts import TickFacts

START_MARGIN = 1.2
"""How much longer than nine in ten a start may take: all of a schedule's replicas are to be ready when it begins.
Judgement: a minute too early costs less than one too late."""
ASKED_TICKS = 2.0
"""They are asked for so many ticks before that: one until it is decided, one until it is written."""


def watch_floor(
    facts: TickFacts, spec: ModelSpec, order: PoolOrder, *, memory: ModelMemory
) -> FloorNow:
    """Find it; a schedule's replicas are asked for one start before it begins.

    Args:
        facts: of the tick.
        spec: of the model, as it was written.
        order: of its pools.
        memory: of the model; changed.
    """
    ahead_s = 0.0
    if spec.warm_floor.schedules:
        starts = memory.cold_starts.get(spec.pools[order.warm].name) or ColdStartMemory()
        start_s = START_MARGIN * whole_start_s(starts, prior_s=spec.cold_start_prior_s)
        ahead_s = max(start_s + ASKED_TICKS * facts.settings.tick_s, memory.floor_ahead_s)
    floor = find_floor(spec, order, at=facts.at, ahead_s=ahead_s, ramp=memory.ramp)
    memory.floor_ahead_s = ahead_s if floor.early else 0.0
    return floor


def with_floor(proposal: Proposal, spec: ModelSpec, floor: FloorNow) -> str:
    """Say in the proposal's words what the warm floor is where it decides, and where it is not known whole."""
    if proposal.reason is Reason.AT_FLOOR and floor.replicas > spec.min_replicas:
        return f"{proposal.message}; {floor.account(spec.warm_floor)}"
    return f"{proposal.message}; {floor.unknown}" if floor.unknown else proposal.message
