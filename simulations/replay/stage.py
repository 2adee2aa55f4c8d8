"""What one run needs before a policy acts: Deployments in a world, a serving fleet, an agenda."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.core.contract.state import CapacityType
from simulations.agenda import NS, Agenda
from simulations.replay.conditions import Conditions
from simulations.rng import stream
from simulations.serving.fleet import TIMEOUT_NS, ServingFleet
from simulations.serving.offered_demand import first_replicas
from simulations.traces.trace import Trace
from simulations.world.market.spot import MachineLife, SpotHistory
from simulations.world.objects import SimulatedDeployment
from simulations.world.world import SimulatedWorld, WorldSetting

ON_DEMAND = "on-demand"
SPOT = "spot"
MIXED = "mixed"
GRACE_S = 150.0
"""terminationGracePeriodSeconds of the replicas: longer than any client waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayStage:
    """The world of one run, not begun."""

    world: SimulatedWorld
    agenda: Agenda
    end_ns: int
    """The trace's end: where policies stop, and the meter too."""
    on_demand_kept: int = 0
    """On-demand replicas that a fleet with spot keeps on purpose: more are a fallback."""


def make_stage(
    trace: Trace,
    conditions: Conditions,
    deployments: Sequence[SimulatedDeployment],
    *,
    seed: int,
    on_demand_kept: int = 0,
) -> ReplayStage:
    """The world of a trace that is scaled already."""
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
    world = SimulatedWorld(setting, fleet=fleet, deployments=deployments, agenda=agenda)
    return ReplayStage(
        world=world, agenda=agenda, end_ns=trace.end_ns, on_demand_kept=on_demand_kept
    )


def spot_lives(history: SpotHistory | None, seed: int, end_ns: int) -> tuple[MachineLife, ...]:
    """The recording from a moment that the seed draws, so that seeds see different hours of it."""
    if history is None:
        return ()
    offset_ns = int(stream(seed, "spot/offset").random() * history.span_ns)
    return tuple(history.unrolled(offset_ns=offset_ns, until_ns=end_ns))


def new_deployment(
    name: str, capacity_type: CapacityType, *, replicas: int = 0
) -> SimulatedDeployment:
    """One of the replay's Deployments."""
    return SimulatedDeployment(
        name=name, capacity_type=capacity_type, grace_s=GRACE_S, replicas=replicas
    )


def initial_replicas(trace: Trace, conditions: Conditions) -> int:
    """Replicas that are ready at the first moment."""
    first = conditions.replicas_first
    if first is None:
        first = first_replicas(trace.requests, conditions.profile)
    return min(first, conditions.replicas_max)
