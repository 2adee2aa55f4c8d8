"""A placement says of every replica that is asked for why it is there."""

from __future__ import annotations

from itertools import groupby

import pytest

from autoscaler.core.contract.reasons import StepBy
from autoscaler.core.guards import AFTER_BUDGET, Guards
from autoscaler.core.pools.placement import place
from autoscaler.core.pools.slots import Slot
from autoscaler.core.tick.parts import Parts
from tests.builders import ON_DEMAND, SPOT, PoolNow, group, model, notice, on_demand, spot
from tests.expect import Scenario, expect


class Placed(Scenario):
    """A scenario that keeps what its last decision was placed from."""

    def __init__(self, **spec) -> None:
        guards = Guards(after_budget={**AFTER_BUDGET, StepBy.PLACEMENT: self._keep})
        pools = spec.pop("pools", [on_demand(), spot()])
        super().__init__(model(pools=pools, **spec), parts=Parts(guards=guards))

    def _keep(self, situation, count, /) -> None:
        self.situation, self.count = situation, count

    def in_words(self) -> dict[str, str]:
        """By pool, as `2 Serving, 1 StandIn for spot`; the counts are those of the decision."""
        placement = place(self.situation, self.count)
        decided = tuple(pool.desired_replicas for pool in self.decision.pools)
        assert placement.desired == decided
        names = [pool.name for pool in self.spec.pools]
        return {
            name: ", ".join(
                f"{len(list(same))} {self._word(slot)}" for slot, same in groupby(slots)
            )
            for name, slots in zip(names, placement.slots, strict=True)
        }

    def _word(self, slot: Slot) -> str:
        stood_in_for = slot.stands_in_for
        return slot.reason + (
            "" if stood_in_for is None else f" for {self.spec.pools[stood_in_for].name}"
        )


FLOOR = {"warm": 1, "warm_on": ON_DEMAND}


def test_the_floor_lies_in_its_pool_and_the_rest_in_the_preferred_one():
    story = Placed(**FLOOR)
    story.look(0.0, group(ready=1), group("spot", ready=3), wants=4)
    assert story.in_words() == {"on-demand": "1 Floor", "spot": "3 Serving"}


def test_a_floor_on_the_preferred_pool_is_part_of_what_it_serves():
    story = Placed(warm=2, warm_on=SPOT)
    story.look(0.0, group("spot", ready=3), wants=3)
    assert story.in_words() == {"on-demand": "", "spot": "2 Floor, 1 Serving"}


@pytest.mark.parametrize(
    ("maximum", "slots"),
    [
        (10, {"on-demand": "1 Floor, 1 StandIn for spot", "spot": "3 Serving"}),
        (4, {"on-demand": "1 Floor, 1 StandIn for spot", "spot": "2 Serving"}),
    ],
)
def test_a_stuck_replica_is_stood_in_for_in_another_pool(maximum, slots):
    story = Placed(**FLOOR, maximum=maximum)
    story.look(
        0.0, group(ready=1), group("spot", ready=2), group("spot", unschedulable=[70.0]), wants=4
    )
    assert story.in_words() == slots


def test_what_serves_elsewhere_is_no_stand_in_once_fewer_are_to_serve():
    story = Placed(**FLOOR)
    story.look(0.0, group(ready=3), group("spot", ready=3), wants=5)
    assert story.in_words() == {"on-demand": "1 Floor, 1 Serving", "spot": "3 Serving"}


def test_the_preferred_pool_stands_in_for_a_floor_that_nobody_can_have():
    story = Placed(**FLOOR)
    story.look(0.0, group(unschedulable=[70.0]), group("spot", ready=2), wants=3)
    assert story.in_words() == {
        "on-demand": "1 Floor",
        "spot": "2 Serving, 1 StandIn for on-demand",
    }


def test_the_fallback_comes_on_top():
    story = Placed(**FLOOR, cold_start_s=60.0)
    story.look(
        100.0, group(ready=1), group("spot", ready=1), group("spot", ready=2, node="s1", name="x"),
        wants=4, interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    assert story.in_words() == {"on-demand": "2 Fallback, 1 Floor", "spot": "3 Serving"}


def test_a_stand_in_that_may_not_be_cut_is_held():
    story = Placed(**FLOOR)
    story.look(0.0, group(ready=3), group("spot", ready=3), wants=6)
    assert story.in_words() == {"on-demand": "1 Floor, 2 StandIn for spot", "spot": "5 Serving"}
    story.look(
        500.0, group(ready=3), group("spot", ready=5, ready_age_s=400.0), wants=6,
        pools={"on-demand": PoolNow(rolling_out=True)},
    )  # fmt: skip
    expect(story, reason="PoolsHeld")
    assert story.in_words() == {"on-demand": "1 Floor, 2 Held", "spot": "5 Serving"}
    assert story.decision.trail[-1].message == (
        "kept, though not needed: 2 on on-demand, which may not be cut now: it rolls out, its promises "
        "cannot be read, or nothing may"
    )


def test_a_pool_keeps_as_many_more_as_it_holds_doomed_ones():
    story = Placed(pools=[on_demand()], minimum=0, warm=1)
    rows = [group(ready=2), group(ready=2, node="n2", name="x")]
    story.look(0.0, *rows, wants=1, interruptions=[notice("n2", deadline_at=500.0)])
    assert story.in_words() == {"on-demand": "1 Serving, 2 HeldDoomed"}
    assert story.decision.trail[-1].message == (
        "kept, though not needed: 2 on on-demand, whose ReplicaSet might keep just its doomed replicas"
    )
