"""What a model may lose with a zone: how often it goes whole, for how long, and how much is then short."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.reasons import Reason, StepBy
from autoscaler.core.contract.state import Interruption
from tests.builders import ON_DEMAND, SPOT, group, model, node, notice, on_demand, spot
from tests.expect import Scenario

NODES = [node(name, SPOT, zone=name[0]) for name in ("a1", "a2", "a3", "b1", "b2", "c1")]
A_OF_ONE_NODE, A_OF_TWO = {"a2": 4}, {"a1": 2, "a2": 2}


def decided(
    *,
    before: dict[str, int],
    taken: tuple[str, ...],
    after: dict[str, int],
    lead_s: float = 30.0,
    floor: str | None = ON_DEMAND,
    wants: int = 9,
    why: str = "Scripted",
) -> Decision:
    """Of a model that has watched for an hour, a quarter after the nodes were noticed.

    Starts take three minutes; `before` and `after` say how many replicas are on which node.
    """
    story = told(
        before=before, taken=taken, after=after, lead_s=lead_s, floor=floor, wants=wants, why=why
    )
    return story.decision


def told(
    *,
    before: dict[str, int],
    taken: tuple[str, ...],
    after: dict[str, int],
    lead_s: float = 30.0,
    floor: str | None = ON_DEMAND,
    wants: int = 9,
    why: str = "Scripted",
) -> Scenario:
    """The story of `decided`, to be gone on with."""
    spec = model(
        pools=[spot("a"), spot("b"), spot("c"), on_demand()],
        warm=1,
        warm_on=floor,
        cold_start_s=180.0,
    )
    story = Scenario(spec)
    story.mouth.why = why
    marks = [notice(name, deadline_at=3600.0 + lead_s, noticed_at=3600.0) for name in taken]
    for at, where, interruptions in [
        (0.0, before, []),
        (3600.0, before, marks),
        (4500.0, after, []),
    ]:
        look(story, at, where, floor=floor, wants=wants, interruptions=interruptions)
    return story


def look(
    story: Scenario,
    at: float,
    where: dict[str, int],
    *,
    floor: str | None = ON_DEMAND,
    wants: int = 9,
    running: float = 33.0,
    interruptions: Sequence[Interruption] = (),
) -> Decision:
    rows = [
        group(name[0], ready=count, node=name, name=name, running=running)
        for name, count in where.items()
    ]
    warm = [group(ready=1)] if floor is ON_DEMAND else []
    return story.look(at, *warm, *rows, wants=wants, nodes=NODES, interruptions=interruptions)


def asked_more(decision: Decision) -> bool:
    return StepBy.LOSS_BUDGET in [step.by for step in decision.trail]


def test_a_zone_that_went_whole_and_holds_half_again_is_made_up_for_in_the_others():
    decision = decided(before=A_OF_ONE_NODE | {"b1": 4}, taken=("a2",), after={"a1": 4, "b1": 4})
    assert asked_more(decision)
    more = {pool.pool: pool.desired_replicas for pool in decision.pools}
    assert more["a"] == 4
    assert more["b"] + more["c"] > 4


def test_what_was_asked_for_stays_for_a_cold_start():
    """Load that swings about the edge would else start a replica and give it up again on each tick."""
    story = told(before=A_OF_ONE_NODE | {"b1": 4}, taken=("a2",), after={"a1": 4, "b1": 4})
    more = story.decision.desired_replicas
    assert more is not None
    assert more > 9
    there = {"a1": 4, "b1": more - 5}
    for at in range(4505, 4680, 5):  # next to no load any more: nobody could miss it
        assert look(story, float(at), there, running=1.0).desired_replicas == more, at
    for at in range(4680, 5100, 5):
        look(story, float(at), there, running=1.0)
    assert story.decision.desired_replicas == 9
    assert not asked_more(story.decision)


def test_a_rule_that_was_chosen_by_what_was_missed_has_paid_for_the_load_and_not_for_the_floor():
    story = {"before": A_OF_ONE_NODE | {"b1": 4}, "taken": ("a2",), "after": {"a1": 4, "b1": 4}}
    assert not asked_more(decided(**story, why=Reason.CHEAPEST_RULE))
    alone = {"before": {"a1": 4}, "taken": (), "after": {"a1": 4}, "floor": None, "wants": 4}
    assert asked_more(decided(**alone, why=Reason.CHEAPEST_RULE))


def test_the_longer_the_lead_the_less_is_to_be_made_up_for():
    story = {"before": A_OF_ONE_NODE | {"b1": 4}, "taken": ("a2",), "after": {"a1": 4, "b1": 4}}
    assert asked_more(decided(**story, lead_s=30.0))
    assert not asked_more(decided(**story, lead_s=120.0))
    assert not asked_more(decided(**story, lead_s=180.0))


def test_one_node_of_two_is_no_zone():
    before = A_OF_TWO | {"b1": 4}
    assert not asked_more(decided(before=before, taken=("a2",), after={"a1": 4, "b1": 4}))
    assert asked_more(decided(before=before, taken=("a1", "a2"), after={"a3": 4, "b1": 4}))


def test_a_small_zone_that_is_lost_is_no_reason_to_fear_for_the_large_one():
    before = {"a1": 4, "b1": 3, "c1": 1}
    assert not asked_more(decided(before=before, taken=("c1",), after=before))


@pytest.mark.parametrize("wants", [4, 8])
def test_a_floor_on_any_capacity_may_not_go_with_a_zone_even_where_none_was_ever_lost(wants):
    everything = {"a1": wants}
    decision = decided(before=everything, taken=(), after=everything, floor=None, wants=wants)
    assert asked_more(decision)
    assert decision.desired_replicas == wants + 1
    apart = decided(before=everything, taken=(), after=everything, wants=wants + 1)
    assert not asked_more(apart)
