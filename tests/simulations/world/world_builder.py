"""Small worlds for tests: one Deployment, exact cold starts, as many requests as asked for."""

from collections.abc import Sequence

import numpy as np

from autoscaler.core.contract.state import CapacityType
from simulations.agenda import NS, Agenda
from simulations.serving.columns import RequestColumns
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles.profiles import PROFILES
from simulations.world.cold_start import ColdStart
from simulations.world.faults import Fault
from simulations.world.market.spot import MachineLife
from simulations.world.objects import SimulatedDeployment
from simulations.world.world import SimulatedWorld, WorldSetting

PROFILE = PROFILES["llama-3.1-8b/1xL40S"]
FOREVER_NS = 10_000_000 * NS


def requests(
    arrivals_s: Sequence[float] = (), *, prompt_tokens: int = 100, output_tokens: int = 50
) -> RequestColumns:
    count = len(arrivals_s)
    return RequestColumns(
        arrival_ns=(np.asarray(arrivals_s, dtype=np.float64) * 1e9).astype(np.int64),
        prompt_tokens=np.full(count, prompt_tokens, dtype=np.int64),
        output_tokens=np.full(count, output_tokens, dtype=np.int64),
    )


def deployment(
    name: str = "on-demand",
    capacity_type: CapacityType = CapacityType.ON_DEMAND,
    *,
    replicas: int = 1,
    grace_s: float = 150.0,
) -> SimulatedDeployment:
    return SimulatedDeployment(
        name=name, capacity_type=capacity_type, grace_s=grace_s, replicas=replicas
    )


def world(
    *deployments: SimulatedDeployment,
    traffic: RequestColumns | None = None,
    seed: int = 0,
    cold_start: ColdStart | None = None,
    spot: Sequence[MachineLife] = (),
    spot_lead_s: float = 120.0,
    faults: Sequence[Fault] = (),
    replicas_per_node: int = 1,
    on_demand_max: int | None = None,
) -> SimulatedWorld:
    setting = WorldSetting(
        cold_start=cold_start or ColdStart(name="test", load_s=40.0, warm_up_s=60.0),
        seed=seed,
        spot=spot,
        spot_lead_ns=int(spot_lead_s * NS),
        faults=faults,
        replicas_per_node=replicas_per_node,
        on_demand_max=on_demand_max,
    )
    return SimulatedWorld(
        setting,
        fleet=ServingFleet(PROFILE, traffic or requests()),
        deployments=deployments or (deployment(),),
        agenda=Agenda(),
    )


def machine(up_s: float = 0.0, down_s: float | None = None) -> MachineLife:
    return MachineLife(
        up_ns=int(up_s * NS), down_ns=FOREVER_NS if down_s is None else int(down_s * NS)
    )
