"""Closed sets of words that are metric labels. A test compares them with the code that gives them."""

from __future__ import annotations

from typing import get_args

from autoscaler import notices
from autoscaler.core.contract.commands import Command
from autoscaler.core.contract.reasons import Reason, StepBy
from autoscaler.core.contract.scores import IdleGpuSeconds, MissedRequests
from autoscaler.core.contract.state import NODE_STATUS
from autoscaler.notices.interruptions import DRAIN

TASKS = (
    "cluster",
    "watch",
    "collector",
    "config",
    "history",
    "outages",
    "status",
    "knowledge",
    "lease",
    "actuator",
    "loop",
)
"""Long-lived tasks that are begun anew when they break: `kind` of `Supervisor.keep`."""

COMMAND_KINDS = tuple(kind.__name__ for kind in get_args(Command))

SENT_AND_REFUSED = (
    "Conflict",
    "Forbidden",
    "NotFound",
    "DisruptionBudget",
    "Expired",
    "Unavailable",
    "Failed",
)
"""Ends of a command that was sent."""

COMMAND_REASONS = ("Accepted", *SENT_AND_REFUSED, "Superseded", "Skipped", "Standby", "Withheld")
"""As `core.events.CommandFinished.reason` has them."""

LEASE_OUTCOMES = ("Gained", "Lost")
"""What became of the lease: this process acts from then on, or does so no more."""

NOTICE_SOURCES = (
    *dict.fromkeys(label for source in notices.NOTICE_SOURCES.values() for label in source.labels),
    DRAIN,
    NODE_STATUS,
)
"""`Interruption.source`."""

ADJUSTMENTS = tuple(by for by in StepBy if by not in {StepBy.POLICY, StepBy.PLACEMENT})
"""The guards and stages between the proposal and its placement: `Step.by` of what adjusted it."""


CONFLICTS = (
    Reason.HPA_ON_TARGET,
    Reason.SCALED_OBJECT_ON_TARGET,
    Reason.OTHER_WRITER,
    Reason.MANUAL_SCALE,
)
"""Who else scales a model: the reason of its condition `Conflicted`, where that is true."""


def _camel(field: str) -> str:
    return "".join([part.capitalize() for part in field.split("_")])


IDLE_REASONS = tuple(map(_camel, IdleGpuSeconds._fields))
"""Who kept a replica that was not needed."""

MISS_CAUSES = tuple(map(_camel, MissedRequests._fields))
"""Why requests were not served as promised."""
