"""The deletion cost in a pod's annotations: what a ReplicaSet reads, and whose it is.

Beside a cost of ours stands an annotation of our own with the same value, written and removed by the same
write. A cost without it, or with another value in it, is somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping

COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
"""What a ReplicaSet goes by when it is scaled down: the lower one goes first; 0 where there is none."""
OWN_COST_ANNOTATION = "inference-autoscaler.dev/deletion-cost"
"""Says that the cost of this value is ours."""
_INT32_MAX = 2**31 - 1
_DIGITS_MAX = 10


def deletion_cost(annotations: Mapping[str, object]) -> int:
    """Read it as a ReplicaSet does: what is no int32 is as if it were not there."""
    text = str(annotations.get(COST_ANNOTATION) or "")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _DIGITS_MAX:
        return 0
    if digits == text and digits.startswith("0"):
        return 0  # "007" is none to it, "-07" is; "0" is 0
    cost = int(text)
    return cost if -_INT32_MAX - 1 <= cost <= _INT32_MAX else 0


def is_ours(annotations: Mapping[str, object]) -> bool:
    """Tell whether the cost that stands there was set by us."""
    cost = annotations.get(COST_ANNOTATION)
    return cost is not None and cost == annotations.get(OWN_COST_ANNOTATION)
