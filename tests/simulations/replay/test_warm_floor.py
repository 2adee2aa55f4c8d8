"""A schedule of the warm floor in the replay: on whose clock it is, and that it is warm when it begins."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from autoscaler.cli.simulate import _warm_floor, simulate
from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.contract.events import Event, Observed
from autoscaler.core.contract.schedules import moved
from autoscaler.core.contract.spec import RampMode, WarmFloor
from autoscaler.core.contract.state import CapacityType
from autoscaler.settings import load_config, to_core
from simulations.agenda import EPOCH_S
from simulations.replay.conditions import Conditions, ConditionsRequest, conditions_of
from simulations.replay.engine_loop import start_engine
from simulations.traces.generate import Recipe, generate
from simulations.traces.trace import Trace
from tests.extent import sample
from tests.simulations.world.world_builder import PROFILE
from tests.test_settings import document, write

HOUR_S = 3600
WEEK = {"days": "Mon-Fri", "from": "08:00", "to": "20:00", "timeZone": "Europe/Berlin", "replicas": 4}  # fmt: skip


def resource(folder: Path, **floor: Any) -> Path:
    return write(folder, document(warmFloor={"replicas": 1, **floor}))


def calm(*, hours: float) -> Trace:
    """Two requests a minute: nothing that a second replica is worth."""
    recipe = Recipe(
        shape="flat", hours=hours, rate_per_s=1 / 30, input_tokens=200, output_tokens=50
    )
    return Trace(name="calm", requests=generate(recipe))


def decisions(trace: Trace, conditions: Conditions, *, seed: int = 0) -> dict[float, Decision]:
    """The engine's decisions, by the trace's seconds."""
    told: dict[float, Decision] = {}

    def listen(event: Event, outcome: Outcome) -> None:
        if isinstance(event, Observed):
            told[event.at - EPOCH_S] = outcome.decisions[0]

    stage = start_engine(trace, "inference-aware", conditions, seed=seed, listeners=[listen])
    stage.agenda.run_until(stage.end_ns)
    return told


def ready(decision: Decision) -> int:
    return sum(pool.ready_replicas for pool in decision.pools)


@pytest.mark.slow
@pytest.mark.parametrize("seed", sample(range(10), day=range(2)))
@pytest.mark.parametrize("cold_start", ["warm", "standard", "cold"])
def test_the_floor_is_ready_when_its_time_begins_and_not_long_before(tmp_path, cold_start, seed):
    """A Monday in Berlin from six o'clock, each hour half an hour; what starts take is learnt meanwhile."""
    times = [{**WEEK, "from": f"{hour:02}:00", "to": f"{hour:02}:30"} for hour in (8, 9, 10, 11)]
    floor = _warm_floor(f"{resource(tmp_path, schedules=times)},begins=2026-11-30T06:00+01:00")
    conditions = replace(
        conditions_of(ConditionsRequest(profile=PROFILE.name, cold_start=cold_start)),
        warm_floor=floor,
        replicas_max=6,
    )
    told = decisions(calm(hours=5.6), conditions, seed=seed)
    for hour in (2, 3, 4, 5):
        begin = hour * HOUR_S
        if hour > 3:
            assert ready(told[begin]) == 4
        assert ready(told[begin - 900.0]) == 1
        assert ready(told[begin + 300.0]) == 4
        assert ready(told[begin + 1_795.0]) == 4


def test_a_trace_begins_on_the_first_of_2026_unless_it_is_said_otherwise(tmp_path):
    """And whoever says so moves the schedule, not the trace."""
    path = resource(tmp_path, schedules=[WEEK])
    (written,) = to_core(load_config(path).resources[0]).warm_floor.schedules
    (as_it_is,) = _warm_floor(str(path)).schedules
    assert as_it_is == written
    assert datetime.fromtimestamp(EPOCH_S).astimezone().timestamp() == 1_767_225_600.0
    begins = datetime.fromisoformat("2026-11-30T07:30+01:00").timestamp()
    (told,) = _warm_floor(f"{path},begins=2026-11-30T07:30+01:00").schedules
    assert told == moved(written, round(EPOCH_S - begins))
    span = told.span(float(EPOCH_S), ahead_s=HOUR_S)
    assert span is not None
    assert span.begins_at == EPOCH_S + 1_800.0  # half an hour into the trace it is eight


def test_it_is_kept_on_demand_with_its_ramp(tmp_path):
    path = write(tmp_path, document(
        pools=[{"name": "s", "scaleTargetRef": {"name": "s"}, "capacityType": "Spot"}],
        warmFloor={"replicas": 2, "capacityType": "Spot", "ramp": "Auto"},
    ))  # fmt: skip
    assert _warm_floor(str(path)) == WarmFloor(
        replicas=2, capacity_type=CapacityType.ON_DEMAND, ramp=RampMode.AUTO
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (",begins=tomorrow", "a moment with its offset"),
        (",begins=2026-11-30T00:00", "a moment with its offset"),
        (",from=2026-11-30T00:00Z", "write begins="),
    ],
)
def test_a_moment_that_is_none_is_told(tmp_path, setting, said):
    done = CliRunner().invoke(
        simulate, ["generate:flat", "--warm-floor", f"{resource(tmp_path)}{setting}"]
    )
    assert said in str(done.exception)


def test_two_resources_are_one_too_many(tmp_path):
    one, other = document(), document()
    other["metadata"]["name"] = "other"
    other["spec"]["pools"][0]["scaleTargetRef"]["name"] = "other"
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump_all([one, other]))
    done = CliRunner().invoke(simulate, ["generate:flat", "--warm-floor", str(path)])
    assert "2 resources" in str(done.exception)
