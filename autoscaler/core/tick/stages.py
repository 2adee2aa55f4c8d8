"""The stages from a proposal to the number that is placed: guards, stand-ins, GPU budget."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.core.contract.reasons import Reason, StepBy
from autoscaler.core.guards import Guard, Guards, RememberingGuard
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.replica_count import with_stand_ins
from autoscaler.core.tick.facts import Draft


def adjust_before_budget(draft: Draft, guards: Guards, *, memory: ModelMemory) -> None:
    """Adjust a number by what is known of its model alone. Changes the draft.

    Args:
        draft: with the policy's proposal.
        guards: of the engine.
        memory: of the model; what its guards remember is changed.
    """
    _ask(draft, guards.before_stand_ins)
    add_stand_ins(draft)
    _ask_remembering(draft, guards.remembering, memory=memory)
    _ask(draft, guards.floors)
    _ask_remembering(draft, guards.spare, memory=memory)
    _ask(draft, guards.before_budget)


def add_stand_ins(draft: Draft) -> None:
    """Add the stand-ins for what is stuck, and keep those for what is not back yet.

    Starting replicas are supply (the policy counts them). One that is unschedulable, on a GPU that can
    carry none, or expired is not: it is asked for again in another pool that can have it, never in its own, where it is asked for
    already. Where no pool can, the number holds and a condition says so.
    """
    situation = draft.situation
    count = with_stand_ins(situation, draft.count.serving)
    if count == draft.count:
        return
    stuck = sum([pool.stuck for pool in situation.pools])
    message = (
        f"{count.asked - count.serving} stand in for replicas of other pools that are not back yet "
        f"({stuck} stuck: no node, a GPU that can carry none, or not ready in time)"
    )
    draft.change(count, by=StepBy.STARTING, reason=Reason.STANDS_IN, message=message)


def keep_within_budget(draft: Draft, *, granted: int, unseen: tuple[str, ...]) -> None:
    """Keep a number within what the GPU budget leaves its model. Changes the draft.

    Args:
        draft: of a model that shares a budget.
        granted: replicas that it may ask for, fallback apart.
        unseen: keys of models that share the budget, and of whose GPUs nothing is known.
    """
    count = draft.count
    if count.asked <= granted:
        return
    message = (
        f"the GPU budget leaves {granted} replicas at priority {draft.situation.spec.priority}"
    )
    if unseen:
        message += f"; what {', '.join(unseen)} has of it is unknown, so nobody grows"
    draft.change(
        count._replace(serving=min(count.serving, granted), asked=granted),
        by=StepBy.BUDGET,
        reason=Reason.GPU_BUDGET,
        message=message,
    )


def adjust_after_budget(draft: Draft, guards: Guards) -> None:
    """Adjust a number by what no budget may override. Changes the draft."""
    _ask(draft, guards.after_budget)


def _ask_remembering(
    draft: Draft, guards: Mapping[StepBy, RememberingGuard], *, memory: ModelMemory
) -> None:
    for by, guard in guards.items():
        verdict = guard(draft.situation, draft.count, memory)
        if verdict is not None:
            draft.change(verdict.after, by=by, reason=verdict.reason, message=verdict.message)


def _ask(draft: Draft, guards: Mapping[StepBy, Guard]) -> None:
    for by, guard in guards.items():
        verdict = guard(draft.situation, draft.count)
        if verdict is not None:
            draft.change(verdict.after, by=by, reason=verdict.reason, message=verdict.message)
