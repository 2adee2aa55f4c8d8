"""What policies are told and shown in the replay, held against the conditions; and that a wrong replay is noticed.

A peer that is shown older pages than ours, or told another target, loses for no fault of its own, and
nothing else of the board would say so. So each check here is also run on a replay that was broken on
purpose, and must fail there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autoscaler.core.contract.events import Observed, SpecChanged
from autoscaler.core.contract.spec import EngineSettings, Targets
from simulations.agenda import EPOCH_S, NS
from simulations.peers.rules.registry import BASELINES
from simulations.replay import baseline_loop, engine_loop, stage
from simulations.replay.conditions import (
    Conditions,
    ConditionsRequest,
    conditions_of,
    load_tested,
    told_target,
    with_maximum,
    with_told_target,
)
from simulations.replay.replay import run
from simulations.serving.offered_demand import first_replicas
from simulations.traces.trace import Trace
from simulations.world.cold_start import ColdStart
from tests.simulations.world.world_builder import PROFILE, requests

TESTED = 6.0
COLD = ColdStart(name="test", pull_s=20.0, load_s=10.0, warm_up_s=30.0)
TRACE = Trace(name="t", requests=requests(np.arange(0.0, 240.0, 0.05).tolist(), output_tokens=40))


def conditions(**changes: Any) -> Conditions:
    tested = Conditions(
        profile=replace(PROFILE, in_flight_target=TESTED),
        tested_target=TESTED,
        cold_start=COLD,
        replicas_max=7,
    )
    return replace(tested, **changes)


class Witness:
    """A baseline that changes nothing and remembers what it was told and shown."""

    sync_s = 15.0

    def __init__(self, setting):
        self.setting = setting
        self.initial_replicas = setting.replicas_initial
        self.views = []

    def sync(self, view):
        self.views.append((view.at - EPOCH_S, view.scraped_ns / NS, view.samples))


def witnessed(made: Conditions, *, policy: type = Witness) -> Witness:
    seen = []

    def make(setting, **parameters):
        seen.append(policy(setting, **parameters))
        return seen[0]

    run(TRACE, "witness", seed=0, conditions=made, make=make)
    return seen[0]


# What every peer is told, and shown


def check_peers_told(made: Conditions, *, target: float) -> None:
    setting = witnessed(made).setting
    assert setting.profile.in_flight_target == target
    assert setting.replicas_max == made.replicas_max
    assert setting.replicas_initial == first_replicas(TRACE.requests, made.tested_profile)
    assert setting.cold_start_s == made.cold_start.mean_s
    assert setting.objective == made.objective.of_model(TRACE.requests, made.profile)
    assert setting.profile == replace(made.tested_profile, in_flight_target=target)


def check_peers_shown(made: Conditions) -> None:
    """A 15 s scrape read by syncs every 15 s is 7.5 s old on average: so old is every page."""
    views = witnessed(made).views
    assert len(views) == 239 // 15
    for at, scraped, samples in views:
        assert at - scraped == 7.5
        assert samples, "a page that nobody shows"


def test_every_peer_is_told_what_the_conditions_say():
    check_peers_told(conditions(), target=TESTED)


def test_a_peers_pages_are_as_old_as_a_15_s_scrape_makes_them():
    check_peers_shown(conditions())


@pytest.mark.parametrize(("sync_s", "age_s"), [(2.0, 1.0), (10.0, 5.0), (15.0, 7.5), (30.0, 7.5)])
def test_who_syncs_more_often_is_not_shown_older_pages(sync_s, age_s):
    often = type("Often", (Witness,), {"sync_s": sync_s})
    ages = {at - scraped for at, scraped, _ in witnessed(conditions(), policy=often).views}
    assert ages == {age_s}


def test_the_first_replicas_serve_from_the_first_moment():
    made = conditions()
    done = run(TRACE, "witness", seed=0, conditions=made, make=Witness)
    began = [at_ns for at_ns, _ in done.ledger.sizes]
    assert done.ledger.sizes[0] == (0, first_replicas(TRACE.requests, made.tested_profile))
    assert began == [0]
    assert int(done.results.first_token_ns[0]) < NS


@pytest.mark.parametrize("name", BASELINES)
def test_every_registered_peer_gets_the_told_target(name, monkeypatch):
    """Through the loop that the board uses, whatever the peer makes of it."""
    told = []
    kept = baseline_loop.BaselineSetting

    def setting(**fields):
        told.append(fields["profile"].in_flight_target)
        return kept(**fields)

    monkeypatch.setattr(baseline_loop, "BaselineSetting", setting)
    baseline_loop.start_baseline(
        TRACE,
        BASELINES[name].make,
        with_told_target(conditions(), "x0.5"),
        seed=0,
        parameters={},
    )
    assert told == [TESTED / 2]


# What the engine is told, and shown


def engine_story(made: Conditions) -> list[Any]:
    story: list[Any] = []
    run(
        TRACE,
        "inference-aware",
        seed=0,
        conditions=made,
        listeners=[lambda event, _: story.append(event)],
    )
    return story


def check_engine_told(made: Conditions, *, target: float) -> None:
    """All that a resource says, and nothing that only the replay knows: not its cold start."""
    story = engine_story(made)
    (spec,) = (event.fleet.models[0] for event in story if isinstance(event, SpecChanged))
    assert spec.targets == Targets(in_flight_requests=target)
    assert spec.max_replicas == made.replicas_max
    assert spec.objective == made.objective.of_model(TRACE.requests, made.profile)
    # whatever the cold start is, the same is said
    longer = replace(made, cold_start=replace(COLD, load_s=200.0))
    (other,) = (e.fleet.models[0] for e in engine_story(longer) if isinstance(e, SpecChanged))
    assert other == spec, "the engine is told how long a start takes"


def check_engine_shown(made: Conditions) -> None:
    """A tick's observation has the pages of the tick before."""
    seen = [event for event in engine_story(made) if isinstance(event, Observed)]
    ages = [event.at - event.models[0].replicas.sampled_at for event in seen[1:]]
    known = np.concatenate(ages)
    assert (known[~np.isnan(known)] == EngineSettings().tick_s).all()
    assert all((~np.isnan(age)).any() for age in ages), "nothing is read"


def test_the_engine_is_told_what_the_conditions_say():
    check_engine_told(conditions(), target=TESTED)


def test_the_engine_sees_pages_of_one_tick_before():
    check_engine_shown(conditions())


# Another target


@pytest.mark.parametrize(
    ("text", "target"),
    [("x1", 6.0), ("x0.25", 1.5), ("x4", 24.0), ("12", 12.0), ("0.5", 0.5), ("default", 32.0)],
)
def test_another_target_is_told_to_engine_and_peers_alike(text, target):
    made = with_told_target(conditions(), text)
    check_peers_told(made, target=target)
    check_engine_told(made, target=target)


def test_the_judge_itself_believes_the_load_test():
    plain = conditions(replicas_max=0)
    wrong = with_told_target(plain, "x0.25")
    assert wrong.tested_profile == plain.profile
    assert with_maximum(wrong, TRACE).replicas_max == with_maximum(plain, TRACE).replicas_max
    assert stage.initial_replicas(TRACE, wrong) == stage.initial_replicas(TRACE, plain)
    # told again: of the load test, not of what was told before
    assert with_told_target(wrong, "x2").profile.in_flight_target == 2 * TESTED
    assert with_told_target(wrong, "x1") == plain


@pytest.mark.slow
def test_the_load_test_comes_before_what_is_told():
    asked = ConditionsRequest(profile=PROFILE.name, spot_lead="aws")
    tested = load_tested(conditions_of(asked), TRACE)
    half = load_tested(conditions_of(replace(asked, in_flight_target="x0.5")), TRACE)
    ships = load_tested(conditions_of(replace(asked, in_flight_target="default")), TRACE)
    assert tested.tested_target == half.tested_target == ships.tested_target
    assert half.profile.in_flight_target == tested.profile.in_flight_target / 2
    assert ships.profile.in_flight_target == Targets().in_flight_requests


def test_a_target_below_what_the_resource_takes_is_the_least_that_it_takes():
    assert told_target("x0.01", tested=2.0) == 0.1
    assert told_target("x1000", tested=90_000.0) == 100_000.0


# A replay that is wrong is noticed


def test_older_pages_for_peers_are_noticed(monkeypatch):
    loop = baseline_loop.BaselineLoop
    kept = loop.__init__

    def older(self, *args, **options):
        kept(self, *args, **options)
        self._age_ns = 12 * NS

    monkeypatch.setattr(loop, "__init__", older)
    with pytest.raises(AssertionError):
        check_peers_shown(conditions())


@pytest.mark.parametrize("field", ["profile", "replicas_max", "replicas_initial", "cold_start_s"])
def test_anything_else_told_to_peers_is_noticed(field, monkeypatch):
    kept = baseline_loop.BaselineSetting
    wrong = {
        "profile": replace(PROFILE, in_flight_target=TESTED * 1.1),
        "replicas_max": 6,
        "replicas_initial": 1,
        "cold_start_s": 61.0,
    }
    monkeypatch.setattr(
        baseline_loop, "BaselineSetting", lambda **told: kept(**(told | {field: wrong[field]}))
    )
    with pytest.raises(AssertionError):
        check_peers_told(conditions(), target=TESTED)


def test_an_engine_that_is_told_the_true_cold_start_is_noticed(monkeypatch):
    kept = engine_loop.model_spec

    def knowing(made, columns):
        spec = kept(made, columns)
        return replace(spec, cold_start_prior_s=made.cold_start.mean_s)

    monkeypatch.setattr(engine_loop, "model_spec", knowing)
    with pytest.raises(AssertionError, match="how long a start takes"):
        check_engine_told(conditions(), target=TESTED)


def test_an_engine_that_is_told_another_target_is_noticed(monkeypatch):
    kept = engine_loop.model_spec

    def wrong(made, columns):
        spec = kept(made, columns)
        return replace(spec, targets=replace(spec.targets, in_flight_requests=TESTED * 1.1))

    monkeypatch.setattr(engine_loop, "model_spec", wrong)
    with pytest.raises(AssertionError):
        check_engine_told(conditions(), target=TESTED)


def test_an_engine_that_is_shown_what_is_now_is_noticed(monkeypatch):
    loop = engine_loop.EngineLoop
    kept = loop._observe

    def current(self, at_ns):
        self._world.scrape(at_ns)
        kept(self, at_ns)

    monkeypatch.setattr(loop, "_observe", current)
    with pytest.raises(AssertionError):
        check_engine_shown(conditions())
