"""From the number that the stages let through to a decision and its commands."""

from __future__ import annotations

from functools import partial

from autoscaler.core.contract.decision import Decision, Direction, Measures, PoolDecision, Step
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.reasons import Reason, StepBy
from autoscaler.core.contract.spec import ModelSpec, Pause
from autoscaler.core.contract.state import ModelObservation
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.placement import hold_at, hold_pools, leave_alone, place
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation, scales
from autoscaler.core.pools.slots import Placement, explain_held
from autoscaler.core.tick.conditions import describe, describe_hold
from autoscaler.core.tick.facts import Draft
from autoscaler.core.tick.parts import Drain
from autoscaler.core.tick.victims import clear_costs, tell_costs
from autoscaler.core.tick.writes import Writes


def conclude(
    draft: Draft, *, event: Observed, memory: ModelMemory, writes: Writes, drain: Drain
) -> Decision:
    """Place the number, write the decision, and send what is due.

    Args:
        draft: after all guards and stages.
        event: the observation.
        memory: of the model; what is placed is remembered.
        writes: takes the commands.
        drain: cordons and evicts (`drain.drain`).
    """
    situation, count, trail = draft.situation, draft.count, draft.trail
    spec = situation.spec
    readable = all(pool.current_replicas is not None for pool in situation.observation.pools)
    acts = spec.pause is not Pause.ALL
    if readable and situation.left_alone:
        placement = leave_alone(situation, count)
    elif readable and acts:
        placement = place(situation, count)
    elif readable and spec.paused_replicas is not None:
        placement = hold_at(situation, spec.paused_replicas)
    else:
        placement = hold_pools(situation)
    memory.stand_ins = placement.stand_ins
    desired = placement.desired
    memory.floor_stand_ins.remember(
        kept=placement.floor_stand_ins,
        before=situation.floor_stand_ins,
        desired=sum([desired[index] for index in situation.shared]),
    )
    total = sum(desired)
    if total != count.total:
        trail.append(_placement_step(situation, count, placement, readable=readable))
    if scales(spec):
        raised = None
        if readable:
            raised = _write(situation, event, count, desired, memory=memory, writes=writes)
            clear_costs(situation, desired, memory=memory, writes=writes)
        if acts:
            drain(situation, memory=memory, writes=writes, raised=raised)
    if memory.refusals:
        # Of what is still desired a command is on its way again; older refusals say nothing more.
        due = {pending.target for pending in writes.memory.pending.values()}
        for target in [target for target in memory.refusals if target not in due]:
            del memory.refusals[target]
    current = sum([pool.current for pool in situation.pools])
    last = trail[-1]
    conditions = (
        describe(
            situation,
            count,
            placement=placement,
            trail=trail,
            memory=memory,
            attainment=draft.attainment,
        )
        if readable
        else describe_hold(Reason.TARGET_UNREADABLE, last.message)
    )
    return Decision(
        event=event.id,
        at=situation.at,
        model=spec.key,
        direction=_direction(current, total),
        reason=last.reason,
        policy=draft.proposal.policy,
        current_replicas=current if readable else None,
        proposal_replicas=draft.proposal.replicas,
        desired_replicas=total if readable else None,
        pools=_pool_decisions(situation, count, desired),
        trail=tuple(trail),
        conditions=conditions,
        measures=draft.measures,
        departed=draft.departed,
        attainment=draft.attainment,
    )


def hold(
    spec: ModelSpec,
    *,
    observation: ModelObservation | None,
    event: int,
    at: float,
    reason: Reason,
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
                    unhealthy_replicas=0,
                    desired_replicas=current,
                    fallback_replicas=0,
                )
                for pool, current in zip(spec.pools, currents, strict=True)
            ]
        ),
        trail=(
            Step(
                by=StepBy.POLICY,
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
            carried_ratio=1.0,
            carried_sureness_ratio=None,
            rule_replicas=None,
            rule_attained_ratio=None,
            runner_up_replicas=None,
            runner_up_attained_ratio=None,
            waiting_requests=None,
            running_requests=None,
            kv_usage_ratio=None,
            forecast_replicas=None,
            forecast_low_replicas=None,
            forecast_high_replicas=None,
            forecast_error_ratio=None,
            forecast_pinball_loss_replicas=None,
            forecast_coverage_ratio=None,
            forecast_bias_ratio=None,
            forecast_high_coverage_ratio=None,
            cold_start_s=spec.cold_start_prior_s,
            requests_at_risk=None,
            warm_floor_replicas=spec.warm_floor.replicas,
            warm_floor_usd_per_hour=None,
            observation_age_s=None,
        ),
    )


def _placement_step(
    situation: Situation, count: ReplicaCount, placement: Placement, *, readable: bool
) -> Step:
    total = placement.total
    if not readable:
        unread = ", ".join(
            [
                str(spec.target)
                for spec, pool in zip(
                    situation.spec.pools, situation.observation.pools, strict=True
                )
                if pool.current_replicas is None
            ]
        )
        reason = Reason.TARGET_UNREADABLE
        message = f"cannot be read, so nothing is written: {unread}"
    elif total > count.total:
        reason = Reason.POOLS_HELD
        message = explain_held(placement, pools=[pool.name for pool in situation.spec.pools])
    else:
        reason, message = Reason.POOLS_FULL, "the pools cannot take it all"
    return Step(
        by=StepBy.PLACEMENT, before=count.total, after=total, reason=reason, message=message
    )


def _write(
    situation: Situation,
    event: Observed,
    count: ReplicaCount,
    desired: tuple[int, ...],
    *,
    memory: ModelMemory,
    writes: Writes,
) -> str | None:
    """Send annotation and scales; return what a drain has to wait for."""
    raised: str | None = None
    annotated: str | None = None
    spec, fallback = situation.spec, situation.order.fallback
    if fallback is not None and count.plan is not None and not situation.locked(fallback):
        observed = situation.observation.pools[fallback]
        if observed.promises_readable:
            annotated = writes.annotate(
                model=spec.key,
                target=spec.pools[fallback].target,
                observed=observed.promises,
                promises=count.plan.promises,
            )
    _drop_stray_promises(situation, writes=writes)
    for index, pool in enumerate(spec.pools):
        state = situation.pools[index]
        placed = desired[index]
        if index == fallback:
            placed -= count.fallback
            memory.placed[pool.name] = placed
        if situation.left_alone and (situation.locked(index) or desired[index] == state.current):
            continue
        sent = writes.set_replicas(
            model=spec.key,
            target=pool.target,
            current=state.current,
            replicas=desired[index],
            serving_change=placed - (state.current - state.fallback),
            after=annotated if index == fallback else None,
            prepare=partial(
                tell_costs,
                situation,
                event,
                pool=index,
                replicas=desired[index],
                memory=memory,
                writes=writes,
            ),
        )
        if index == fallback:
            raised = sent or annotated
    return raised


def _drop_stray_promises(situation: Situation, *, writes: Writes) -> None:
    """Take promises from pools that no longer carry the fallback (prices or pools have changed).

    Their replicas stay as long as they stand in for something: to placement they are ordinary ones.
    """
    for index, observed in enumerate(situation.observation.pools):
        if observed.promises and index != situation.order.fallback and situation.may_shrink:
            writes.annotate(
                model=situation.spec.key,
                target=situation.spec.pools[index].target,
                observed=observed.promises,
                promises=(),
            )


def _pool_decisions(
    situation: Situation, count: ReplicaCount, desired: tuple[int, ...]
) -> tuple[PoolDecision, ...]:
    decisions: list[PoolDecision] = []
    fallback = situation.order.fallback
    for index, pool in enumerate(situation.observation.pools):
        supply = situation.stock.supply.pools[index]
        decisions.append(
            PoolDecision(
                pool=pool.name,
                current_replicas=pool.current_replicas,
                ready_replicas=supply.ready,
                starting_replicas=supply.starting,
                doomed_replicas=supply.doomed,
                unhealthy_replicas=supply.unhealthy + supply.ready_unhealthy,
                desired_replicas=None if pool.current_replicas is None else desired[index],
                fallback_replicas=count.fallback if index == fallback else 0,
            )
        )
    return tuple(decisions)


def _direction(current: int, desired: int) -> Direction:
    if desired == current:
        return Direction.HOLD
    return Direction.UP if desired > current else Direction.DOWN
