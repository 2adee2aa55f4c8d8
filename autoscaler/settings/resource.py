"""The custom resource `InferenceAutoscaler`, as users write it, in pydantic.

Words, units and enums follow the Kubernetes API conventions: camelCase, integers with the unit in
the name, quantities as strings, CamelCase enums. Unknown fields are refused: a misspelt limit that is
silently ignored is worse than none. Rules that span fields are in `rules.py`, so that they are reported
together with the problems of single fields.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from autoscaler.core.contract.spec import ForecastMode, Mode, PolicyType, RampMode, SelectPolicy
from autoscaler.core.contract.state import CapacityType
from autoscaler.settings.floor_schedules import Days, TimeOfDay, ZoneName
from autoscaler.settings.quantities import Quantity

API_VERSION = "inference-autoscaler.dev/v1alpha1"
KIND = "InferenceAutoscaler"
PLURAL = "inferenceautoscalers"

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

_SEGMENT = r"([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+"
_PATH = (
    rf"^/({_SEGMENT}(/{_SEGMENT})*/?)?"
    r"(\?([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?$"
)
"""A path and perhaps a query: nothing in it can be taken for a host, as `//host/` would be."""
_SERVER_NAME = r"^([A-Za-z0-9._-]*)$"

Name = Annotated[str, Field(pattern=_DNS_SUBDOMAIN, max_length=253)]
"""Of an object: lower case letters, digits, `-` and `.`."""
Label = Annotated[str, Field(pattern=_DNS_LABEL)]
"""At most 63 lower case letters, digits and `-`."""

ModelName = Annotated[str, Field(max_length=256)]

_REPLICAS_MAX = 100_000
_POOLS_MAX = 64
"""What a rule that looks at each of them may cost an API server has a limit."""
_NOT_FILLED_IN: dict[str, JsonValue] = {"default": None}
"""The API server leaves it out where it was left out: a rule asks whether it was given."""
_SET: dict[str, JsonValue] = {"x-kubernetes-list-type": "set"}
_BY_NAME: dict[str, JsonValue] = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
}
"""How lists merge where several write one resource; also, none of their entries stands there twice."""
_DAY_S = 86_400


class _Section(BaseModel):
    """A part of the resource: strict, closed, camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
    )


class EngineType(StrEnum):
    """Which serving engine the pods run."""

    VLLM = "VLLM"
    TGI = "TGI"
    SGLANG = "SGLang"
    RAY_SERVE = "RayServe"


class MetricsSource(StrEnum):
    """Where the engine's signals are read."""

    PODS = "Pods"
    PROMETHEUS = "Prometheus"


class OnDemandFallback(StrEnum):
    """Whether a spot notice raises on-demand replicas."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class PageScheme(StrEnum):
    """How the pods' page is asked for."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


class TlsSection(_Section):
    """Whom to trust, where `scheme` is HTTPS."""

    ca: str = Field(default="", max_length=65_536)
    """PEM certificates. Empty: the system's authorities."""
    server_name: str = Field(default="", max_length=253, pattern=_SERVER_NAME)
    """That the certificate must be of, as pods are addressed by their IP. Empty: that IP."""
    insecure_skip_verify: bool = False
    """Encrypted, and trusting whoever answers."""


MatcherLabel = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=128)]
MatcherValue = Annotated[str, Field(max_length=256)]


class PrometheusSection(_Section):
    """The server to ask, where `source` is Prometheus."""

    server: Label
    """A name that the daemon was given with `--prometheus-server NAME=URL`."""
    matchers: dict[MatcherLabel, MatcherValue] = Field(default_factory=dict, max_length=16)
    """Labels, with their values, that the pods' series must have, e.g. `job: vllm`."""


PortNumber = Annotated[int, Field(ge=1, le=65_535)]


class MetricsSection(_Section):
    """How the pods' signals are read."""

    source: MetricsSource = MetricsSource.PODS
    """Pods: each pod is scraped. Prometheus: it is asked for the same series."""
    port: int = Field(default=8000, ge=1, le=65_535, json_schema_extra=_NOT_FILLED_IN)
    """Of the pods' metrics page. Neither this nor `ports` given: 8000."""
    ports: Annotated[tuple[PortNumber, ...], Field(min_length=1, max_length=16)] | None = Field(
        default=None, json_schema_extra=_SET
    )
    """Instead of `port`: where a pod has a page for each data-parallel rank; they are added up."""
    scheme: PageScheme = PageScheme.HTTP
    """Of the pods' metrics page."""
    tls: TlsSection | None = None
    """Only where `scheme` is HTTPS."""
    path: str = Field(default="/metrics", pattern=_PATH, max_length=1_024)
    """Of the pods' metrics page; with a query if it needs one."""
    period_seconds: int | None = Field(default=None, ge=1, le=60)
    """Between two reads. Not given: 5 for Pods, 15 for Prometheus."""
    deadline_seconds: int | None = Field(default=None, ge=1, le=120)
    """Of one read; a page that comes later than a period is late, and used. Not given: two periods."""
    prometheus: PrometheusSection | None = None
    """Required where `source` is Prometheus."""


class ScaleTargetRef(_Section):
    """The object that is scaled, exactly as HPA has it."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["Deployment"] = "Deployment"
    name: Name


class PoolSection(_Section):
    """One pool: a scale target and what its replicas run on."""

    name: Label
    """A metric label and a word in every decision."""
    scale_target_ref: ScaleTargetRef
    capacity_type: CapacityType = CapacityType.ON_DEMAND
    """Mixed: one Deployment that may land on either; then each replica's node tells."""
    price_usd_per_hour: Quantity | None = Field(default=None, alias="priceUSDPerHour", gt=0)
    """Of one replica, with all its GPUs. Not given: pools are ordered by capacity type alone."""


class FloorScheduleSection(_Section):
    """More warm replicas at times of the week, ready when it begins."""

    days: Days = (0, 1, 2, 3, 4, 5, 6)
    """On which it begins: `Mon-Fri`, or a list. Not given: every day."""
    from_: TimeOfDay = Field(alias="from")
    """On a wall clock of the time zone, as `"08:00"`."""
    to: TimeOfDay
    """Likewise; at or before `from` it is the next day's."""
    time_zone: ZoneName = "UTC"
    """Of the IANA database, such as `Europe/Berlin`."""
    replicas: int = Field(ge=1, le=_REPLICAS_MAX)


class WarmFloorSection(_Section):
    """Ready, not doomed replicas kept even without demand: the most of what is asked for here."""

    replicas: int = Field(default=0, ge=0, le=_REPLICAS_MAX)
    """At any time."""
    capacity_type: CapacityType | None = None
    """Not given: on any."""
    ramp: RampMode = RampMode.OFF
    """Auto: as many as what the load was seen to rise by within one cold start needs at the objective."""
    schedules: Annotated[tuple[FloorScheduleSection, ...], Field(max_length=32)] = ()


class ObjectiveSection(_Section):
    """What a request is owed, and how often."""

    time_to_first_token_milliseconds: int = Field(default=2_000, ge=1, le=3_600_000)
    time_per_output_token_milliseconds: int = Field(default=100, ge=1, le=60_000)
    attainment_percent: Quantity = Field(default=99.0, ge=50, le=99.99)
    """Share of requests that meet both; a higher one keeps more headroom."""


class TargetsSection(_Section):
    """What one replica is taken to carry."""

    in_flight_requests_per_replica: Quantity = Field(default=32.0, ge=0.1, le=100_000)
    """Waiting and running requests together; below 1 where prompts are so long that one at a time is
    too many within the objective."""
    waiting_requests_per_replica: int = Field(default=5, ge=1, le=100_000)
    kv_cache_usage_percent: int = Field(default=80, ge=1, le=100)


class ColdStartSection(_Section):
    """What is believed of the cold start before it was measured."""

    prior_seconds: int = Field(default=180, ge=1, le=7_200)
    """From pod created to Ready. Weighs as five observations."""


class ForecastSection(_Section):
    """Whether demand is forecast over the cold start."""

    mode: ForecastMode = ForecastMode.AUTO
    """Off: replicas follow the targets alone."""


class ScalingPolicySection(_Section):
    """One rate limit, as in HPA."""

    type: PolicyType
    value: int = Field(ge=1)
    period_seconds: int = Field(ge=1, le=1_800)


class ScalingRulesSection(_Section):
    """One direction of `behavior`, as in HPA."""

    stabilization_window_seconds: int | None = Field(default=None, ge=0, le=3_600)
    """Not given: for scaling down, the learnt cold start."""
    select_policy: SelectPolicy = SelectPolicy.MAX
    policies: Annotated[tuple[ScalingPolicySection, ...], Field(min_length=1)] | None = None
    tolerance: Quantity | None = Field(default=None, le=1)
    """Relative band in which nothing changes, e.g. `"0.1"`."""


class BehaviorSection(_Section):
    """HPA's block, obeyed exactly as HPA would."""

    scale_up: ScalingRulesSection | None = None
    scale_down: ScalingRulesSection | None = None


class SpotSection(_Section):
    """What a notice of a spot interruption sets going."""

    on_demand_fallback: OnDemandFallback = OnDemandFallback.ENABLED
    return_after_seconds: int = Field(default=300, ge=0, le=_DAY_S)
    """A spot replica repays an on-demand fallback once it has been Ready this long."""
    drain_margin_seconds: int = Field(default=10, ge=0, le=100)
    """Between the end of the grace period that is asked for and the deadline. The longest notice of
    any cloud is 120 s: a longer margin would leave no time to drain in."""


class ManualScaleSection(_Section):
    """What becomes of a number of replicas that somebody else writes on a scale target."""

    hold_seconds: int = Field(default=600, ge=0, le=_DAY_S)
    """So long it is left as it is, within the bounds; what spot interruptions take is replaced all the same. 0: not at
    all, but where a write of ours was undone."""


class Spec(_Section):
    """What is asked for one model."""

    model_names: Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=100)] | None = (
        Field(default=None, json_schema_extra=_SET)
    )
    """As the pods report them. Not given: all that they report."""
    engine: EngineType = EngineType.VLLM
    mode: Mode = Mode.OBSERVE
    """Observe: decides and explains, never acts. Active: scales its targets, and drains spot nodes that are taken away."""
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    pools: Annotated[tuple[PoolSection, ...], Field(min_length=1, max_length=_POOLS_MAX)] = Field(
        json_schema_extra=_BY_NAME
    )
    min_replicas: int = Field(default=1, ge=1, le=_REPLICAS_MAX)
    """Of the model, over its pools. At least 1: without a replica nobody reports demand."""
    max_replicas: int = Field(default=10, ge=1, le=_REPLICAS_MAX)
    """Of the model, over its pools; on-demand fallback may exceed it by what was promised."""
    warm_floor: WarmFloorSection = Field(default_factory=WarmFloorSection)
    objective: ObjectiveSection = Field(default_factory=ObjectiveSection)
    targets: TargetsSection = Field(default_factory=TargetsSection)
    cold_start: ColdStartSection = Field(default_factory=ColdStartSection)
    forecast: ForecastSection = Field(default_factory=ForecastSection)
    behavior: BehaviorSection = Field(default_factory=BehaviorSection)
    """Empty: no rate limit, and the scale-down window is the learnt cold start."""
    spot: SpotSection = Field(default_factory=SpotSection)
    manual_scale: ManualScaleSection = Field(default_factory=ManualScaleSection)
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    """Among models that share a GPU budget; the higher one is served first."""


class Metadata(_Section):
    """The part of ObjectMeta that means something here; the rest of it is let through."""

    name: Name
    namespace: Label = "default"
    generation: int = Field(default=1, ge=0)
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    """`inference-autoscaler.dev/paused`: `"true"`, `"scale-down"` or `"scale-up"`; and beside `"true"`, at how many replicas:
    `inference-autoscaler.dev/paused-replicas`."""
    uid: Any = None
    resource_version: Any = None
    creation_timestamp: Any = None
    managed_fields: Any = None
    owner_references: Any = None
    finalizers: Any = None


class InferenceAutoscaler(_Section):
    """One model: its demand, objective and pools."""

    api_version: Literal["inference-autoscaler.dev/v1alpha1"]
    kind: Literal["InferenceAutoscaler"]
    metadata: Metadata
    spec: Spec
    status: Any = None
    """Let through, so that what the API server shows can be used as a file."""

    @property
    def key(self) -> str:
        """`namespace/name`, as `ModelSpec.key`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
