"""The recording format: whole, stable, and made of plain builtins."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoscaler.core.contract.codec import Unreadable, from_builtins, to_builtins
from autoscaler.core.contract.commands import (
    Annotate,
    Command,
    CordonNode,
    DeletePod,
    EvictPod,
    MarkNodeDrained,
    SetReplicas,
    UncordonNode,
)
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import CommandFinished, Event, NoticeReceived, SpecChanged
from autoscaler.core.contract.schedules import FloorSchedule, TimeZone
from autoscaler.core.contract.spec import (
    Behavior,
    EngineSettings,
    FleetSpec,
    ForecastMode,
    Mode,
    ModelSpec,
    Objective,
    Pause,
    PoolSpec,
    RampMode,
    ScaleTarget,
    SelectPolicy,
    Spot,
    Targets,
    WarmFloor,
)
from autoscaler.core.contract.state import FloatOrNaN
from autoscaler.core.forecast import ForecastMemory
from autoscaler.core.memory import Memory
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
from tests.core.checkpoints import through_json
from tests.expect import Scenario

TARGET = ScaleTarget(api_version="apps/v1", kind="Deployment", namespace="ns", name="d")
EVERYTHING = ModelSpec(
    namespace="ns",
    name="m",
    mode=Mode.OBSERVE,
    pause=Pause.SCALE_DOWN,
    pools=(
        PoolSpec(name="a", target=TARGET, capacity_type=MIXED, price_usd_per_hour=1.25),
        PoolSpec(name="b", target=TARGET, capacity_type=SPOT),
    ),
    min_replicas=2,
    max_replicas=9,
    warm_floor=WarmFloor(
        replicas=3,
        capacity_type=SPOT,
        ramp=RampMode.AUTO,
        schedules=(
            FloorSchedule(
                days=(0, 6),
                from_s=3_600,
                to_s=7_200,
                time_zone=TimeZone(name="Here", offsets=((-1.5, 3_600), (9.5, -7_200))),
                replicas=5,
                text="Mon, Sun 01:00-02:00 Here",
            ),
        ),
    ),
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
    MarkNodeDrained(**BASE, node="n"),
    UncordonNode(**BASE, node="n"),
    EvictPod(**BASE, namespace="ns", pod="p", grace_s=30),
    DeletePod(**BASE, namespace="ns", pod="p", grace_s=1),
]


def same(one, other) -> bool:
    """Equality that knows arrays and that NaN is unknown on both sides."""
    if isinstance(one, np.ndarray):
        if one.dtype != other.dtype:
            return False
        return bool(np.array_equal(one, other, equal_nan=one.dtype == np.float64))
    if type(one) is not type(other):
        return False
    if is_dataclass(one):
        return all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    if isinstance(one, dict):
        return same([*one.items()], [*other.items()])
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or one != one  # noqa: PLR0124  NaN alone differs from itself


def anything_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation, as the codec reads it; no infinities, which nothing here is."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is ForecastMemory:
        return st.builds(ForecastMemory)  # its arrays have the shapes that the forecasters give
    if origin in (Union, UnionType):
        return st.one_of([anything_of(argument) for argument in arguments])
    if origin is Annotated:
        return st.floats(allow_infinity=False)
    if origin is np.ndarray:
        (dtype,) = get_args(arguments[1])
        numbers = st.floats(allow_infinity=False) if dtype is np.float64 else None
        return arrays(dtype, st.sampled_from([0, 3, (2, 3)]), elements=numbers)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*map(anything_of, arguments))
    if origin in (tuple, list):
        return st.lists(anything_of(arguments[0]), max_size=2).map(origin)
    if origin is dict:
        return st.dictionaries(*map(anything_of, arguments), max_size=2)
    if hint is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if hint is not NoneType and is_record(hint):
        hints = get_type_hints(hint, include_extras=True)
        taken = (
            [field.name for field in fields(hint) if field.init]
            if is_dataclass(hint)
            else hint._fields
        )
        return st.builds(hint, **{name: anything_of(hints[name]) for name in taken})
    return st.from_type(hint)


def is_record(hint: Any) -> bool:
    return is_dataclass(hint) or hasattr(hint, "_fields")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [Event, Command, Outcome, FleetSpec, EngineSettings, Memory],
    ids=["Event", "Command", "Outcome", "FleetSpec", "EngineSettings", "Memory"],
)
@given(data=st.data())
def test_whatever_its_annotations_allow_comes_back(kind, data):
    value = data.draw(anything_of(kind))
    assert same(through_json(value, kind), value)


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
        nodes=[node("n1", ON_DEMAND, gpus_free=3.0), node("n2", None, ready=False, cordoned_by_us=True, marked_drained=True)],
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
    assert same(through_json(event, Event), event)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_every_command_comes_back_whole(command):
    assert through_json(command, Command) == command


def test_an_outcome_comes_back_whole():
    story = Scenario(model(pools=[on_demand(), spot()], minimum=9))
    story.look(
        100.0, group(ready=1), group("spot", ready=2, node="s1"),
        interruptions=[notice("s1", deadline_at=220.0)],
    )  # fmt: skip
    again = through_json(story.outcome)
    assert again == story.outcome
    assert len(again.commands) > 2


def test_unknown_is_none_and_never_zero():
    event = observed(seen(model(), group(ready=1, running=UNKNOWN)), at=5.0)
    columns = to_builtins(event, Event)["models"][0]["replicas"]
    assert columns["running_requests"] == [None]
    assert columns["waiting_requests"] == [0.0]
    again = through_json(event, Event)
    assert np.isnan(again.models[0].replicas.running_requests[0])


def test_an_empty_observation_keeps_its_types():
    event = observed(seen(model()), at=5.0)
    assert same(through_json(event, Event), event)


def observation_with(change):
    written = to_builtins(an_observation(), Event)
    change(written)
    return written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda event: event.update(kind="Nothing"), "the whole: an object whose `kind` is one of SpecChanged, "),
        (lambda event: event.pop("at"), "the whole: Observed with `at`"),
        (lambda event: event.update(more=1), "the whole: Observed without `more`"),
        (lambda event: event.update(at=None), "at: a number was expected, found None"),
        (lambda event: event.update(id=1.5), "id: a whole number was expected, found 1.5"),
        (lambda event: event.update(models="m"), "models: a list was expected, found 'm'"),
        (lambda event: event["models"].append(7), r"models\[1\]: an object \(ModelObservation\) was expected, found 7"),
        (lambda event: event["models"][0]["pools"][1].update(name=3), r"models\[0\].pools\[1\].name: a text"),
        (lambda event: event["models"][0]["replicas"].update(pool=[0.5]), r"models\[0\].replicas.pool: a column of int64"),
        (lambda event: event["models"][0]["replicas"].update(ready=[1]), r"replicas.ready: a column of bool"),
        (lambda event: event["models"][0]["replicas"].update(grace_s=["1"]), r"replicas.grace_s: a column of float64"),
        (lambda event: event["models"][0]["replicas"].update(grace_s=[[], 1.0]), r"replicas.grace_s: a column of float64"),
        (lambda event: event["nodes"].update(capacity_type=["Free"]), r"nodes.capacity_type\[0\]: one of OnDemand, Spot, Mixed was expected, found 'Free'"),
        (lambda event: event["nodes"].update(exists=None), r"nodes.exists: a list was expected"),
    ],
)  # fmt: skip
def test_what_nobody_wrote_is_refused_with_its_place(change, message):
    with pytest.raises(Unreadable, match=message):
        from_builtins(observation_with(change), Event)


@pytest.mark.parametrize(
    ("kind", "plain", "message"),
    [
        (Event, ["no record"], "the whole: an object"),
        (Command, {"kind": ["SetReplicas"]}, "the whole: an object"),
        (float, 10**400, "a number"),
        (bytes, "xy", "hex digits"),
        (bytes, 7, "hex digits"),
        (tuple[float, int], [1.0], "a list of 2"),
        (dict[str, int], [["a", "b"]], r"\[0\]\[1\]: a whole number"),
        (int | str | None, 1.5, "int or str was expected, found 1.5"),
    ],
)  # fmt: skip
def test_what_fits_no_type_is_refused(kind, plain, message):
    with pytest.raises(Unreadable, match=message):
        from_builtins(plain, kind)


def test_a_number_that_may_be_missing_is_none_also_where_it_is_not_a_number():
    assert to_builtins(math.nan, float | None) is None
    assert to_builtins(math.nan, FloatOrNaN) is None


def test_what_follows_from_the_rest_is_not_written():
    assert "key" not in to_builtins(EVERYTHING, ModelSpec)
    assert through_json(EVERYTHING).key == "ns/m"
