"""The GPU budget over the models of a fleet, by priority.

First every model gets what nothing may take from it: its minimum and warm floor (what somebody wrote of it;
what the ramp adds is computed, and competes like the rest), and all it has where
nothing may be scaled down (blind, paused, windows not full yet: a budget is no reason to shrink on
what cannot be seen). Then, in order of priority, what it has, and then what it asks for on top; models
of equal priority keep what they have before any of them grows. Where a model of the fleet is not seen, nobody
grows: what it has is unknown, and unknown is not zero.

The GPUs of doomed replicas leave the budget at once, but for those that somebody stands in for: a
promised replica takes over the share of the one that it replaces. That share is kept from the first tick
of a notice on, before the promise is made: else another model grows into it, on the next tick the promise
finds no room, is taken back, and is made again on the tick after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from autoscaler.core.pools.placement import place
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """One model's claim."""

    situation: Situation
    asked: int
    gpus: list[int]
    """By number of replicas from 0 to `asked`: GPUs that they hold."""

    def grant(self, replicas: int, *, held: int, left: int) -> int:
        """Return the most up to `replicas`, from `held` on, that the GPUs left allow."""
        while held < replicas and self.gpus[held + 1] - self.gpus[held] <= left:
            left -= self.gpus[held + 1] - self.gpus[held]
            held += 1
        return held


def allot(
    claims: Sequence[tuple[Situation, ReplicaCount]], *, gpu_budget: int, all_seen: bool
) -> Mapping[str, int]:
    """Return by model how many replicas it may ask for, fallback apart; empty: all that they ask.

    Args:
        claims: of the models that are seen.
        gpu_budget: GPUs of the whole fleet.
        all_seen: whether these are all models of the fleet.
    """
    accounts = [_open(situation, count) for situation, count in claims]
    if all_seen and sum([account.gpus[account.asked] for account in accounts]) <= gpu_budget:
        return {}
    # Highest priority first; within one, in order of key.
    accounts.sort(
        key=lambda account: (-account.situation.spec.priority, account.situation.spec.key)
    )
    held = [_protected(account) for account in accounts]
    left = gpu_budget - sum(
        [account.gpus[count] for account, count in zip(accounts, held, strict=True)]
    )
    priorities = sorted({account.situation.spec.priority for account in accounts}, reverse=True)
    for priority in priorities:
        for growing in (False, True) if all_seen else (False,):
            for index, account in enumerate(accounts):
                if account.situation.spec.priority != priority:
                    continue
                now = account.situation.asked_replicas
                limit = account.asked if growing else min(account.asked, now)
                before = held[index]
                held[index] = account.grant(limit, held=before, left=left)
                left -= account.gpus[held[index]] - account.gpus[before]
    return {
        account.situation.spec.key: count for account, count in zip(accounts, held, strict=True)
    }


def _open(situation: Situation, count: ReplicaCount) -> _Account:
    """Say what each number of replicas would hold: the floor first, the preferred pool's rest last."""
    placement = place(situation, count)
    order = [index for index in range(len(situation.pools)) if index != situation.order.preferred]
    order.sort(key=lambda index: index != situation.order.floor)
    order.append(situation.order.preferred)
    each: list[int] = []
    for index in order:
        gpus = situation.observation.pools[index].gpus_per_replica
        each.extend([gpus] * len(placement.slots[index]))
    del each[count.asked :]
    doomed = sum([pool.doomed for pool in situation.pools])
    freed = doomed - max(situation.promised, _replaced(situation, count, doomed=doomed))
    # Those that are doomed hold none of the budget: the last ones are taken to be it.
    for index in range(max(0, len(each) - max(0, freed)), len(each)):
        each[index] = 0
    return _Account(situation=situation, asked=len(each), gpus=[0, *accumulate(each)])


def _replaced(situation: Situation, count: ReplicaCount, *, doomed: int) -> int:
    """Count the doomed replicas that a promise is about to be made for: those that are still needed."""
    if situation.order.fallback is None or not situation.spec.spot.on_demand_fallback:
        return 0
    lasting = situation.asked_replicas - doomed
    return min(doomed, max(0, count.serving - lasting))


def _protected(account: _Account) -> int:
    """Return the replicas that no budget takes away."""
    situation = account.situation
    least = max(situation.spec.min_replicas, situation.floor.told_replicas)
    if not situation.may_shrink:
        least = max(least, situation.asked_replicas)
    return min(account.asked, least)
