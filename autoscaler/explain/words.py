"""Every step, reason and condition in the words of a sentence; a test holds that none is missing."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.core.contract.reasons import ConditionType, Reason, StepBy

STEPS: Mapping[StepBy, str] = {
    StepBy.POLICY: "the policy",
    StepBy.FRESHNESS: "the guard against stale signals",
    StepBy.STARTING: "the stand-ins for replicas that do not start",
    StepBy.STABILIZATION: "the stabilization window",
    StepBy.RATE: "the rate limit of `behavior`",
    StepBy.WARM_FLOOR: "the warm floor",
    StepBy.LOSS_BUDGET: "the loss budget of spot",
    StepBy.BOUNDS: "the bounds",
    StepBy.BUDGET: "the GPU budget",
    StepBy.CONFLICT: "the regard for whoever else scales it",
    StepBy.PAUSE: "the pause",
    StepBy.INTERRUPTION: "the fallback for spot",
    StepBy.PLACEMENT: "the pools",
}
"""Who changed the number."""

BECAUSE: Mapping[Reason, str] = {
    Reason.AT_FLOOR: "the load asks for no more than the floor",
    Reason.CHEAPEST_RULE: "so asks the cheapest rule that would have kept the objective on this model's own traffic",
    Reason.DEMAND_UNKNOWN: "what is asked of it is unknown, and nothing is scaled on a guess",
    Reason.FOLLOWS_DEMAND: "it follows the demand",
    Reason.NO_HISTORY: "too little was seen to forecast, so it follows the demand and gives nothing up",
    Reason.REQUESTS_WAIT: "requests wait that the ready replicas would not clear before another one could be ready",
    Reason.WORTH_ITS_COST: "each of them is expected to be worth its cost, and one more is not",
    Reason.CLUSTER_STALE: "the API server is out of sight, so nothing is given up",
    Reason.METRICS_STALE: "its replicas do not tell what they do, so nothing is given up",
    Reason.ROLLOUT_IN_PROGRESS: "a rollout is under way, so nothing is given up",
    Reason.STANDS_IN: "others stand in for replicas that do not become ready",
    Reason.SCALE_DOWN_STABILIZED: "less was asked for only lately, and the window remembers more",
    Reason.SCALE_UP_STABILIZED: "more was asked for only lately, and the window remembers less",
    Reason.WITHIN_TOLERANCE: "the difference is within the tolerance",
    Reason.SCALE_DOWN_LIMIT: "`behavior.scaleDown` lets no more go at once",
    Reason.SCALE_UP_LIMIT: "`behavior.scaleUp` lets no more come at once",
    Reason.WARM_FLOOR: "the warm floor asks for them",
    Reason.LOSS_BUDGET: "losing the largest zone of spot must leave the floor and the objective",
    Reason.TOO_FEW_REPLICAS: "minReplicas asks for them",
    Reason.TOO_MANY_REPLICAS: "maxReplicas allows no more",
    Reason.GPU_BUDGET: "there are no more GPUs in the budget",
    Reason.HPA_ON_TARGET: "a HorizontalPodAutoscaler scales its target, and two would undo each other's numbers",
    Reason.SCALED_OBJECT_ON_TARGET: "a ScaledObject of KEDA scales its target, and two would undo each other's numbers",
    Reason.OTHER_WRITER: "somebody else sets its replicas, and has undone what was written",
    Reason.MANUAL_SCALE: "somebody set its replicas by hand, and that is left so for a while",
    Reason.PAUSED: "it is paused by annotation",
    Reason.SCALE_DOWN_PAUSED: "scaling down is paused by annotation",
    Reason.SCALE_UP_PAUSED: "scaling up is paused by annotation",
    Reason.FALLBACK_ACTIVE: "on-demand replicas stand in for spot that was taken",
    Reason.FALLBACK_RAISED: "spot nodes are being taken, and on-demand replicas stand in for them",
    Reason.FALLBACK_RELEASED: "spot is back, and the on-demand replicas that stood in for it go",
    Reason.POOLS_FULL: "the pools cannot take more",
    Reason.POOLS_HELD: "the pools hold what they have",
    Reason.INVARIANT_BROKEN: "a bug of ours keeps it where it is; please report it",
    Reason.TARGET_UNREADABLE: "its scale target cannot be read, so nothing is written",
    Reason.UNOBSERVED: "nothing of it was observed",
}
"""Why the number is what it is, to follow `because`, `for` or a colon."""

OTHERWISE: Mapping[Reason, str] = {
    Reason.SCALE_DOWN_STABILIZED: "once the window has passed since more was last asked for",
    Reason.SCALE_UP_STABILIZED: "once the window has passed since less was last asked for",
    Reason.WITHIN_TOLERANCE: "with a load further from the target, or a smaller `tolerance`",
    Reason.SCALE_DOWN_LIMIT: "as the periods of `behavior.scaleDown.policies` pass, or with wider ones",
    Reason.SCALE_UP_LIMIT: "as the periods of `behavior.scaleUp.policies` pass, or with wider ones",
    Reason.WARM_FLOOR: "with a smaller `warmFloor`",
    Reason.LOSS_BUDGET: "with spot spread over more zones, or more of it on demand",
    Reason.TOO_FEW_REPLICAS: "with a smaller `minReplicas`",
    Reason.TOO_MANY_REPLICAS: "with a larger `maxReplicas`",
    Reason.GPU_BUDGET: "with a larger --gpu-budget, or once another model gives GPUs back",
    Reason.HPA_ON_TARGET: "without the HorizontalPodAutoscaler on its target",
    Reason.SCALED_OBJECT_ON_TARGET: "without the ScaledObject on its target",
    Reason.OTHER_WRITER: "once the other one leaves spec.replicas alone, and the time of the hold has passed",
    Reason.MANUAL_SCALE: "once the time of `manualScale.holdSeconds` has passed",
    Reason.PAUSED: "without the annotation inference-autoscaler.dev/paused",
    Reason.SCALE_DOWN_PAUSED: "without the annotation inference-autoscaler.dev/paused",
    Reason.SCALE_UP_PAUSED: "without the annotation inference-autoscaler.dev/paused",
    Reason.FALLBACK_ACTIVE: "once spot is back",
    Reason.FALLBACK_RAISED: "once spot is back",
    Reason.CLUSTER_STALE: "once the API server is in sight again",
    Reason.METRICS_STALE: "once its replicas answer again",
    Reason.ROLLOUT_IN_PROGRESS: "once the rollout has ended",
    Reason.STANDS_IN: "once those become ready, or are gone",
    Reason.POOLS_FULL: "once a pool takes more",
    Reason.POOLS_HELD: "once a pool takes more",
}
"""When it would have been what it was before this step."""

BAD_STATUS: Mapping[ConditionType, str] = {
    ConditionType.READY: "False",
    ConditionType.ABLE_TO_SCALE: "False",
    ConditionType.SCALING_ACTIVE: "False",
    ConditionType.SCALING_LIMITED: "True",
    ConditionType.METRICS_AVAILABLE: "False",
    ConditionType.WARM_POOL_SATISFIED: "False",
    ConditionType.CAPACITY_INTERRUPTED: "True",
    ConditionType.FALLBACK_ACTIVE: "True",
    ConditionType.VICTIMS_CHOSEN: "False",
    ConditionType.TARGETS_SOUND: "False",
    ConditionType.GPUS_HEALTHY: "False",
    ConditionType.ATTAINMENT_KNOWN: "False",
    ConditionType.CONFLICTED: "True",
}
"""The status of each condition that somebody may have to do something about."""
