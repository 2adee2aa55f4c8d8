"""The condition `Conflicted`: who else scales a model, since when, and what to do."""

from __future__ import annotations

from autoscaler.core.contract.decision import Condition
from autoscaler.core.contract.reasons import ConditionReason, ConditionType
from autoscaler.core.contract.spec import Mode
from autoscaler.core.pools.situation import Situation
from autoscaler.core.tick.condition import condition

ALONE = condition(
    ConditionType.CONFLICTED,
    False,
    ConditionReason.NO_CONFLICT,
    "nobody else scales its targets now",
)
UNSEEN = condition(
    ConditionType.CONFLICTED,
    None,
    ConditionReason.RIVALS_UNREADABLE,
    "HorizontalPodAutoscalers cannot be read: one on its targets is seen only once it has undone a write; grant the "
    "right to list and watch them (deploy/base/daemon/roles.yaml)",
)


def describe_conflict(situation: Situation) -> Condition:
    """Say who else scales it; where nothing is written anyway, that is no conflict."""
    conflict = situation.conflict
    if conflict is None:
        known = all(pool.rivals is not None for pool in situation.observation.pools)
        return ALONE if known else UNSEEN
    if situation.spec.mode is Mode.ACTIVE:
        return condition(ConditionType.CONFLICTED, True, conflict.reason, conflict.message)
    return condition(
        ConditionType.CONFLICTED,
        False,
        conflict.reason,
        f"mode is Observe, so nothing is written; in Active it would be held: {conflict.message}",
    )


def unable(situation: Situation) -> Condition | None:
    """Say `AbleToScale` of a model that is held for somebody else; None: it is not."""
    if situation.conflict is None or not situation.left_alone:
        return None
    conflict = situation.conflict
    return condition(ConditionType.ABLE_TO_SCALE, False, conflict.reason, conflict.message)
