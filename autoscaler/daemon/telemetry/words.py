"""Closed sets of words that are metric labels. A test compares them with the code that gives them."""

from __future__ import annotations

from typing import get_args

from autoscaler.core.contract.commands import Command
from autoscaler.core.contract.reasons import StepBy
from autoscaler.core.contract.state import NODE_STATUS
from autoscaler.notices.node_marks import DIALECTS

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

COMMAND_REASONS = ("Accepted", *SENT_AND_REFUSED, "Superseded", "Skipped", "Withheld")
"""As `core.events.CommandFinished.reason` has them."""

NOTICE_SOURCES = (*dict.fromkeys(dialect.source for dialect in DIALECTS), NODE_STATUS)
"""`Interruption.source`."""

ADJUSTMENTS = tuple(by for by in StepBy if by not in {StepBy.POLICY, StepBy.PLACEMENT})
"""The guards and stages between the proposal and its placement: `Step.by` of what adjusted it."""
