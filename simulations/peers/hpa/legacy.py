"""An HPA without a `behavior`: its own stabilization and its own limit, older than the field.

The autoscaler itself never runs them: without a `behavior` it has a window of one cold start and no
rate limit.
"""

from __future__ import annotations

from autoscaler.core.hpa import Limited, Slot, stabilize
from simulations.peers.hpa.metrics import INT32_MAX
from simulations.peers.hpa.spec import DOWN_STABILIZATION_S

UP_FACTOR = 2.0
UP_MIN = 4.0
"""One sync may double the replicas, or go to four."""


def stabilize_legacy(recommendations: list[Slot], *, at: float, proposal: int) -> Limited:
    """Return the highest proposal of the window; remembers the raw one.

    The same as one window for scaling down and none for scaling up, but that the current number is
    not looked at: a proposal is raised to the highest even above it.
    """
    return stabilize(
        recommendations,
        at=at,
        current=INT32_MAX,
        proposal=proposal,
        down_window_s=DOWN_STABILIZATION_S,
    )


def limit_legacy(*, current: int, proposal: int, replicas_min: int, replicas_max: int) -> int:
    """Bound a proposal: min, max, and at most doubling (or four) a sync."""
    highest = min(replicas_max, int(max(UP_FACTOR * current, UP_MIN)))
    return replicas_min if proposal < replicas_min else min(proposal, highest)
