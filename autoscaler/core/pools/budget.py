"""The GPU budget over the models of a fleet, by priority.

First every model gets what nothing may take from it: its minimum and warm floor, and all it has where
nothing may be scaled down (blind, paused, windows not full yet: a budget is no reason to shrink on
what cannot be seen). Then, in order of priority, what it has, and then what it wants more; models of
equal priority keep what they have before any of them grows. Where a model of the fleet is not seen, nobody
grows: what it has is unknown, and unknown is not zero.

The GPUs of doomed replicas leave the budget at once, but for those whose stand-ins have taken their
place: a promised replica takes over the share of the one that it replaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from autoscaler.core.pools.placement import place
from autoscaler.core.pools.situation import Situation, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """One model's claim."""

    s: Situation
    wanted: int
    gpus: list[int]
    """By number of replicas from 0 to `wanted`: GPUs that they hold."""

    def grant(self, replicas: int, *, held: int, left: int) -> int:
        """Return the most up to `replicas`, from `held` on, that the GPUs left allow."""
        while held < replicas and self.gpus[held + 1] - self.gpus[held] <= left:
            left -= self.gpus[held + 1] - self.gpus[held]
            held += 1
        return held


def allot(
    claims: Sequence[tuple[Situation, Wanted]], *, gpu_budget: int, unseen: tuple[str, ...] = ()
) -> None:
    """Set `granted` of each model whose claim does not fit. Pure but for that.

    Args:
        claims: of the models that are seen.
        gpu_budget: GPUs of the whole fleet.
        unseen: keys of its other models.
    """
    accounts = [_open(s, wanted) for s, wanted in claims]
    if not unseen and sum([account.gpus[account.wanted] for account in accounts]) <= gpu_budget:
        return
    # Highest priority first; within one, in order of key.
    accounts.sort(key=lambda account: (-account.s.spec.priority, account.s.spec.key))
    held = [_protected(account) for account in accounts]
    left = gpu_budget - sum(
        [account.gpus[count] for account, count in zip(accounts, held, strict=True)]
    )
    for priority in sorted({account.s.spec.priority for account in accounts}, reverse=True):
        for growing in (False,) if unseen else (False, True):
            for index, account in enumerate(accounts):
                if account.s.spec.priority != priority:
                    continue
                limit = account.wanted if growing else min(account.wanted, account.s.current)
                before = held[index]
                held[index] = account.grant(limit, held=before, left=left)
                left -= account.gpus[held[index]] - account.gpus[before]
    for account, count in zip(accounts, held, strict=True):
        account.s.granted, account.s.unseen = count, unseen


def _open(s: Situation, wanted: Wanted) -> _Account:
    """Say what each number of replicas would hold: the floor first, the preferred pool's rest last."""
    placement = place(s, wanted)
    order = [index for index in range(len(s.pools)) if index != s.layout.preferred]
    order.sort(key=lambda index: index != s.layout.floor)
    order.append(s.layout.preferred)
    each: list[int] = []
    for index in order:
        gpus = s.observation.pools[index].gpus_per_replica
        each.extend([gpus] * placement.desired[index])
    del each[wanted.asked :]
    freed = sum([pool.doomed for pool in s.pools]) - s.promised
    # Those that are doomed hold none of the budget: the last ones are taken to be it.
    for index in range(max(0, len(each) - max(0, freed)), len(each)):
        each[index] = 0
    return _Account(s=s, wanted=len(each), gpus=[0, *accumulate(each)])


def _protected(account: _Account) -> int:
    """Return the replicas that no budget takes away."""
    s = account.s
    least = max(s.spec.min_replicas, s.spec.warm_floor.replicas)
    if not s.may_shrink:
        least = max(least, s.current)
    return min(account.wanted, least)
