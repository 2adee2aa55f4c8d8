"""The rules of others, sync by sync: an HPA on requests in flight, and the HPA that KEDA makes of its usual recipe.

Held against the peers of the replay, which are held against the real controllers: `tests/core/hindsight/test_recipes.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from autoscaler.core.contract.spec import Behavior, PolicyType, ScalingPolicy, ScalingRules
from autoscaler.core.hpa import (
    HpaMemory,
    limit_rate,
    remember_rescale,
    stabilize,
    within_tolerance,
)

TOLERANCE_RATIO = 0.1
DOWN_WINDOW_S = 300.0
"""The controller's flags, as they are by default."""
_DOUBLE, _FOUR = 2, 4
"""Without a `behavior` one sync may double the replicas, or go to four."""
_ANY = 2**31 - 1
WAITING_EACH = 5.0
"""KEDA's threshold."""
KEDA_BEHAVIOR = Behavior(
    scale_down=ScalingRules(
        stabilization_window_s=300,
        policies=(ScalingPolicy(type=PolicyType.PERCENT, value=50, period_s=60),),
    )
)
"""Of the ScaledObject that articles on LLM serving show (`simulations/peers/rules/keda.py`)."""
_GIVEN = ScalingRules()


class Replicas(NamedTuple):
    """Of an imagined fleet."""

    asked: int
    ready: int


class Bounds(NamedTuple):
    """What a fleet is held to."""

    least: int
    most: int


def hpa_proposal(
    in_flight: float, replicas: Replicas, *, target: float, behavior: Behavior | None
) -> int | None:
    """Return what a Pods metric with an AverageValue asks for; None: no pod has a sample.

    A pod that starts has none, and counts as full on the way down and as empty on the way up, so that it changes nothing
    that it may be the answer to.

    Args:
        in_flight: requests, waiting and running, over the replicas that are ready.
        replicas: of the fleet.
        target: requests in flight of one replica.
        behavior: of the HPA; it may set the tolerance.
    """
    asked, ready = replicas
    if ready <= 0:
        return None
    target_milli = round(target * 1000)
    total = math.ceil(round(in_flight * 1e6) / 1e3)
    ratio = total // ready / target_milli
    if ready < asked and ratio != 1.0:
        filled = (
            (total + (asked - ready) * target_milli if ratio < 1.0 else total)
            // asked
            / target_milli
        )
        if _within(filled, behavior) or (ratio < 1.0) is not (filled < 1.0):
            return asked
        proposal = math.ceil(filled * asked)
        return min(asked, proposal) if filled < 1.0 else max(asked, proposal)
    return asked if _within(ratio, behavior) else math.ceil(ratio * ready)


def keda_proposal(waiting: float, replicas: Replicas) -> int:
    """Return what an External metric with an AverageValue asks for.

    Args:
        waiting: requests, over all replicas.
        replicas: of the fleet.
    """
    waits = math.floor(waiting + 0.5)  # on a page they are whole
    ratio = waits / (WAITING_EACH * replicas.asked)
    if _within(ratio, None):
        return replicas.asked
    return math.ceil(waits / WAITING_EACH)


def sync(
    memory: HpaMemory,
    proposal: int | None,
    *,
    at: float,
    current: int,
    behavior: Behavior | None,
    bounds: Bounds,
) -> int:
    """Return the replicas that an HPA writes, and let it remember.

    Args:
        memory: of its controller; changed.
        proposal: of its metric; None: it could not be read.
        at: now, seconds.
        current: replicas asked for.
        behavior: None: not given, which is another rule than all defaults.
        bounds: of the fleet.
    """
    least, most = bounds
    if not least <= current <= most:
        return min(max(current, least), most)
    if proposal is None:
        return current
    if behavior is None:
        stable = stabilize(
            memory.recommendations,
            at=at,
            current=_ANY,
            proposal=proposal,
            down_window_s=DOWN_WINDOW_S,
        ).replicas
        return max(least, min(stable, most, max(_DOUBLE * current, _FOUR)))
    up, down = behavior.scale_up or _GIVEN, behavior.scale_down or _GIVEN
    window_s = down.stabilization_window_s
    stable = stabilize(
        memory.recommendations,
        at=at,
        current=current,
        proposal=proposal,
        up_window_s=up.stabilization_window_s or 0.0,
        down_window_s=DOWN_WINDOW_S if window_s is None else window_s,
    ).replicas
    limited = limit_rate(memory, at=at, current=current, proposal=stable, up=up, down=down)
    replicas = min(max(limited.replicas, least), most)
    if replicas != current:
        remember_rescale(memory, at=at, before=current, after=replicas, up=up, down=down)
    return replicas


def _within(ratio: float, behavior: Behavior | None) -> bool:
    up = down = None
    if behavior is not None:
        up, down = behavior.scale_up, behavior.scale_down
    return within_tolerance(ratio, up_ratio=_tolerance(up), down_ratio=_tolerance(down))


def _tolerance(rules: ScalingRules | None) -> float:
    if rules is None or rules.tolerance_ratio is None:
        return TOLERANCE_RATIO
    return rules.tolerance_ratio
