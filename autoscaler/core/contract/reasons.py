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
    LOSS_BUDGET = "loss_budget"
    BOUNDS = "bounds"
    BUDGET = "budget"
    CONFLICT = "conflict"
    PAUSE = "pause"
    INTERRUPTION = "interruption"
    PLACEMENT = "placement"


class Reason(StrEnum):
    """Why a step changed the number, and so why a decision is what it is."""

    # of the policies
    AT_FLOOR = "AtFloor"
    CHEAPEST_RULE = "CheapestRule"
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
    LOSS_BUDGET = "LossBudget"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    TOO_MANY_REPLICAS = "TooManyReplicas"
    GPU_BUDGET = "GpuBudget"
    HPA_ON_TARGET = "HorizontalPodAutoscaler"
    SCALED_OBJECT_ON_TARGET = "ScaledObject"
    OTHER_WRITER = "OtherWriter"
    MANUAL_SCALE = "ManualScale"
    PAUSED = "Paused"
    SCALE_DOWN_PAUSED = "ScaleDownPaused"
    SCALE_UP_PAUSED = "ScaleUpPaused"
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


class FindingReason(StrEnum):
    """What may be wrong with a scale target: of the findings of `autoscaler check`, and of a condition."""

    # how its replicas end
    GRACE_TOO_SHORT = "GraceTooShort"
    GRACE_BEYOND_NOTICE = "GraceBeyondNotice"
    NO_PRE_STOP = "NoPreStop"
    PRE_STOP_SLEEPS = "PreStopSleeps"
    PRE_STOP_UNCLEAR = "PreStopUnclear"
    NO_SHUTDOWN_TIMEOUT = "NoShutdownTimeout"
    SHUTDOWN_TIMEOUT_REFUSED = "ShutdownTimeoutRefused"
    SHUTDOWN_TIMEOUT_SHORT = "ShutdownTimeoutShort"
    # how they start, and what ends them in between
    START_CUT = "StartCut"
    START_DELAYED = "StartDelayed"
    NO_READINESS_PROBE = "NoReadinessProbe"
    LIVENESS_DURING_START = "LivenessDuringStart"
    LIVENESS_DURING_DRAIN = "LivenessDuringDrain"
    LIVENESS_HASTY = "LivenessHasty"
    PROGRESS_DEADLINE_SHORT = "ProgressDeadlineShort"
    RECREATED = "Recreated"
    ROLLOUT_TAKES_READY = "RolloutTakesReady"
    # who may take them away, and where they land
    DISRUPTION_BLOCKED = "DisruptionBlocked"
    SEVERAL_BUDGETS = "SeveralBudgets"
    UNREADY_NOT_EVICTED = "UnreadyNotEvicted"
    DO_NOT_DISRUPT = "DoNotDisrupt"
    NO_NOTICE = "NoNotice"
    LANDS_ON_SPOT = "LandsOnSpot"
    LANDS_ON_ON_DEMAND = "LandsOnOnDemand"
    SPOT_NOT_TOLERATED = "SpotNotTolerated"
    TOLERATES_ALL = "ToleratesAll"
    # how they are read, and what they share
    PORTS_UNREAD = "PortsUnread"
    SCHEME_WRONG = "SchemeWrong"
    REPLICAS_WRITTEN = "ReplicasWritten"
    VOLUME_WRITABLE = "VolumeWritable"
    TARGET_MISSING = "TargetMissing"


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
    VICTIMS_CHOSEN = "VictimsChosen"
    TARGETS_SOUND = "TargetsSound"
    GPUS_HEALTHY = "GpusHealthy"
    ATTAINMENT_KNOWN = "AttainmentKnown"
    CONFLICTED = "Conflicted"


class ConditionReason(StrEnum):
    """Why a condition has its status, where that is no other word: of a step, a finding, a refused write."""

    DECIDED = "Decided"
    READY_FOR_NEW_SCALE = "ReadyForNewScale"
    VALID_SIGNALS = "ValidSignals"
    OBSERVING = "Observing"
    DESIRED_WITHIN_RANGE = "DesiredWithinRange"
    CAPACITY_UNAVAILABLE = "CapacityUnavailable"
    SAMPLES_FRESH = "SamplesFresh"
    NO_READY_REPLICA = "NoReadyReplica"
    ROLLOUT_OVERDUE = "RolloutOverdue"
    REPLICAS_STAND_STILL = "ReplicasStandStill"
    REPLICAS_MUTE = "ReplicasMute"
    NO_FLOOR = "NoFloor"
    FLOOR_READY = "FloorReady"
    FLOOR_NOT_READY = "FloorNotReady"
    NO_INTERRUPTION = "NoInterruption"
    NODES_DOOMED = "NodesDoomed"
    NODES_AT_RISK = "NodesAtRisk"
    NO_FALLBACK = "NoFallback"
    FALLBACK_DISABLED = "FallbackDisabled"
    NO_ON_DEMAND_POOL = "NoOnDemandPool"
    PROMISES_UNREADABLE = "PromisesUnreadable"
    SPOT_INTERRUPTED = "SpotInterrupted"
    NO_CONFLICT = "NoConflict"
    RIVALS_UNREADABLE = "RivalsUnreadable"
    NO_SCALE_DOWN = "NoScaleDown"
    COSTS_ACCEPTED = "CostsAccepted"
    COSTS_FORBIDDEN = "CostsForbidden"
    COSTS_NOT_NEEDED = "CostsNotNeeded"
    IN_FLIGHT_UNKNOWN = "InFlightUnknown"
    NOTHING_FOUND = "NothingFound"
    NO_FAULT_SEEN = "NoFaultSeen"
    GPUS_UNHEALTHY = "GpusUnhealthy"
    GPU_HEALTH_UNKNOWN = "GpuHealthUnknown"
    BOUNDS_NEAR = "BoundsNear"
    NO_BOUND_NEAR = "NoBoundNear"
    HISTOGRAMS_MISSING = "HistogramsMissing"
