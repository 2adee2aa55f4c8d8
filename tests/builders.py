"""Words to write observations with: a fleet's specification and what is seen of it, in a line each.

    spec = model(pools=[on_demand(), spot()], maximum=6, warm=1, warm_on=ON_DEMAND)
    event = observed(
        seen(spec, group("on-demand", ready=1), group("spot", ready=2, starting=[20.0], node="s1")),
        at=100.0,
        interruptions=[notice("s1", deadline_at=160.0)],
    )

Ages are seconds before `at`. A pool's current replicas are the rows that are not being deleted, unless
`current` says otherwise; nodes are made up from the rows, unless `nodes` says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.core.contract.events import Observed, SpecChanged
from autoscaler.core.contract.reasons import FindingReason
from autoscaler.core.contract.spec import (
    Behavior,
    FleetSpec,
    ForecastMode,
    Mode,
    ModelSpec,
    Pause,
    PolicyType,
    PoolSpec,
    ScaleTarget,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
    Spot,
    WarmFloor,
)
from autoscaler.core.contract.state import (
    NODE_STATUS,
    CapacityType,
    Interruption,
    InterruptionKind,
    ModelObservation,
    PoolObservation,
    Promise,
    ReplicasWriter,
    Rival,
    RivalKind,
)
from tests.rows import UNKNOWN, NodeRow, Row, columns, node_columns

ON_DEMAND, SPOT, MIXED = CapacityType.ON_DEMAND, CapacityType.SPOT, CapacityType.MIXED
LONG_BEFORE_S = 1_000.0
"""So long before they became ready, those that are ready were created: too long to be taken for a start."""
NAMESPACE = "serving"


# -- what is asked


def pool(name: str, kind: CapacityType, *, price: float | None = None) -> PoolSpec:
    """A pool whose Deployment has its name."""
    return PoolSpec(
        name=name,
        target=ScaleTarget(namespace=NAMESPACE, name=name),
        capacity_type=kind,
        price_usd_per_hour=price,
    )


def on_demand(name: str = "on-demand", *, price: float | None = None) -> PoolSpec:
    return pool(name, ON_DEMAND, price=price)


def spot(name: str = "spot", *, price: float | None = None) -> PoolSpec:
    return pool(name, SPOT, price=price)


def mixed(name: str = "mixed", *, price: float | None = None) -> PoolSpec:
    return pool(name, MIXED, price=price)


def model(
    name: str = "llama",
    *,
    pools: Sequence[PoolSpec] = (),
    minimum: int = 1,
    maximum: int = 10,
    warm: int = 0,
    warm_on: CapacityType | None = None,
    behavior: Behavior | None = None,
    cold_start_s: float = 180.0,
    forecast: ForecastMode = ForecastMode.AUTO,
    mode: Mode = Mode.ACTIVE,
    pause: Pause = Pause.NO,
    priority: int = 0,
    fallback: bool = True,
    return_after_s: float = 300.0,
    margin_s: float = 10.0,
) -> ModelSpec:
    """A model; with no pools given, one on-demand pool."""
    return ModelSpec(
        namespace=NAMESPACE,
        name=name,
        pools=tuple(pools) or (on_demand(),),
        min_replicas=minimum,
        max_replicas=maximum,
        warm_floor=WarmFloor(replicas=warm, capacity_type=warm_on),
        behavior=behavior,
        cold_start_prior_s=cold_start_s,
        forecast_mode=forecast,
        mode=mode,
        pause=pause,
        priority=priority,
        spot=Spot(
            on_demand_fallback=fallback, return_after_s=return_after_s, drain_margin_s=margin_s
        ),
    )


def rules(
    *policies: tuple[str, int, int],
    window: int | None = None,
    select: SelectPolicy = SelectPolicy.MAX,
    tolerance: float | None = None,
) -> ScalingRules:
    """One direction of a behavior; policies as (type, value, period)."""
    return ScalingRules(
        stabilization_window_s=window,
        select_policy=select,
        policies=tuple(
            ScalingPolicy(type=PolicyType(kind), value=value, period_s=period)
            for kind, value, period in policies
        )
        or None,
        tolerance_ratio=tolerance,
    )


def specified(
    *models: ModelSpec, at: float = 0.0, gpu_budget: int | None = None, complete: bool = True
) -> SpecChanged:
    """The event that tells the engine its fleet."""
    ordered = tuple(sorted(models, key=lambda spec: spec.key))
    fleet = FleetSpec(models=ordered, gpu_budget=gpu_budget, complete=complete)
    return SpecChanged(id=0, at=at, fleet=fleet)


# -- what is seen


def node(name: str, kind: CapacityType | None = None, **what: object) -> NodeRow:
    """A node; `what` as in NodeRow."""
    return replace(NodeRow(name=name, kind=kind), **what)  # type: ignore[arg-type]  tests are not checked


def group(
    pool: str = "on-demand",
    *,
    ready: int = 0,
    starting: Sequence[float] = (),
    unschedulable: Sequence[float] = (),
    deleting: int = 0,
    node: str | None = None,
    ready_age_s: float = 5_000.0,
    sample_age_s: float = 1.0,
    running: float = 10.0,
    waiting: float = 0.0,
    kv_usage: float = UNKNOWN,
    grace_s: float = 30.0,
    framebuffer_bytes: float = UNKNOWN,
    gpus_unhealthy: float = UNKNOWN,
    name: str = "",
) -> list[Row]:
    """Replicas of one pool that are alike.

    Args:
        pool: its name.
        ready: how many serve; each holds `running` and `waiting` requests.
        starting: ages since they were bound, one each.
        unschedulable: seconds since the scheduler gave up, one each.
        deleting: how many are on their way out (they still serve).
        node: where they are; default: "<pool>-node" (of an unschedulable one: none).
        ready_age_s: since when the ready ones are.
        sample_age_s: of their engine samples; NaN: never read.
        running: requests of each ready one.
        waiting: requests that wait at each.
        kv_usage: of each.
        grace_s: their grace period.
        framebuffer_bytes: of the starting ones, read just now.
        gpus_unhealthy: of the GPUs of each bound one, how many can carry none.
        name: tells groups of one pool apart.
    """
    prefix = f"{pool}-{name}" if name else pool
    place = f"{pool}-node" if node is None else node
    serving = {
        "pool": pool,
        "node": place,
        "scheduled_age_s": ready_age_s + LONG_BEFORE_S,
        "age_s": ready_age_s + LONG_BEFORE_S,
        "ready_age_s": ready_age_s,
        "grace_s": grace_s,
        "sample_age_s": sample_age_s,
        "running": running,
        "waiting": waiting,
        "kv_usage": kv_usage,
        "gpus_unhealthy": gpus_unhealthy,
    }
    rows = [Row(name=f"{prefix}-r{i:04d}", **serving) for i in range(ready)]
    rows += [
        Row(
            name=f"{prefix}-s{i:04d}",
            pool=pool,
            node=place or None,
            age_s=age,
            scheduled_age_s=age if place else UNKNOWN,
            grace_s=grace_s,
            framebuffer_bytes=framebuffer_bytes,
            framebuffer_age_s=UNKNOWN if math.isnan(framebuffer_bytes) else 0.0,
            gpus_unhealthy=gpus_unhealthy,
        )
        for i, age in enumerate(starting)
    ]
    rows += [
        Row(name=f"{prefix}-u{i:04d}", pool=pool, age_s=age, unschedulable_age_s=age)
        for i, age in enumerate(unschedulable)
    ]
    rows += [Row(name=f"{prefix}-d{i:04d}", deleting=True, **serving) for i in range(deleting)]
    return rows


def notice(
    node: str,
    *,
    deadline_at: float | None,
    noticed_at: float = 0.0,
    source: str = "aws-node-termination-handler",
    drained_elsewhere: bool = False,
) -> Interruption:
    """A node that will be taken away."""
    return Interruption(
        node=node,
        kind=InterruptionKind.TERMINATION,
        source=source,
        noticed_at=noticed_at,
        deadline_at=deadline_at,
        drained_elsewhere=drained_elsewhere,
    )


def disruption(
    node: str, *, noticed_at: float = 0.0, drained_elsewhere: bool = True
) -> Interruption:
    """A node that is emptied at somebody's pace."""
    return Interruption(
        node=node,
        kind=InterruptionKind.DISRUPTION,
        source="karpenter",
        noticed_at=noticed_at,
        deadline_at=None,
        drained_elsewhere=drained_elsewhere,
    )


def risk(node: str, *, noticed_at: float = 0.0) -> Interruption:
    """A node that may be taken away."""
    return Interruption(
        node=node,
        kind=InterruptionKind.RISK,
        source="karpenter",
        noticed_at=noticed_at,
        deadline_at=None,
    )


def lost(node: str, *, noticed_at: float = 0.0) -> Interruption:
    """A node that is gone or NotReady."""
    return Interruption(
        node=node,
        kind=InterruptionKind.LOST,
        source=NODE_STATUS,
        noticed_at=noticed_at,
        deadline_at=None,
    )


@dataclass(frozen=True, kw_only=True)
class PoolNow:
    """What the API server says of one pool, where it is not what the rows say."""

    rolling_out: bool = False
    rollout_stuck: bool = False
    gpus_per_replica: int = 1
    promises: tuple[Promise, ...] = ()
    promises_readable: bool = True
    unsound: tuple[FindingReason, ...] = ()
    start_s_max: float | None = None
    rivals: tuple[Rival, ...] | None = ()
    writer: ReplicasWriter | None = None


def hpa(name: str = "old", *, kind: RivalKind = RivalKind.HPA, since: float = 0.0) -> Rival:
    return Rival(kind=kind, name=name, since=since)


def written_by(
    manager: str = "kubectl",
    *,
    at: float = UNKNOWN,
    scaled: bool = True,
    declares: bool = False,
    generation: int = 1,
) -> ReplicasWriter:
    """Who set the replicas; `us` is this autoscaler."""
    return ReplicasWriter(
        manager="inference-autoscaler" if manager == "us" else manager,
        ours=manager == "us",
        at=at,
        scaled=scaled,
        declares=declares,
        generation=generation,
    )


def promised(node: str, replicas: int, *, since: float = 0.0) -> Promise:
    return Promise(node=node, replicas=replicas, since=since)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One model's part of an observation."""

    spec: ModelSpec
    rows: Sequence[Row]
    current: Mapping[str, int | None] = field(default_factory=dict)
    pools: Mapping[str, PoolNow] = field(default_factory=dict)


def seen(
    spec: ModelSpec,
    *groups: Sequence[Row],
    current: Mapping[str, int | None] | None = None,
    pools: Mapping[str, PoolNow] | None = None,
) -> Seen:
    """One model's part of an observation of several."""
    rows = [row for rows in groups for row in rows]
    return Seen(spec=spec, rows=rows, current=current or {}, pools=pools or {})


def observed(
    *parts: Seen,
    at: float,
    id: int = 1,  # noqa: A002  the event's own word
    nodes: Sequence[NodeRow] = (),
    interruptions: Sequence[Interruption] = (),
    cluster_age_s: float = 0.0,
) -> Observed:
    """One observation of all the models given."""
    listed = {row.name: row for row in nodes}
    kinds = {pool.name: pool.capacity_type for part in parts for pool in part.spec.pools}
    for part in parts:
        for row in part.rows:
            if row.node is not None and row.node not in listed:
                kind = kinds[row.pool]
                listed[row.node] = NodeRow(name=row.node, kind=None if kind is MIXED else kind)
    for interruption in interruptions:
        listed.setdefault(interruption.node, NodeRow(name=interruption.node))
    names = sorted(listed)
    return Observed(
        id=id,
        at=at,
        nodes=node_columns(list(listed.values())),
        interruptions=tuple(sorted(interruptions, key=lambda each: each.node)),
        models=tuple(
            _observation(part, at=at, nodes=names)
            for part in sorted(parts, key=lambda part: part.spec.key)
        ),
        cluster_at=at - cluster_age_s,
    )


def _observation(part: Seen, *, at: float, nodes: Sequence[str]) -> ModelObservation:
    pools = [each.name for each in part.spec.pools]
    pool_observations = []
    for name in pools:
        now = part.pools.get(name, PoolNow())
        there = sum(row.pool == name and not row.deleting for row in part.rows)
        pool_observations.append(
            PoolObservation(
                name=name,
                current_replicas=part.current.get(name, there),
                rolling_out=now.rolling_out,
                rollout_stuck=now.rollout_stuck,
                gpus_per_replica=now.gpus_per_replica,
                promises=now.promises,
                promises_readable=now.promises_readable,
                unsound=now.unsound,
                start_s_max=now.start_s_max,
                rivals=now.rivals,
                writer=now.writer,
            )
        )
    return ModelObservation(
        model=part.spec.key,
        pools=tuple(pool_observations),
        replicas=columns(part.rows, at=at, pools=pools, nodes=nodes),
    )
