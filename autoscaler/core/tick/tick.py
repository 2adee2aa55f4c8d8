"""One pass over all models: observe, demand, forecast, policy, guards, placement, commands.

Each model is taken up to the GPU budget alone; the budget looks at all of them; then each is concluded
alone. A bug in one model's part holds that model; the others go on. Between two models others may have their
turn: five hundred take a fifth of a second.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

import numpy as np

from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import EngineSettings, FleetSpec, ModelSpec
from autoscaler.core.contract.state import ModelObservation
from autoscaler.core.memory import Memory
from autoscaler.core.pools.budget import allot
from autoscaler.core.pools.order import PoolOrder
from autoscaler.core.pools.situation import Situation, acts
from autoscaler.core.supply.doomed import find_doomed
from autoscaler.core.supply.free_gpus import FreeGpus
from autoscaler.core.tick.assess import assess
from autoscaler.core.tick.conclude import conclude, hold
from autoscaler.core.tick.drain import uncordon_withdrawn
from autoscaler.core.tick.drained import mark_drained
from autoscaler.core.tick.facts import Draft, TickFacts
from autoscaler.core.tick.own_promises import with_own_promises
from autoscaler.core.tick.parts import Parts
from autoscaler.core.tick.score import pass_over
from autoscaler.core.tick.stages import (
    adjust_after_budget,
    adjust_before_budget,
    keep_within_budget,
)
from autoscaler.core.tick.writes import Writes
from autoscaler.errors import InvariantBroken
from autoscaler.foreign_text import shown

BUGS = (
    InvariantBroken,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a bug of ours raises. One model's must not stop the others."""

_SCORES = Decision._fields.index("scores")


def decide(
    event: Observed,
    *,
    at: float,
    settings: EngineSettings,
    memory: Memory,
    fleet: FleetSpec,
    orders: Mapping[str, PoolOrder],
    parts: Parts,
) -> Generator[None, None, Outcome]:
    """Decide about every model of a fleet; yields after each of them, and nobody may touch the memory then.

    Args:
        event: what is seen.
        at: now, seconds; never before the last event.
        settings: of the engine.
        memory: of the engine; changed.
        fleet: the models and their GPU budget.
        orders: by model, the order of its pools.
        parts: what the engine is built of.
    """
    doom = find_doomed(event.nodes, event.interruptions, at=at)
    facts = TickFacts(
        event=event,
        at=at,
        settings=settings,
        parts=parts,
        doom=doom,
        gpus=FreeGpus(nodes=event.nodes, doom=doom),
        sent={
            pending.target: pending.value
            for pending in memory.pending.values()
            if pending.kind == "SetReplicas" and isinstance(pending.value, int)
        },
    )
    writes = Writes(memory=memory, event=event.id, at=at)
    decisions: dict[str, Decision] = {}
    drafts = yield from _draft(
        facts, memory=memory, fleet=fleet, orders=orders, decisions=decisions
    )
    granted: Mapping[str, int] = {}
    concluded: dict[str, Situation] = {}
    unseen = tuple(decisions)  # those that are held already have no draft
    if fleet.gpu_budget is not None:
        claims = [(draft.situation, draft.count) for draft in drafts]
        granted = allot(claims, gpu_budget=fleet.gpu_budget, all_seen=not unseen)
    for draft in drafts:
        spec = draft.situation.spec
        try:
            if spec.key in granted:
                keep_within_budget(draft, granted=granted[spec.key], unseen=unseen)
            adjust_after_budget(draft, parts.guards)
            decisions[spec.key] = conclude(
                draft,
                event=event,
                memory=memory.models[spec.key],
                writes=writes,
                drain=parts.drain,
            )
        except BUGS as bug:
            decisions[spec.key] = _hold_broken(facts, spec, draft.situation.observation, bug)
        else:
            concluded[spec.key] = draft.situation
        yield
    _settle_cordoned(facts, fleet=fleet, writes=writes)
    scored = []
    for spec in fleet.models:
        situation = concluded.get(spec.key)
        scored.append(_scored(facts, decisions[spec.key], spec, situation, memory=memory))
        yield
    return Outcome(decisions=tuple(scored), commands=tuple(writes.commands))


def _draft(
    facts: TickFacts,
    *,
    memory: Memory,
    fleet: FleetSpec,
    orders: Mapping[str, PoolOrder],
    decisions: dict[str, Decision],
) -> Generator[None, None, list[Draft]]:
    """Take each model up to the budget; those that cannot be go to `decisions`, and hold."""
    observations = {model.model: model for model in facts.event.models}
    doubts = {doubt.model: doubt.message for doubt in facts.event.doubts}
    drafts: list[Draft] = []
    for spec in fleet.models:
        observation = observations.get(spec.key)
        if observation is None or not _fits(spec, observation):
            decisions[spec.key] = hold(
                spec,
                observation=None,
                event=facts.event.id,
                at=facts.at,
                reason=Reason.UNOBSERVED,
                message=doubts.get(spec.key, "the observation has nothing on it, or not its pools"),
            )
            continue
        try:
            observation = with_own_promises(observation, spec, memory=memory)
            model_memory = memory.models[spec.key]
            draft = assess(facts, spec, observation, order=orders[spec.key], memory=model_memory)
            adjust_before_budget(draft, facts.parts.guards, memory=model_memory)
        except BUGS as bug:
            decisions[spec.key] = _hold_broken(facts, spec, observation, bug)
        else:
            drafts.append(draft)
        yield
    return drafts


def _fits(spec: ModelSpec, observation: ModelObservation) -> bool:
    """Tell whether an observation has the pools of the spec; it may be older than its last change."""
    return [pool.name for pool in spec.pools] == [pool.name for pool in observation.pools]


def _hold_broken(
    facts: TickFacts, spec: ModelSpec, observation: ModelObservation, bug: BaseException
) -> Decision:
    return hold(
        spec,
        observation=observation,
        event=facts.event.id,
        at=facts.at,
        reason=Reason.INVARIANT_BROKEN,
        message=f"a bug of ours, please report it: {type(bug).__name__}: {shown(bug)}",
    )


def _scored(
    facts: TickFacts,
    decision: Decision,
    spec: ModelSpec,
    situation: Situation | None,
    *,
    memory: Memory,
) -> Decision:
    """Add to a decision how good those before it were; a bug in that takes nothing from the decision."""
    try:
        of_model = memory.models[spec.key]
        if situation is None:
            return decision._replace(scores=pass_over(spec, decision, at=facts.at, memory=of_model))
        told = facts.parts.score(situation, decision, settings=facts.settings, memory=of_model)
        # as `_replace`, in half of its time
        decision = Decision._make((*decision[:_SCORES], told, *decision[_SCORES + 1 :]))
    except BUGS:
        return decision
    try:
        back = facts.parts.look_back(situation, decision, memory=of_model)
    except BUGS:
        back = ()
    return decision if back is None else decision._replace(hindsight=back)


def _settle_cordoned(facts: TickFacts, *, fleet: FleetSpec, writes: Writes) -> None:
    """Of the nodes that we cordoned, mark those that are drained, and give back those that stay.

    Blind, neither: both follow from what is not seen any more.
    """
    nodes = facts.event.nodes
    if not np.count_nonzero(nodes.cordoned_by_us):
        return  # almost every tick
    if facts.at - facts.event.cluster_at > facts.settings.cluster_age_s_max:
        return
    active = (spec.key for spec in fleet.models if acts(spec))
    model = next(active, None)
    uncordon_withdrawn(nodes, doom=facts.doom, model=model, writes=writes)
    observations = {each.model: each for each in facts.event.models}
    seen = [(spec, observations.get(spec.key)) for spec in fleet.models]
    if fleet.complete and all(each is not None and _fits(spec, each) for spec, each in seen):
        mark_drained(facts.event, doom=facts.doom, model=model, writes=writes)
