"""The closed sets of words in a decision: who changed a number, why, and what a condition says.

They are public: labels of metrics, fields of logs and recordings. Each is a string that is written as
it stands; every list of them elsewhere derives from here.
"""

from __future__ import annotations

from enum import StrEnum


class StepBy(StrEnum):
    """Who changed the number: a stage of the tick or a guard, in the order of the trail."""

    POLICY = "policy"
    FRESHNESS = "freshness"
    STARTING = "starting"
    STABILIZATION = "stabilization"
    RATE = "rate"
    WARM_FLOOR = "warm_floor"
    BOUNDS = "bounds"
    BUDGET = "budget"
    PAUSE = "pause"
    INTERRUPTION = "interruption"
    PLACEMENT = "placement"


class Reason(StrEnum):
    """Why a step changed the number, and so why a decision is what it is."""

    # of the policies
    AT_FLOOR = "AtFloor"
    DEMAND_UNKNOWN = "DemandUnknown"
    FOLLOWS_DEMAND = "FollowsDemand"
    NO_HISTORY = "NoHistory"
    REQUESTS_WAIT = "RequestsWait"
    WORTH_ITS_COST = "WorthItsCost"
    # of the guards and stages, in their order
    CLUSTER_STALE = "ClusterStale"
    METRICS_STALE = "MetricsStale"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    STANDS_IN = "StandsIn"
    SCALE_DOWN_STABILIZED = "ScaleDownStabilized"
    SCALE_UP_STABILIZED = "ScaleUpStabilized"
    WITHIN_TOLERANCE = "WithinTolerance"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    WARM_FLOOR = "WarmFloor"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    TOO_MANY_REPLICAS = "TooManyReplicas"
    GPU_BUDGET = "GpuBudget"
    PAUSED = "Paused"
    SCALE_DOWN_PAUSED = "ScaleDownPaused"
    FALLBACK_ACTIVE = "FallbackActive"
    FALLBACK_RAISED = "FallbackRaised"
    FALLBACK_RELEASED = "FallbackReleased"
    # of placement
    POOLS_FULL = "PoolsFull"
    POOLS_HELD = "PoolsHeld"
    # of a model about which nothing can be decided
    INVARIANT_BROKEN = "InvariantBroken"
    TARGET_UNREADABLE = "TargetUnreadable"
    UNOBSERVED = "Unobserved"


class ConditionType(StrEnum):
    """What a condition is about; each model has all of them on every tick, in this order."""

    READY = "Ready"
    ABLE_TO_SCALE = "AbleToScale"
    SCALING_ACTIVE = "ScalingActive"
    SCALING_LIMITED = "ScalingLimited"
    METRICS_AVAILABLE = "MetricsAvailable"
    WARM_POOL_SATISFIED = "WarmPoolSatisfied"
    CAPACITY_INTERRUPTED = "CapacityInterrupted"
    FALLBACK_ACTIVE = "FallbackActive"


class ConditionReason(StrEnum):
    """Why a condition has its status, where that is no `Reason` of a step and no refusal of a write."""

    DECIDED = "Decided"
    READY_FOR_NEW_SCALE = "ReadyForNewScale"
    VALID_SIGNALS = "ValidSignals"
    OBSERVING = "Observing"
    DESIRED_WITHIN_RANGE = "DesiredWithinRange"
    CAPACITY_UNAVAILABLE = "CapacityUnavailable"
    SAMPLES_FRESH = "SamplesFresh"
    NO_READY_REPLICA = "NoReadyReplica"
    NO_FLOOR = "NoFloor"
    FLOOR_READY = "FloorReady"
    FLOOR_NOT_READY = "FloorNotReady"
    NO_INTERRUPTION = "NoInterruption"
    NODES_DOOMED = "NodesDoomed"
    NO_FALLBACK = "NoFallback"
    FALLBACK_DISABLED = "FallbackDisabled"
    NO_ON_DEMAND_POOL = "NoOnDemandPool"
    PROMISES_UNREADABLE = "PromisesUnreadable"
    SPOT_INTERRUPTED = "SpotInterrupted"
