"""One run: a trace, a policy and a seed through a world, from the first arrival to the last answer.

The trace ends with its last arrival: there the policies stop and the meter too; what is in flight is
then served out, uncharged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from autoscaler.core.contract.spec import (
    FleetSpec,
    ModelSpec,
    PoolSpec,
    ScaleTarget,
    Targets,
    WarmFloor,
)
from autoscaler.core.contract.state import CapacityType
from autoscaler.core.engine import EngineSettings
from autoscaler.errors import InvariantBroken, SettingsError
from simulations.agenda import NS, Agenda
from simulations.peers.baseline import BaselineSetting, MakeBaseline, Parameters, SpotAware
from simulations.peers.rules.registry import KINDS
from simulations.replay.baseline_loop import BaselineLoop
from simulations.replay.engine_loop import EngineLoop, EngineLoopSetting, Listener
from simulations.replay.observation import Observer
from simulations.replay.run import Run
from simulations.rng import stream
from simulations.serving.columns import RequestColumns
from simulations.serving.fleet import TIMEOUT_NS, ServingFleet
from simulations.serving.objective import RequestObjective
from simulations.serving.offered_demand import first_replicas
from simulations.serving.profiles.profiles import Profile
from simulations.traces.overlay import scaled
from simulations.traces.reading import Trace
from simulations.world.cold_start import COLD_STARTS, ColdStart
from simulations.world.faults import Fault
from simulations.world.market.spot import MachineLife, SpotHistory
from simulations.world.objects import SimulatedDeployment
from simulations.world.world import SimulatedWorld, WorldSetting

NAMESPACE = "serving"
MODEL = "replayed"
ON_DEMAND = "on-demand"
SPOT = "spot"
MIXED = "mixed"
GRACE_S = 150.0
"""terminationGracePeriodSeconds of the replicas: longer than any client waits."""
ENGINE_POLICIES = ("inference-aware", "economic", "reactive")
"""Policies that are the production engine; the first with its default configuration."""
PROGRESS_NS = 60 * NS
NO_PARAMETERS: Parameters = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What every policy of a comparison is given alike."""

    profile: Profile
    cold_start: ColdStart = COLD_STARTS["standard"]
    scale: float = 1.0
    objective: RequestObjective = field(default_factory=RequestObjective)
    replicas_max: int = 10
    spot: SpotHistory | None = None
    spot_lead_s: float = 120.0
    faults: tuple[Fault, ...] = ()
    routing: str = "least-outstanding"
    replicas_first: int | None = None
    """Ready at the first moment; None: what the trace's first five minutes need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One run, set up and not begun."""

    on_demand_kept: int = 0
    """On-demand replicas that a fleet with spot keeps on purpose: more are a fallback."""

    world: SimulatedWorld
    agenda: Agenda
    end_ns: int


def run(
    trace: Trace,
    policy: str,
    *,
    seed: int,
    conditions: Conditions,
    parameters: Parameters = NO_PARAMETERS,
    make: MakeBaseline | None = None,
    listeners: Sequence[Listener] = (),
    progress: Callable[[float], None] = lambda _: None,
) -> Run:
    """Replay `trace` under `policy`.

    Args:
        trace: Before it is scaled.
        policy: A name in ENGINE_POLICIES or KINDS.
        seed: Names the random streams.
        conditions: The same for all policies.
        parameters: Of a baseline, where they are not its defaults.
        make: A baseline that is in no registry; `policy` is only its name then.
        listeners: Are told each event of an engine and its outcome.
        progress: Is told the share done, 0 to 1.
    """
    started = time.perf_counter()
    requests = scaled(trace.requests, scale=conditions.scale, seed=seed)
    trace = replace(trace, requests=requests)
    if make is not None:
        stage = _with_baseline(trace, make, seed, conditions, parameters)
    elif policy in ENGINE_POLICIES:
        stage = _with_engine(trace, policy, seed, conditions, listeners)
    elif policy in KINDS:
        stage = _with_baseline(trace, KINDS[policy].make, seed, conditions, parameters)
    else:
        known = ", ".join((*ENGINE_POLICIES, *KINDS))
        raise SettingsError(f"--policy {policy!r}: no such policy; write one of {known}, or all")
    _play(stage, progress)
    return Run(
        trace=trace.name,
        policy=policy,
        seed=seed,
        requests=requests,
        results=stage.world.fleet.results,
        ledger=stage.world.ledger,
        profile=conditions.profile,
        objective=conditions.objective,
        end_ns=stage.end_ns,
        on_demand_kept=None if conditions.spot is None else stage.on_demand_kept,
        wall_s=time.perf_counter() - started,
    )


def _play(stage: Stage, progress: Callable[[float], None]) -> None:
    agenda, fleet, end_ns = stage.agenda, stage.world.fleet, stage.end_ns
    at_ns = 0
    while at_ns < end_ns:
        at_ns = min(at_ns + PROGRESS_NS, end_ns)
        agenda.run_until(at_ns)
        progress(at_ns / end_ns)
    # no request outlives its client's patience
    last_ns = end_ns + TIMEOUT_NS
    while fleet.arrived() < len(fleet.requests) or fleet.outstanding():
        if at_ns > last_ns:
            raise InvariantBroken(f"requests undecided {(at_ns - end_ns) // NS} s behind the end")
        at_ns += 10 * NS
        agenda.run_until(at_ns)
        fleet.run_until(at_ns)


def _with_engine(
    trace: Trace, policy: str, seed: int, conditions: Conditions, listeners: Sequence[Listener]
) -> Stage:
    first = _first_replicas(trace, conditions)
    if conditions.spot is None:
        deployments = [_deployment(ON_DEMAND, CapacityType.ON_DEMAND, replicas=first)]
    else:
        # the spot pool first: a raise goes where it is cheapest; the warm replica is on demand
        deployments = [
            _deployment(SPOT, CapacityType.SPOT, replicas=first - 1),
            _deployment(ON_DEMAND, CapacityType.ON_DEMAND, replicas=1),
        ]
    world, agenda = _world(trace, seed, conditions, deployments)
    spec = model_spec(conditions, trace.requests)
    settings = EngineSettings() if policy == ENGINE_POLICIES[0] else EngineSettings(policy=policy)
    loop = EngineLoop(
        EngineLoopSetting(engine=settings, fleet=FleetSpec(models=(spec,)), end_ns=trace.end_ns),
        world=world,
        observer=Observer(world, model=spec.key, gpus_per_replica=conditions.profile.gpus),
        agenda=agenda,
        listeners=listeners,
    )
    loop.start()
    return Stage(
        world=world,
        agenda=agenda,
        end_ns=trace.end_ns,
        on_demand_kept=spec.warm_floor.replicas,
    )


def _with_baseline(
    trace: Trace, make: MakeBaseline, seed: int, conditions: Conditions, parameters: Parameters
) -> Stage:
    baseline = make(
        BaselineSetting(
            profile=conditions.profile,
            objective=conditions.objective.of_model(trace.requests, conditions.profile),
            replicas_max=conditions.replicas_max,
            replicas_initial=_first_replicas(trace, conditions),
            cold_start_s=conditions.cold_start.mean_s,
            requests=trace.requests,
        ),
        **parameters,
    )
    replicas = baseline.initial_replicas
    if conditions.spot is None:
        deployments = [_deployment(ON_DEMAND, CapacityType.ON_DEMAND, replicas=replicas)]
    elif isinstance(baseline, SpotAware):
        deployments = [
            _deployment(SPOT, CapacityType.SPOT),
            _deployment(ON_DEMAND, CapacityType.ON_DEMAND, replicas=replicas),
        ]
    else:
        deployments = [_deployment(MIXED, CapacityType.MIXED, replicas=replicas)]
    world, agenda = _world(trace, seed, conditions, deployments)
    BaselineLoop(baseline, world=world, agenda=agenda, end_ns=trace.end_ns).start()
    return Stage(world=world, agenda=agenda, end_ns=trace.end_ns)


def _first_replicas(trace: Trace, conditions: Conditions) -> int:
    first = conditions.replicas_first
    if first is None:
        first = first_replicas(trace.requests, conditions.profile)
    return min(first, conditions.replicas_max)


def _world(
    trace: Trace, seed: int, conditions: Conditions, deployments: Sequence[SimulatedDeployment]
) -> tuple[SimulatedWorld, Agenda]:
    agenda = Agenda()
    fleet = ServingFleet(
        conditions.profile, trace.requests, routing=conditions.routing, timeout_ns=TIMEOUT_NS
    )
    setting = WorldSetting(
        cold_start=conditions.cold_start,
        seed=seed,
        spot=spot_lives(conditions.spot, seed, trace.end_ns),
        spot_lead_ns=int(conditions.spot_lead_s * NS),
        faults=conditions.faults,
    )
    return SimulatedWorld(setting, fleet=fleet, deployments=deployments, agenda=agenda), agenda


def spot_lives(history: SpotHistory | None, seed: int, end_ns: int) -> tuple[MachineLife, ...]:
    """The recording from a moment that the seed draws, so that seeds see different hours of it."""
    if history is None:
        return ()
    offset_ns = int(stream(seed, "spot/offset").random() * history.span_ns)
    return tuple(history.unrolled(offset_ns=offset_ns, until_ns=end_ns))


def _deployment(
    name: str, capacity_type: CapacityType, *, replicas: int = 0
) -> SimulatedDeployment:
    return SimulatedDeployment(
        name=name, capacity_type=capacity_type, grace_s=GRACE_S, replicas=replicas
    )


def model_spec(conditions: Conditions, requests: RequestColumns) -> ModelSpec:
    """The resource a user would write for this fleet: all else is its default."""
    profile = conditions.profile
    pools = [_pool(ON_DEMAND, CapacityType.ON_DEMAND, profile.usd_per_hour)]
    if conditions.spot is not None:
        pools.insert(0, _pool(SPOT, CapacityType.SPOT, profile.spot_usd_per_hour))
    return ModelSpec(
        namespace=NAMESPACE,
        name=MODEL,
        pools=tuple(pools),
        max_replicas=conditions.replicas_max,
        warm_floor=WarmFloor(replicas=1, capacity_type=CapacityType.ON_DEMAND),
        objective=conditions.objective.of_model(requests, profile),
        targets=Targets(in_flight_requests=float(profile.in_flight_target)),
    )


def _pool(name: str, capacity_type: CapacityType, price: float) -> PoolSpec:
    return PoolSpec(
        name=name,
        target=ScaleTarget(namespace=NAMESPACE, name=name),
        capacity_type=capacity_type,
        price_usd_per_hour=price,
    )
