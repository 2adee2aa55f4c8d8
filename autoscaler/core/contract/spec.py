"""What is asked: one model's specification, after validation at the edge, and the engine's settings.

The words are those of the custom resource; units are in the names. The
edge (`autoscaler/settings`) validates once and converts; inside, values are trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from autoscaler.core.contract.schedules import FloorSchedule
from autoscaler.core.contract.state import CapacityType


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTarget:
    """The object whose `scale` subresource is set."""

    api_version: str = "apps/v1"
    kind: str = "Deployment"
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


class Mode(StrEnum):
    """Whether decisions become commands."""

    ACTIVE = "Active"
    OBSERVE = "Observe"


class Pause(StrEnum):
    """From the annotation `inference-autoscaler.dev/paused`."""

    NO = "No"
    ALL = "All"
    SCALE_DOWN = "ScaleDown"
    SCALE_UP = "ScaleUp"


class ForecastMode(StrEnum):
    """Auto: the economic policy on the forecast. Off: the targets only, reactively."""

    AUTO = "Auto"
    OFF = "Off"


class RampMode(StrEnum):
    """Auto: the warm floor is at least what its model's own load was seen to need. Off: it is not."""

    AUTO = "Auto"
    OFF = "Off"


class PolicyType(StrEnum):
    """Of one HPA scaling policy."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several HPA scaling policies binds."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """One rate limit of an HPA behavior."""

    type: PolicyType
    value: int
    period_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingRules:
    """One direction of an HPA behavior; None means not given, and HPA's default holds."""

    stabilization_window_s: int | None = None
    select_policy: SelectPolicy = SelectPolicy.MAX
    policies: tuple[ScalingPolicy, ...] | None = None
    tolerance_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """HPA's block, obeyed exactly as HPA would. A direction that is None is not given."""

    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """One pool of a model."""

    name: str
    target: ScaleTarget
    capacity_type: CapacityType
    price_usd_per_hour: float | None = None
    """Of one replica; None: not given, all pools then cost the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmFloor:
    """Ready, not doomed replicas kept even without demand."""

    replicas: int = 0
    """The least, at any time."""
    capacity_type: CapacityType | None = None
    """None: on any."""
    ramp: RampMode = RampMode.OFF
    schedules: tuple[FloorSchedule, ...] = ()
    """The largest of those in force counts, where it is more than `replicas`."""

    @property
    def possible(self) -> bool:
        """Tell whether there can ever be one."""
        return self.replicas > 0 or bool(self.schedules) or self.ramp is RampMode.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a request is owed, and how often."""

    ttft_s: float = 2.0
    tpot_s: float = 0.1
    attainment_ratio: float = 0.99
    """0.5 to 0.9999. Sets the price of unmet demand: `lambda_0`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What one replica is taken to carry."""

    in_flight_requests: float = 32.0
    waiting_requests: float = 5.0
    kv_usage_ratio: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """What a notice sets going."""

    on_demand_fallback: bool = True
    return_after_s: float = 300.0
    """A spot replica repays a promise once it has been Ready this long."""
    drain_margin_s: float = 10.0
    """Between the end of the grace period we ask for and the deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One `InferenceAutoscaler`, as the core needs it."""

    namespace: str
    name: str
    mode: Mode = Mode.ACTIVE
    pause: Pause = Pause.NO
    paused_replicas: int | None = None
    """Of the model, over its pools, where all is paused: held at so many. None: at what there is."""
    pools: tuple[PoolSpec, ...]
    """At least one."""
    min_replicas: int = 1
    max_replicas: int = 10
    """Both bound desired replicas of the model, over its pools."""
    warm_floor: WarmFloor = field(default_factory=WarmFloor)
    objective: Objective = field(default_factory=Objective)
    targets: Targets = field(default_factory=Targets)
    cold_start_prior_s: float = 180.0
    """Weighs max(0, 5 - n/2) observations beside n measured ones."""
    forecast_mode: ForecastMode = ForecastMode.AUTO
    behavior: Behavior | None = None
    """None: not given (also for `{}`)."""
    spot: Spot = field(default_factory=Spot)
    priority: int = 0
    sample_age_s_max: float = 20.0
    """An engine sample older than this is stale: four scrape periods, not less than 15 s."""
    manual_scale_hold_s: float = 600.0
    """So long a number that somebody else wrote on a scale target is left as it is. Seconds, >= 0."""
    key: str = field(init=False, repr=False, compare=False)
    """`namespace/name`: what events, decisions and memory call this model."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.namespace}/{self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSpec:
    """All models that share a GPU budget."""

    models: tuple[ModelSpec, ...]
    """In order of key."""
    gpu_budget: int | None = None
    """GPUs over all models; None: no limit but what nodes offer."""
    complete: bool = True
    """False: the document of a model was refused from the start, and what it has is not seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine is set to, the same for all models; a recording's header carries it."""

    tick_s: float = 5.0
    """Between two observations. Seconds, > 0."""
    policy: str = "candidates"
    """A name in POLICIES; a model whose forecast is off has `reactive` whatever stands here."""
    cluster_age_s_max: float = 30.0
    """Older knowledge of the cluster is blind. Three of the watch cache's bookmarks."""
    start_without_windows: bool = False
    """Take windows as full from the start. For simulations that begin with the trace, never for a
    daemon: a restart must not forget into a scale-down."""
