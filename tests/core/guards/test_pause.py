"""A pause: wholly, at a number, downward and upward, while spot is taken away too."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.contract.commands import CordonNode, EvictPod, SetReplicas
from autoscaler.core.contract.spec import ModelSpec, Pause
from tests.builders import (
    ON_DEMAND,
    UNKNOWN,
    PoolNow,
    group,
    model,
    notice,
    on_demand,
    promised,
    spot,
)
from tests.core.test_properties import fallback_of, play
from tests.expect import POLICY_UNKNOWN, Scenario, expect
from tests.fakes.odd_stories import Dice

POOLS = [on_demand(price=3.0), spot(price=1.0)]


def held_at(replicas: int, **what: object) -> ModelSpec:
    spec = model(pools=POOLS, warm=1, warm_on=ON_DEMAND, **what)
    return replace(spec, pause=Pause.ALL, paused_replicas=replicas)


# -- at a number


@pytest.mark.parametrize("wants", [1, 3, 8, POLICY_UNKNOWN])
def test_it_is_held_at_that_many_whatever_is_worth_it(wants):
    story = Scenario(held_at(5))
    story.look(0.0, group(ready=1), group("spot", ready=2), wants=wants)
    expect(
        story,
        desired=5,
        reason="Paused",
        commands=["SetReplicas spot 4"],
        conditions={"ScalingActive": "False/Paused"},
    )
    story.look(5.0, group(ready=1), group("spot", ready=4), wants=wants)
    expect(story, desired=5, commands=[])


def test_fewer_are_taken_from_spot_first_and_the_floor_stays():
    story = Scenario(held_at(2))
    story.look(0.0, group(ready=2), group("spot", ready=3), wants=5)
    expect(story, desired=2, commands=["SetReplicas spot 0"])
    story.look(5.0, group(ready=2), group("spot"), wants=5)
    expect(story, desired=2, commands=[])
    story.respecify(6.0, held_at(1))
    story.look(10.0, group(ready=2), group("spot"), wants=5)
    expect(story, desired=1, commands=["SetReplicas on-demand 1"])


def test_it_holds_where_nothing_of_the_load_is_seen():
    story = Scenario(held_at(4))
    story.look(0.0, group(ready=1, sample_age_s=UNKNOWN), group("spot", ready=2), wants=1)
    assert story.decision.desired_replicas == 4


def test_while_spot_is_taken_away_the_number_is_kept_and_nothing_is_drained_or_promised():
    """Kubernetes makes the pods anew that went with their node; where, is the template's matter."""
    story = Scenario(held_at(3))
    spotted = group("spot", ready=2, node="s1")
    taken = [notice("s1", deadline_at=220.0, noticed_at=100.0)]
    story.look(100.0, group(ready=1), spotted, wants=3, interruptions=taken)
    expect(story, desired=3, commands=[])
    assert fallback_of(story.decision) == 0
    story.respecify(101.0, model(pools=POOLS, warm=1, warm_on=ON_DEMAND))
    story.look(105.0, group(ready=1), spotted, wants=3, interruptions=taken)
    assert fallback_of(story.decision) == 2, "as soon as the pause is over"


def test_what_was_promised_before_the_pause_is_in_its_number_and_still_promised_after_it():
    story = Scenario(model(pools=POOLS, warm=1, warm_on=ON_DEMAND))
    taken = [notice("s1", deadline_at=220.0, noticed_at=50.0)]
    now = (group(ready=3), group("spot", ready=2, node="s1"))
    pools = {"on-demand": PoolNow(promises=(promised("s1", 2, since=50.0),))}
    story.respecify(99.0, held_at(5))
    story.look(100.0, *now, wants=3, interruptions=taken, pools=pools)
    expect(story, desired=5, commands=[])
    story.respecify(101.0, model(pools=POOLS, warm=1, warm_on=ON_DEMAND))
    story.look(105.0, *now, wants=3, interruptions=taken, pools=pools)
    assert not [each for each in story.commands if each.startswith("Annotate")]
    assert fallback_of(story.decision) == 2


def test_a_target_that_cannot_be_read_is_left_alone():
    story = Scenario(held_at(5))
    story.look(0.0, group(), group("spot", ready=2), wants=3, current={"on-demand": None})
    expect(story, commands=[], reason="TargetUnreadable")


# -- upward


def test_upward_what_is_taken_away_is_replaced_and_nothing_is_added():
    story = Scenario(model(pools=POOLS, warm=1, warm_on=ON_DEMAND, pause=Pause.SCALE_UP))
    spotted = group("spot", ready=2, node="s1")
    taken = [notice("s1", deadline_at=220.0, noticed_at=100.0)]
    story.look(100.0, group(ready=1), spotted, wants=9, interruptions=taken)
    assert fallback_of(story.decision) == 2
    assert story.decision.desired_replicas == 5
    assert [step.reason for step in story.decision.trail][-2:] == [
        "ScaleUpPaused",
        "FallbackRaised",
    ]


def test_upward_the_minimum_waits_too():
    story = Scenario(model(minimum=4, pause=Pause.SCALE_UP))
    story.look(0.0, group(ready=2), wants=1)
    expect(story, desired=2, reason="ScaleUpPaused", commands=[])


# -- whatever is seen

SEEDS = st.integers(0, 100_000)


@pytest.mark.slow
@given(seed=SEEDS, replicas=st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_a_number_is_held_in_every_story(seed: int, replicas: int):
    told = Dice(seed).story()
    spec = replace(told.spec, pause=Pause.ALL, paused_replicas=replicas)
    for event, outcome in play(replace(told, spec=spec)):
        (decision,) = outcome.decisions
        assert decision.conditions[0].reason != "InvariantBroken"
        if any(pool.current_replicas is None for pool in event.models[0].pools):
            assert not [each for each in outcome.commands if isinstance(each, SetReplicas)]
            continue
        assert decision.desired_replicas == replicas
        assert sum(pool.desired_replicas or 0 for pool in decision.pools) == replicas
        assert not [each for each in outcome.commands if isinstance(each, CordonNode | EvictPod)]


@pytest.mark.slow
@given(seed=SEEDS)
@settings(max_examples=300, deadline=None)
def test_downward_no_story_takes_a_replica_away(seed: int):
    told = Dice(seed).story()
    spec = replace(told.spec, pause=Pause.SCALE_DOWN)
    for _, outcome in play(replace(told, spec=spec)):
        (decision,) = outcome.decisions
        if decision.desired_replicas is not None:
            assert decision.current_replicas is not None
            assert decision.desired_replicas >= decision.current_replicas


@pytest.mark.slow
@given(seed=SEEDS)
@settings(max_examples=300, deadline=None)
def test_upward_no_story_adds_a_replica_but_for_one_that_is_taken_away(seed: int):
    told = Dice(seed).story()
    spec = replace(told.spec, pause=Pause.SCALE_UP)
    for event, outcome in play(replace(told, spec=spec)):
        (decision,) = outcome.decisions
        assert decision.conditions[0].reason != "InvariantBroken"
        if decision.desired_replicas is None:
            continue
        assert decision.current_replicas is not None
        more = decision.desired_replicas - decision.current_replicas
        taken = (
            bool(event.interruptions)
            or any(pool.promises for pool in event.models[0].pools)
            or any(pool.doomed_replicas or pool.fallback_replicas for pool in decision.pools)
        )
        assert more <= (fallback_of(decision) if taken else 0)
