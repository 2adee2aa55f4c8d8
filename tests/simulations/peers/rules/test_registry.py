"""Every baseline is registered, and behaves as one before its author wrote a test."""

from dataclasses import replace
from pathlib import Path

import pytest

from simulations.peers.hpa.target import external
from simulations.peers.rules.registry import BASELINES
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE

REFERENCES = {"lookahead"}
"""Sees ahead: nobody's peer, and in no list of them."""


def test_every_file_is_registered():
    folder = Path(__file__).parents[4] / "simulations" / "peers" / "rules"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "registry"} - REFERENCES
    modules = {kind.make.__module__.rsplit(".", 1)[1] for kind in BASELINES.values()}
    assert files == modules


@pytest.mark.parametrize("name", BASELINES)
def test_it_begins_and_stays_within_its_bounds(name: str):
    baseline = BASELINES[name].make(
        setting(replicas_min=2, replicas_max=5, arrivals_s=[0.0] * 4000)
    )
    assert 2 <= baseline.initial_replicas <= 5
    assert baseline.sync_s > 0
    at, spec = 1000.0, 2
    busy = [pod(page(waiting=400, running=128, kv=0.99)) for _ in range(2)]
    for _ in range(100):
        answer = baseline.sync(view(*busy, at=at, spec=spec))
        if answer is not None:
            assert 2 <= answer <= 5
            spec = answer
        at += baseline.sync_s


@pytest.mark.parametrize("name", BASELINES)
def test_without_pods_or_pages_it_does_not_fail(name: str):
    baseline = BASELINES[name].make(setting())
    for pods in (
        (),
        (pod(ready=False),),
        (pod(page(), deleting=True),),
        (pod(page(), stale=True),),
    ):
        answer = baseline.sync(view(*pods, spec=1))
        assert answer is None or 1 <= answer <= 10


@pytest.mark.parametrize("name", [name for name, kind in BASELINES.items() if kind.axes])
def test_a_sweep_begins_with_twelve_settings_that_differ(name: str):
    kind = BASELINES[name]
    assert len(kind.sweep) == len({tuple(setting.items()) for setting in kind.sweep}) == 12
    for parameters in kind.sweep:
        baseline = kind.make(setting(arrivals_s=[0.0] * 100), **parameters)
        assert baseline.initial_replicas >= 1
    ends = [{name: axis.ladder[end] for name, axis in kind.axes.items()} for end in (0, -1)]
    for parameters in ends:
        assert kind.make(setting(arrivals_s=[0.0] * 100), **parameters).initial_replicas >= 1


def test_a_parameter_that_nobody_knows_is_refused():
    with pytest.raises(TypeError):
        BASELINES["hpa"].make(setting(), speed=2.0)


SETTINGS = [
    (name, axis, value)
    for name, kind in BASELINES.items()
    for axis, of in kind.axes.items()
    for value in of.ladder
]


@pytest.mark.parametrize(("name", "axis", "value"), SETTINGS)
def test_whatever_a_sweep_may_try_decides(name: str, axis: str, value: float):
    small = replace(PROFILE, in_flight_target=0.9)
    given = replace(setting(replicas_max=9, arrivals_s=[0.0] * 100), profile=small)
    baseline = BASELINES[name].make(given, **{axis: value})
    busy = [pod(page(waiting=4, running=8, kv=0.5)) for _ in range(2)]
    answers = [baseline.sync(view(*busy, at=1000.0 + 60.0 * number, spec=2)) for number in range(3)]
    assert all(answer is None or 1 <= answer <= 9 for answer in answers)


def test_no_two_values_of_a_ladder_are_one_target():
    targets = [
        external(value).target for value in BASELINES["llm-d-keda"].axes["kv_usage_ratio"].ladder
    ]
    assert min(targets) == 1
    assert len(set(targets)) == len(targets)
