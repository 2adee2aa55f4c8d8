"""The warm floor of this moment: the most of what is kept always, of the schedules, and of the ramp.

Everything after it knows a floor of so many replicas: the specification that a tick decides by has it in the place of
what was written (`in_force`). A schedule's replicas are asked for before it begins, so that they are ready when it
does: they count in the floor then, and are owed from its beginning on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from autoscaler.core.contract.spec import ModelSpec, RampMode, WarmFloor
from autoscaler.core.forecast.ramp import RampMemory
from autoscaler.core.pools.order import PoolOrder, order_pools


class FloorNow(NamedTuple):
    """One model's warm floor at this tick."""

    replicas: int
    """Asked for, and kept; never above the maximum, never below what is kept always."""
    due_replicas: int
    """Of these, those that are to be ready now."""
    told_replicas: int
    """Of these, those that somebody wrote: the ramp's are computed, and no budget is kept free for them."""
    usd_per_hour: float | None
    """Of all of them; None: the price of their pool is not given."""
    why: str
    """What decides it: a schedule, the ramp; empty: what is kept always."""
    unknown: str
    """Why the ramp is not in it though it is to be; empty: it is, or is not to be."""
    early: bool
    """A schedule is about to begin, and its replicas start."""

    def account(self, floor: WarmFloor) -> str:
        """Say what is kept, what it costs, and why."""
        where = "any capacity" if floor.capacity_type is None else floor.capacity_type.value
        price = "" if self.usd_per_hour is None else f", {self.usd_per_hour:.2f} USD an hour"
        why = f": {self.why}" if self.why else ""
        unknown = f"; {self.unknown}" if self.unknown else ""
        return f"{self.replicas} are kept warm on {where}{price}{why}{unknown}"


def find_floor(
    spec: ModelSpec, order: PoolOrder, *, at: float, ahead_s: float, ramp: RampMemory
) -> FloorNow:
    """Find the warm floor of a moment.

    Args:
        spec: of the model, as it was written.
        order: of its pools.
        at: now, seconds.
        ahead_s: so long before a schedule begins its replicas are asked for.
        ramp: what is remembered of the model's ramp.
    """
    floor = spec.warm_floor
    asked = due = floor.replicas
    usd = spec.pools[order.warm].price_usd_per_hour
    if not floor.schedules and floor.ramp is RampMode.OFF:
        price = None if usd is None else asked * usd
        return FloorNow(asked, asked, asked, price, "", "", early=False)
    why, unknown, early = "", "", False
    for schedule in floor.schedules:
        span = schedule.span(at, ahead_s=ahead_s)
        if span is None:
            continue
        begins_s = span.begins_at - at
        if begins_s > 0.0:
            early = True
        else:
            due = max(due, schedule.replicas)
        if schedule.replicas > asked:
            asked = schedule.replicas
            why = schedule.text if begins_s <= 0.0 else f"{schedule.text}, in {begins_s:.0f} s"
    told = asked
    if floor.ramp is RampMode.AUTO:
        if ramp.replicas is None:
            watched = "nothing was"
            if ramp.asked_s:
                watched = f"{ramp.watched_s / 3600.0:.1f} of {ramp.asked_s / 3600.0:.1f} h"
            unknown = f"the ramp is not known yet ({watched} watched)"
        else:
            due = max(due, ramp.replicas)
            if ramp.replicas > asked:
                asked = ramp.replicas
                why = "by the ramp, what load was seen to rise by within one cold start"
    most = max(spec.max_replicas, floor.replicas)
    replicas = min(asked, most)
    return FloorNow(
        replicas=replicas,
        due_replicas=min(due, most),
        told_replicas=min(told, most),
        usd_per_hour=None if usd is None else replicas * usd,
        why=why,
        unknown=unknown,
        early=early,
    )


def in_force(spec: ModelSpec, order: PoolOrder, floor: FloorNow) -> tuple[ModelSpec, PoolOrder]:
    """Return the specification with the floor of this moment, and the order of its pools.

    Args:
        spec: of the model, as it was written.
        order: of its pools, made of this very specification; what is found is kept there.
        floor: of this moment.
    """
    written = spec.warm_floor
    if floor.replicas == written.replicas:
        return spec, order
    found = order.at_floors.get(floor.replicas)
    if found is None:
        decided = replace(spec, warm_floor=replace(written, replicas=floor.replicas))
        found = order.at_floors[floor.replicas] = decided, order_pools(decided)
    return found
