"""What one run needs before a policy acts: Deployments in a world, a serving fleet, an agenda."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from autoscaler.core.contract.state import CapacityType
from simulations.agenda import NS, Agenda
from simulations.replay.conditions import Conditions
from simulations.rng import stream
from simulations.serving.fleet import TIMEOUT_NS, ServingFleet
from simulations.serving.offered_demand import first_replicas
from simulations.traces.trace import Trace
from simulations.world.market.spot import MachineLife, SpotHistory
from simulations.world.objects import SimulatedDeployment, SimulatedNode
from simulations.world.world import SimulatedWorld, WorldSetting

ON_DEMAND = "on-demand"
SPOT = "spot"
MIXED = "mixed"
GRACE_S = 150.0
"""terminationGracePeriodSeconds of the replicas: longer than any client waits."""
WRITE_NS = NS // 10
"""One write to the API server; those of one target come one after the other."""
DRAIN_NS = NS
"""From the mark of a spot notice to the node controller's cordon and evictions (Karpenter, or NTH)."""


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


def drain_at_notices(world: SimulatedWorld, agenda: Agenda) -> None:
    """Have a node controller cordon a noticed node and evict what is on it: what Karpenter does."""

    def drain(node: SimulatedNode, at_ns: int) -> None:
        if not node.exists:
            return
        world.cordon(node, by_us=False)
        for pod in tuple(node.pods):
            world.evict(pod, grace_s=pod.deployment.grace_s, at_ns=at_ns)

    def hear(node: SimulatedNode, at_ns: int) -> None:
        agenda.add(at_ns + DRAIN_NS, partial(drain, node))

    world.notice_listeners.append(hear)


def spot_lives(history: SpotHistory | None, seed: int, end_ns: int) -> tuple[MachineLife, ...]:
    """The recording from a moment that the seed draws, so that seeds see different hours of it."""
    if history is None:
        return ()
    offset_ns = int(stream(seed, "spot/offset").random() * history.span_ns)
    return tuple(history.unrolled(offset_ns=offset_ns, until_ns=end_ns))


def new_deployment(
    name: str, capacity_type: CapacityType, *, replicas: int = 0, zone: str = ""
) -> SimulatedDeployment:
    """One of the replay's Deployments."""
    return SimulatedDeployment(
        name=name, capacity_type=capacity_type, grace_s=GRACE_S, replicas=replicas, zone=zone
    )


def spot_deployments(history: SpotHistory, *, replicas: int = 0) -> list[SimulatedDeployment]:
    """The replay's Deployments on spot: one, or one a zone where the market has several.

    `replicas` are spread over them, the first ones having one more.
    """
    zones = spot_zones(history)
    share, more = divmod(replicas, len(zones))
    return [
        new_deployment(name, CapacityType.SPOT, replicas=share + (place < more), zone=zone)
        for place, (name, zone) in enumerate(zones.items())
    ]


def spot_zones(history: SpotHistory) -> dict[str, str]:
    """By name of a Deployment on spot: the zone that it is pinned to; empty: none."""
    if len(history.zones) < 2:
        return {SPOT: ""}
    return {f"{SPOT}-{zone}": zone for zone in history.zones}


def initial_replicas(trace: Trace, conditions: Conditions) -> int:
    """Replicas that are ready at the first moment."""
    first = conditions.replicas_first
    if first is None:
        first = first_replicas(trace.requests, conditions.tested_profile)
    return min(first, conditions.replicas_max)
