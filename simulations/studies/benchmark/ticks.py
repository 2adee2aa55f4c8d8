"""What a tick costs at a fleet's size: the engine, the world around it, and the serving, apart.

The fleet is held at its size (its warm floor is its maximum), under the traffic of `traffic`, and the
engine decides every tick as in any replay. `engine` is all that `Engine.handle` takes, `serving` what
the kernel takes for the requests of a tick, and `world` the rest: observation, scrape, agenda, writes.
"""

from __future__ import annotations

import gc
import time
from dataclasses import replace

from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import Event
from autoscaler.core.contract.spec import WarmFloor
from autoscaler.core.contract.state import CapacityType
from autoscaler.core.engine import Engine, EngineSettings
from simulations.agenda import NS, Agenda
from simulations.replay.conditions import Conditions
from simulations.replay.engine_loop import EngineLoop, model_spec
from simulations.replay.stage import GRACE_S, ON_DEMAND
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles.profiles import PROFILES
from simulations.studies.benchmark.processes import Row
from simulations.studies.benchmark.traffic import PROFILE, REQUESTS_PER_S, conversations
from simulations.world.cold_start import COLD_STARTS
from simulations.world.objects import SimulatedDeployment
from simulations.world.world import SimulatedWorld, WorldSetting

WARM_TICKS = 120
"""Before the clocks start: windows are full, and numba has loaded what it needs."""
YARDSTICK_TURNS, YARDSTICK_STEPS = 5, 20_000


class _ClockedEngine(Engine):
    """The production engine, and the CPU time that its events took."""

    __slots__ = ("spent_ns",)

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self.spent_ns = 0

    def handle(self, event: Event) -> Outcome:
        began = time.process_time_ns()
        outcome = super().handle(event)
        self.spent_ns += time.process_time_ns() - began
        return outcome


class _ClockedFleet(ServingFleet):
    """The serving fleet, and the CPU time that it took to move forward."""

    spent_ns = 0

    def run_until(self, at_ns: int) -> None:
        began = time.process_time_ns()
        super().run_until(at_ns)
        self.spent_ns += time.process_time_ns() - began


def ticks_row(replicas: int, ticks: int, repetitions: int) -> Row:
    """Replay so many ticks of a fleet of this size; CPU seconds, of the fastest of the repetitions."""
    return min(
        (_measured_row(replicas, ticks) for _ in range(repetitions)),
        key=lambda row: row["engine_s_per_tick"] + row["world_s_per_tick"],
    )


def _measured_row(replicas: int, ticks: int) -> Row:
    settings = EngineSettings()
    tick_ns = int(settings.tick_s * NS)
    end_ns = (WARM_TICKS + ticks) * tick_ns
    rate = REQUESTS_PER_S * replicas
    requests = conversations(int(rate * end_ns / NS), requests_per_s=rate)
    profile = PROFILES[PROFILE]
    conditions = Conditions(profile=profile, replicas_max=replicas)
    floor = WarmFloor(replicas=replicas, capacity_type=CapacityType.ON_DEMAND)
    spec = replace(model_spec(conditions, requests), warm_floor=floor)
    agenda, engine = Agenda(), _ClockedEngine(settings)
    fleet = _ClockedFleet(profile, requests)
    deployment = SimulatedDeployment(
        name=ON_DEMAND, capacity_type=CapacityType.ON_DEMAND, grace_s=GRACE_S, replicas=replicas
    )
    setting = WorldSetting(cold_start=COLD_STARTS["standard"], seed=0)
    world = SimulatedWorld(setting, fleet=fleet, deployments=[deployment], agenda=agenda)
    EngineLoop(
        spec,
        settings,
        world=world,
        agenda=agenda,
        end_ns=end_ns,
        gpus_per_replica=profile.gpus,
        engine=engine,
    ).start()
    agenda.run_until(WARM_TICKS * tick_ns)
    gc.freeze()  # as in any replay
    engine.spent_ns = fleet.spent_ns = 0
    arrived = fleet.arrived()
    began = time.process_time_ns()
    agenda.run_until(end_ns)
    spent_ns = time.process_time_ns() - began
    assert len(deployment.active) == replicas, "the fleet did not keep its size"
    # on a machine that is half as fast both are twice as long: their ratio can be compared
    yardstick = min(_plain_python_s() for _ in range(YARDSTICK_TURNS))
    engine_s = engine.spent_ns / ticks / 1e9
    world_s = (spent_ns - engine.spent_ns - fleet.spent_ns) / ticks / 1e9
    return {
        "replicas": replicas,
        "ticks": ticks,
        "engine_s_per_tick": engine_s,
        "world_s_per_tick": world_s,
        "serving_s_per_tick": fleet.spent_ns / ticks / 1e9,
        "requests_per_tick": (fleet.arrived() - arrived) / ticks,
        "yardstick_s": yardstick,
        "engine_in_yardsticks": engine_s / yardstick,
        "world_in_yardsticks": world_s / yardstick,
    }


def _plain_python_s() -> float:
    """CPU seconds of a thousand steps of plain Python."""
    began = time.process_time()
    seen: dict[int, float] = {}
    for step in range(YARDSTICK_STEPS):
        seen[step % 97] = seen.get(step % 89, 0.0) + step / 7
    return (time.process_time() - began) * 1000 / YARDSTICK_STEPS


def ticks_cells(row: Row) -> dict[str, str]:
    """Of a row, for people, by heading."""
    both_s = row["engine_s_per_tick"] + row["world_s_per_tick"]
    return {
        "replicas": str(row["replicas"]),
        "ticks": f"{row['ticks']:,}",
        "engine us": f"{row['engine_s_per_tick'] * 1e6:,.0f}",
        "world us": f"{row['world_s_per_tick'] * 1e6:,.0f}",
        "both us": f"{both_s * 1e6:,.0f}",
        "serving us": f"{row['serving_s_per_tick'] * 1e6:,.0f}",
        "yardsticks": f"{row['engine_in_yardsticks'] + row['world_in_yardsticks']:.2f}",
    }
