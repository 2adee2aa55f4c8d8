"""Each guard earns its place: the same scene is decided otherwise by an engine that is built without it."""

from __future__ import annotations

from dataclasses import fields

import pytest

from autoscaler.core.contract.reasons import StepBy
from autoscaler.core.contract.spec import Behavior, Pause
from autoscaler.core.guards import Guards
from autoscaler.core.tick.parts import Parts
from tests.builders import (
    ON_DEMAND,
    SPOT,
    UNKNOWN,
    PoolNow,
    group,
    hpa,
    model,
    node,
    notice,
    on_demand,
    rules,
    spot,
)
from tests.expect import Scenario


def blind(parts: Parts) -> Scenario:
    story = Scenario(model(), parts=parts)
    story.look(0.0, group(ready=3, sample_age_s=UNKNOWN), wants=2)
    return story


def after_a_peak(parts: Parts) -> Scenario:
    story = Scenario(model(cold_start_s=60.0), parts=parts)
    story.look(0.0, group(ready=5), wants=5)
    story.look(5.0, group(ready=5), wants=2)
    return story


def two_more_a_minute(parts: Parts) -> Scenario:
    story = Scenario(model(behavior=Behavior(scale_up=rules(("Pods", 2, 60)))), parts=parts)
    story.look(0.0, group(ready=1), wants=9)
    return story


def two_kept_warm(parts: Parts) -> Scenario:
    story = Scenario(model(minimum=0, warm=2), parts=parts)
    story.look(0.0, group(ready=3), wants=0)
    return story


def a_zone_that_is_lost_every_hour(parts: Parts) -> Scenario:
    pools = [spot("a"), spot("b"), on_demand()]
    story = Scenario(model(pools=pools, cold_start_s=180.0), parts=parts)
    nodes = [node(name, SPOT, zone=name[0]) for name in ("a1", "b1", "a2")]
    # eight are needed, and losing either zone leaves half of them
    rest = [group("b", ready=4, node="b1", running=64.0)]
    for at, in_a, interruptions in [
        (0.0, "a2", []),
        (600.0, "a2", [notice("a2", deadline_at=720.0, noticed_at=600.0)]),
        (900.0, "a1", []),
    ]:
        rows = [group("a", ready=4, node=in_a, name=in_a), *rest]
        story.look(at, *rows, wants=8, nodes=nodes, interruptions=interruptions)
    return story


def at_most_six(parts: Parts) -> Scenario:
    story = Scenario(model(maximum=6), parts=parts)
    story.look(0.0, group(ready=3), wants=99)
    return story


def paused_downward(parts: Parts) -> Scenario:
    story = Scenario(model(pause=Pause.SCALE_DOWN), parts=parts)
    story.look(0.0, group(ready=3), wants=1)
    return story


def an_hpa_on_its_target(parts: Parts) -> Scenario:
    story = Scenario(model(), parts=parts)
    story.look(0.0, group(ready=3), wants=5, pools={"on-demand": PoolNow(rivals=(hpa(),))})
    return story


def doomed_spot_node(parts: Parts) -> Scenario:
    spec = model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, cold_start_s=60.0)
    story = Scenario(spec, parts=parts)
    story.look(
        100.0, group(ready=1), group("spot", ready=2, node="s1"),
        wants=3, interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    return story


SCENES = {
    StepBy.FRESHNESS: blind,
    StepBy.STABILIZATION: after_a_peak,
    StepBy.RATE: two_more_a_minute,
    StepBy.WARM_FLOOR: two_kept_warm,
    StepBy.LOSS_BUDGET: a_zone_that_is_lost_every_hour,
    StepBy.BOUNDS: at_most_six,
    StepBy.CONFLICT: an_hpa_on_its_target,
    StepBy.PAUSE: paused_downward,
    StepBy.INTERRUPTION: doomed_spot_node,
}


def without(by: StepBy) -> Guards:
    """All guards but one."""
    kept = {}
    for group_of_guards in fields(Guards):
        guards = getattr(Guards(), group_of_guards.name)
        kept[group_of_guards.name] = {name: guard for name, guard in guards.items() if name != by}
    return Guards(**kept)


def every_guard() -> set[StepBy]:
    return {by for guards in fields(Guards) for by in getattr(Guards(), guards.name)}


def test_every_guard_has_a_scene():
    assert set(SCENES) == every_guard()


@pytest.mark.parametrize("by", SCENES)
def test_without_it_the_scene_is_decided_otherwise(by):
    decided = SCENES[by](Parts()).decision
    assert by in [step.by for step in decided.trail]
    left_out = SCENES[by](Parts(guards=without(by))).decision
    assert by not in [step.by for step in left_out.trail]
    # Where nothing may be scaled down, placement holds the pools too; then the reason is another.
    assert (left_out.desired_replicas, left_out.reason) != (
        decided.desired_replicas,
        decided.reason,
    )
