"""Closed sets of words that are metric labels. A test compares them with the code that gives them."""

from __future__ import annotations

from autoscaler.core.contract.state import NODE_STATUS
from autoscaler.notices.node_marks import DIALECTS

COMMAND_KINDS = ("SetReplicas", "Annotate", "CordonNode", "UncordonNode", "EvictPod", "DeletePod")

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

REASONS = (
    # of the policies
    "AtFloor",
    "DemandUnknown",
    "FollowsDemand",
    "NoHistory",
    "RequestsWait",
    "WorthItsCost",
    # of the guards, in their order
    "ClusterStale",
    "MetricsStale",
    "RolloutInProgress",
    "StandsIn",
    "ScaleDownStabilized",
    "ScaleUpStabilized",
    "WithinTolerance",
    "ScaleDownLimit",
    "ScaleUpLimit",
    "WarmFloor",
    "TooFewReplicas",
    "TooManyReplicas",
    "GpuBudget",
    "Paused",
    "ScaleDownPaused",
    "FallbackActive",
    "FallbackRaised",
    "FallbackReleased",
    # of placement
    "PoolsFull",
    "PoolsHeld",
    # of a model about which nothing can be decided
    "InvariantBroken",
    "TargetUnreadable",
    "Unobserved",
)
"""`Decision.reason`."""
