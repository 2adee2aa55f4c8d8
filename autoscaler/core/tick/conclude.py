"""From the guards' number to a decision and its commands."""

from __future__ import annotations

from collections.abc import Callable

from autoscaler.core.contract.decision import Decision, Direction, Measures, PoolDecision, Step
from autoscaler.core.contract.spec import Mode, ModelSpec, Pause
from autoscaler.core.contract.state import ModelObservation
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.placement import Placement, place
from autoscaler.core.pools.situation import Situation, Wanted
from autoscaler.core.tick.assess import Draft
from autoscaler.core.tick.conditions import describe, describe_hold
from autoscaler.core.tick.writes import Writes

UNREADABLE = "TargetUnreadable"


def conclude(
    draft: Draft,
    *,
    event: int,
    memory: ModelMemory,
    writes: Writes,
    drain: Callable[..., None],
) -> Decision:
    """Place the number, write the decision, and send what is due.

    Args:
        draft: after all guards.
        event: id of the `Observed`.
        memory: of the model; what is placed is remembered.
        writes: takes the commands.
        drain: cordons and evicts (`interruption.drain`).
    """
    s, wanted, trail = draft.situation, draft.wanted, draft.trail
    readable = all(pool.current_replicas is not None for pool in s.observation.pools)
    held = not readable or s.spec.pause is Pause.ALL
    placement = _hold_pools(s) if held else place(s, wanted)
    memory.standing = placement.standing
    total = sum(placement.desired)
    if total != wanted.replicas:
        trail.append(_placement_step(s, wanted, total=total, readable=readable))
    acts = s.spec.mode is Mode.ACTIVE and s.spec.pause is not Pause.ALL
    if acts:
        raised = _write(s, wanted, placement, memory=memory, writes=writes) if readable else None
        drain(s, memory=memory, writes=writes, raised=raised)
    if memory.refusals:
        # What is still wanted is on its way again; the rest is history.
        due = {pending.target for pending in writes.memory.pending.values()}
        for target in [target for target in memory.refusals if target not in due]:
            del memory.refusals[target]
    current = sum([pool.current for pool in s.pools])
    conditions = (
        describe(
            s, wanted=wanted, unplaced=placement.unplaced, trail=trail, refusals=memory.refusals
        )
        if readable
        else describe_hold(UNREADABLE, trail[-1].message)
    )
    return Decision(
        event=event,
        at=s.at,
        model=s.spec.key,
        direction=_direction(current, total),
        reason=_last_word(trail),
        policy=draft.proposal.policy,
        current_replicas=current if readable else None,
        proposal_replicas=draft.proposal.replicas,
        desired_replicas=total if readable else None,
        pools=_pool_decisions(s, wanted, placement),
        trail=tuple(trail),
        conditions=conditions,
        measures=draft.measures,
    )


def hold(
    spec: ModelSpec,
    *,
    observation: ModelObservation | None,
    event: int,
    at: float,
    reason: str,
    message: str,
) -> Decision:
    """Decide to hold a model about which nothing else can be said."""
    currents: list[int | None] = [None] * len(spec.pools)
    if observation is not None:
        currents = [pool.current_replicas for pool in observation.pools]
    known = [current for current in currents if current is not None]
    total = sum(known) if len(known) == len(currents) else None
    return Decision(
        event=event,
        at=at,
        model=spec.key,
        direction=Direction.HOLD,
        reason=reason,
        policy="",
        current_replicas=total,
        proposal_replicas=None,
        desired_replicas=total,
        pools=tuple(
            [
                PoolDecision(
                    pool=pool.name,
                    current_replicas=current,
                    ready_replicas=0,
                    starting_replicas=0,
                    doomed_replicas=0,
                    desired_replicas=current,
                    fallback_replicas=0,
                )
                for pool, current in zip(spec.pools, currents, strict=True)
            ]
        ),
        trail=(
            Step(
                by="policy",
                before=sum(known),
                after=sum(known),
                reason=reason,
                message=message,
            ),
        ),
        conditions=describe_hold(reason, message),
        measures=Measures(
            demand_replicas=None,
            offered_replicas=None,
            waiting_requests=None,
            running_requests=None,
            kv_usage_ratio=None,
            forecast_replicas=None,
            forecast_low_replicas=None,
            forecast_high_replicas=None,
            forecast_error_ratio=None,
            forecast_pinball_loss_replicas=None,
            forecast_coverage_ratio=None,
            cold_start_s=spec.cold_start_prior_s,
            warm_floor_replicas=spec.warm_floor.replicas,
            observation_age_s=None,
        ),
    )


def _hold_pools(s: Situation) -> Placement:
    """Ask of every pool what it has; of one that cannot be read, nothing."""
    return Placement(
        desired=tuple([pool.current for pool in s.pools]), standing=s.standing, unplaced=0
    )


def _placement_step(s: Situation, wanted: Wanted, *, total: int, readable: bool) -> Step:
    if not readable:
        unread = ", ".join(
            [
                str(spec.target)
                for spec, pool in zip(s.spec.pools, s.observation.pools, strict=True)
                if pool.current_replicas is None
            ]
        )
        reason, message = UNREADABLE, f"cannot be read, so nothing is written: {unread}"
    elif total > wanted.replicas:
        reason = "PoolsHeld"
        message = "a pool is not cut while that cannot be seen, rolls out, or holds doomed replicas"
    else:
        reason, message = "PoolsFull", "the pools cannot take it all"
    return Step(by="placement", before=wanted.replicas, after=total, reason=reason, message=message)


def _write(
    s: Situation, wanted: Wanted, placement: Placement, *, memory: ModelMemory, writes: Writes
) -> str | None:
    """Send annotation and scales; return what a drain has to wait for."""
    raised: str | None = None
    annotated: str | None = None
    fallback = s.layout.fallback
    in_force = 0 if wanted.plan is None else wanted.plan.in_force
    if fallback is not None and wanted.plan is not None:
        observed = s.observation.pools[fallback]
        if observed.promises_readable:
            annotated = writes.annotate(
                model=s.spec.key,
                target=s.spec.pools[fallback].target,
                observed=observed.promises,
                promises=wanted.plan.promises,
            )
    _drop_stray_promises(s, writes=writes)
    key = s.spec.key
    for index, pool in enumerate(s.spec.pools):
        desired, current = placement.desired[index], s.pools[index].current
        placed = desired
        if index == fallback:
            placed = desired - in_force
            memory.placed[pool.name] = placed
        sent = writes.set_replicas(
            model=key,
            target=pool.target,
            current=current,
            replicas=desired,
            level_change=placed - (current - s.pools[index].fallback),
            after=annotated if index == fallback else None,
        )
        if index == fallback:
            raised = sent or annotated
    return raised


def _drop_stray_promises(s: Situation, *, writes: Writes) -> None:
    """Take promises from pools that no longer carry the fallback (prices or pools have changed).

    Their replicas stay as long as they stand in for something: placement sees them beyond the base.
    """
    for index, observed in enumerate(s.observation.pools):
        if observed.promises and index != s.layout.fallback and s.may_shrink:
            writes.annotate(
                model=s.spec.key,
                target=s.spec.pools[index].target,
                observed=observed.promises,
                promises=(),
            )


def _pool_decisions(s: Situation, wanted: Wanted, placement: Placement) -> tuple[PoolDecision, ...]:
    in_force = 0 if wanted.plan is None else wanted.plan.in_force
    decisions: list[PoolDecision] = []
    for index, pool in enumerate(s.observation.pools):
        current, supply = pool.current_replicas, s.stock.supply.pools[index]
        desired = None if current is None else placement.desired[index]
        fallback = in_force if index == s.layout.fallback else 0
        decisions.append(
            PoolDecision(
                pool=pool.name,
                current_replicas=current,
                ready_replicas=supply.ready,
                starting_replicas=supply.starting,
                doomed_replicas=supply.doomed,
                desired_replicas=desired,
                fallback_replicas=fallback,
            )
        )
    return tuple(decisions)


def _direction(current: int, desired: int) -> Direction:
    if desired == current:
        return Direction.HOLD
    return Direction.UP if desired > current else Direction.DOWN


def _last_word(trail: list[Step]) -> str:
    """Return the reason of the last step after the policy's; of the policy's if there is none."""
    return trail[-1].reason
