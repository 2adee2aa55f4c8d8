"""The recording format: whole, stable, and made of plain builtins."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from autoscaler.core.contract import codec
from autoscaler.core.contract.codec_observation import REPLICA_FLOATS
from autoscaler.core.contract.commands import (
    Annotate,
    CordonNode,
    DeletePod,
    EvictPod,
    SetReplicas,
    UncordonNode,
)
from autoscaler.core.contract.events import CommandFinished, NoticeReceived, SpecChanged
from autoscaler.core.contract.spec import (
    Behavior,
    FleetSpec,
    ForecastMode,
    Mode,
    ModelSpec,
    Objective,
    Pause,
    PoolSpec,
    ScaleTarget,
    SelectPolicy,
    Spot,
    Targets,
    WarmFloor,
)
from autoscaler.core.contract.state import ReplicaColumns
from autoscaler.errors import InvariantBroken
from tests.builders import (
    MIXED,
    ON_DEMAND,
    SPOT,
    UNKNOWN,
    PoolNow,
    group,
    lost,
    model,
    node,
    notice,
    observed,
    on_demand,
    promised,
    rules,
    seen,
    spot,
)
from tests.expect import Scenario

TARGET = ScaleTarget(api_version="apps/v1", kind="Deployment", namespace="ns", name="d")
EVERYTHING = ModelSpec(
    namespace="ns",
    name="m",
    generation=7,
    mode=Mode.OBSERVE,
    pause=Pause.SCALE_DOWN,
    pools=(
        PoolSpec(name="a", target=TARGET, capacity_type=MIXED, price_usd_per_hour=1.25),
        PoolSpec(name="b", target=TARGET, capacity_type=SPOT),
    ),
    min_replicas=2,
    max_replicas=9,
    warm_floor=WarmFloor(replicas=3, capacity_type=SPOT),
    objective=Objective(ttft_s=3.0, tpot_s=0.2, attainment_ratio=0.995),
    targets=Targets(in_flight_requests=16.0, waiting_requests=3.0, kv_usage_ratio=0.7),
    cold_start_prior_s=99.0,
    forecast_mode=ForecastMode.OFF,
    behavior=Behavior(
        scale_up=rules(
            ("Pods", 4, 15), ("Percent", 50, 60), select=SelectPolicy.MIN, tolerance=0.2
        ),
        scale_down=rules(window=0, select=SelectPolicy.DISABLED),
    ),
    spot=Spot(on_demand_fallback=False, return_after_s=11.0, drain_margin_s=5.0),
    priority=-3,
    sample_age_s_max=33.0,
)
"""No field has its default: one that the codec forgot would come back as it."""

BASE = {"id": "12.3", "model": "ns/m", "expires_at": 20.5, "after": "12.1"}
COMMANDS = [
    SetReplicas(**BASE, scale_target=TARGET, replicas=4),
    Annotate(**BASE, scale_target=TARGET, key="k", value="v"),
    Annotate(**BASE, scale_target=TARGET, key="k", value=None),
    CordonNode(**BASE, node="n"),
    UncordonNode(**BASE, node="n"),
    EvictPod(**BASE, namespace="ns", pod="p", grace_s=30),
    DeletePod(**BASE, namespace="ns", pod="p", grace_s=1),
]


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


def same(one, other) -> bool:
    """Equality that knows arrays and that NaN is unknown on both sides."""
    if isinstance(one, np.ndarray):
        if one.dtype != other.dtype:
            return False
        return bool(np.array_equal(one, other, equal_nan=one.dtype == np.float64))
    if is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def an_observation():
    spec = model(pools=[on_demand(), spot()])
    return observed(
        seen(
            spec,
            group(ready=2, waiting=3.0, kv_usage=0.25),
            group("spot", ready=1, starting=[4.0], unschedulable=[8.0], deleting=1, framebuffer_bytes=1e9),
            pools={"on-demand": PoolNow(rolling_out=True, promises=(promised("s1", 2, since=5.0),)), "spot": PoolNow(promises_readable=False, gpus_per_replica=4)},
            current={"spot": None},
        ),
        at=1_700_000_000.25,
        nodes=[node("n1", ON_DEMAND, gpus_free=3.0), node("n2", None, ready=False, cordoned_by_us=True)],
        interruptions=[notice("n1", deadline_at=1_700_000_060.0), lost("n2")],
    )  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        an_observation(),
        SpecChanged(id=1, at=2.0, fleet=FleetSpec(models=(EVERYTHING, model()), gpu_budget=8)),
        SpecChanged(id=1, at=2.0, fleet=FleetSpec(models=())),
        NoticeReceived(id=3, at=4.0, interruption=notice("n", deadline_at=None)),
        CommandFinished(
            id=5, at=6.0, command="1.2", accepted=False, reason="Conflict", message="x"
        ),
    ],
    ids=lambda event: type(event).__name__,
)
def test_every_event_comes_back_whole(event):
    assert same(codec.event_from_builtins(through_json(codec.event_to_builtins(event))), event)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_every_command_comes_back_whole(command):
    assert codec.command_from_builtins(through_json(codec.command_to_builtins(command))) == command


def test_an_outcome_comes_back_whole():
    story = Scenario(model(pools=[on_demand(), spot()]))
    story.look(
        100.0, group(ready=1), group("spot", ready=2, node="s1"), wants=9,
        interruptions=[notice("s1", deadline_at=220.0)],
    )  # fmt: skip
    again = codec.outcome_from_builtins(through_json(codec.outcome_to_builtins(story.outcome)))
    assert again == story.outcome
    assert len(again.commands) > 2


def test_every_column_is_written():
    written = codec.event_to_builtins(an_observation())["models"][0]["replicas"]
    assert set(written) == {field.name for field in fields(ReplicaColumns)}
    assert {field.name for field in fields(ReplicaColumns) if "Float" in str(field.type)} == set(
        REPLICA_FLOATS
    )


def test_unknown_is_none_and_never_zero():
    event = observed(seen(model(), group(ready=1, running=UNKNOWN)), at=5.0)
    columns = codec.event_to_builtins(event)["models"][0]["replicas"]
    assert columns["running_requests"] == [None]
    assert columns["waiting_requests"] == [0.0]
    again = codec.event_from_builtins(through_json(codec.event_to_builtins(event)))
    assert np.isnan(again.models[0].replicas.running_requests[0])


def test_an_empty_observation_keeps_its_types():
    event = observed(seen(model()), at=5.0)
    assert same(codec.event_from_builtins(through_json(codec.event_to_builtins(event))), event)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (codec.event_from_builtins, {"event": "Nothing", "id": 1, "at": 2.0}),
        (codec.command_from_builtins, {"command": "Nothing", "id": "1", "model": "m", "expires_at": 1.0, "after": None}),
        (codec.event_from_builtins, ["no record"]),
    ],
)  # fmt: skip
def test_what_nobody_wrote_is_refused(read, value):
    with pytest.raises(InvariantBroken):
        read(value)
