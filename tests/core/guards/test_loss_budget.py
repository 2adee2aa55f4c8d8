"""What a model may lose with a zone: how often it goes whole, for how long, and how much is then short."""

from __future__ import annotations

import pytest

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.reasons import StepBy
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
) -> Decision:
    """Of a model that has watched for an hour, a quarter after the nodes were noticed.

    Starts take three minutes; `before` and `after` say how many replicas are on which node.
    """
    spec = model(
        pools=[spot("a"), spot("b"), spot("c"), on_demand()],
        warm=1,
        warm_on=floor,
        cold_start_s=180.0,
    )
    story = Scenario(spec)
    marks = [notice(name, deadline_at=3600.0 + lead_s, noticed_at=3600.0) for name in taken]
    for at, where, interruptions in [
        (0.0, before, []),
        (3600.0, before, marks),
        (4500.0, after, []),
    ]:
        rows = [
            group(name[0], ready=count, node=name, name=name, running=33.0)
            for name, count in where.items()
        ]
        warm = [group(ready=1)] if floor is ON_DEMAND else []
        story.look(at, *warm, *rows, wants=wants, nodes=NODES, interruptions=interruptions)
    return story.decision


def asked_more(decision: Decision) -> bool:
    return StepBy.LOSS_BUDGET in [step.by for step in decision.trail]


def test_a_zone_that_went_whole_and_holds_half_again_is_made_up_for_in_the_others():
    decision = decided(before=A_OF_ONE_NODE | {"b1": 4}, taken=("a2",), after={"a1": 4, "b1": 4})
    assert asked_more(decision)
    more = {pool.pool: pool.desired_replicas for pool in decision.pools}
    assert more["a"] == 4
    assert more["b"] + more["c"] > 4


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
