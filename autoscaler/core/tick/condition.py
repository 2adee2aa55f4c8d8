"""One condition, built."""

from __future__ import annotations

from autoscaler.core.contract.decision import Condition
from autoscaler.core.contract.reasons import ConditionType


def condition(kind: ConditionType, status: bool | None, reason: str, message: str) -> Condition:  # noqa: FBT001  the status is the condition
    """Build a condition; a status of None is Unknown."""
    word = "Unknown" if status is None else "True" if status else "False"
    return Condition(type=kind, status=word, reason=reason, message=message)
