"""What is on its way, for how long it is counted on, and who stands in for what is stuck."""

from __future__ import annotations

import pytest

from tests.builders import ON_DEMAND, SPOT, UNKNOWN, group, model, node, on_demand, spot
from tests.expect import Scenario, expect


def two_pools(**what):
    return model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, **what)


def test_a_starting_replica_is_supply():
    story = Scenario(model())
    story.look(0.0, group(ready=2, starting=[30.0, 100.0]), wants=4)
    expect(story, desired=4, commands=[])
    assert story.mouth.given.supply.ready == 2
    assert story.mouth.given.supply.starting_remaining_s == (80.0, 150.0)


@pytest.mark.parametrize(
    ("stuck", "stands_in"),
    [
        pytest.param({"starting": [100.0]}, 0, id="on its way"),
        pytest.param({"starting": [359.0]}, 0, id="overdue, but not given up"),
        pytest.param({"starting": [361.0]}, 1, id="expired at twice the cold start"),
        pytest.param({"unschedulable": [59.0]}, 0, id="unschedulable, a provisioner may be at it"),
        pytest.param({"unschedulable": [61.0]}, 1, id="unschedulable for too long"),
    ],
)
def test_a_stuck_level_is_asked_for_in_another_pool(stuck, stands_in):
    """Level 4: floor 1 on on-demand, 3 on spot, of which one is not there."""
    story = Scenario(two_pools())
    story.look(0.0, group(ready=1), group("spot", ready=2, **stuck), wants=4)
    # Never in its own pool: spot stays at 3.
    expect(story, desired=4 + stands_in, pools={"on-demand": 1 + stands_in, "spot": 3})


def test_with_no_other_pool_it_holds_and_says_so():
    story = Scenario(model())
    story.look(0.0, group(ready=2, unschedulable=[400.0]), wants=3)
    expect(story, desired=3, commands=[], conditions={"ScalingLimited": "True/CapacityUnavailable"})


def test_a_pool_that_is_stuck_itself_is_not_asked():
    story = Scenario(two_pools())
    story.look(0.0, group(ready=1, unschedulable=[400.0]), group("spot", ready=2, unschedulable=[400.0]), wants=4)  # fmt: skip
    expect(
        story,
        pools={"on-demand": 2, "spot": 3},
        conditions={"ScalingLimited": "True/CapacityUnavailable"},
    )


def test_the_cheapest_other_pool_that_can_have_it_is_asked_first():
    pools = [on_demand(), spot("spot-a", price=3.0), spot("spot-b", price=4.0)]
    story = Scenario(model(pools=pools))
    story.look(0.0, group("spot-a", ready=2, unschedulable=[400.0]), wants=3)
    expect(story, pools={"spot-a": 3, "spot-b": 1, "on-demand": 0})
    story.look(90.0, group("spot-a", ready=2, unschedulable=[490.0]), group("spot-b", unschedulable=[80.0]), wants=3)  # fmt: skip
    expect(story, pools={"spot-a": 3, "spot-b": 1, "on-demand": 1})


def test_a_stand_in_goes_when_its_principal_has_been_back_for_the_return_time():
    story = Scenario(two_pools())
    serving = group("spot", ready=2)
    for at, back, on_demand_replicas in [
        (0.0, group("spot", unschedulable=[70.0], name="x"), 2),
        (5.0, group("spot", starting=[5.0], name="x"), 2),
        (10.0, group("spot", ready=1, ready_age_s=299.0, name="x"), 2),
        (15.0, group("spot", ready=1, ready_age_s=300.0, name="x"), 1),
    ]:
        asked = 2 if at else 1
        story.look(at, group(ready=asked), serving, back, wants=4)
        expect(story, pools={"on-demand": on_demand_replicas, "spot": 3})
        # The policy is never shown the stand-in and its principal as two.
        assert story.mouth.given.supply.total <= 4


def test_at_the_maximum_a_stand_in_takes_the_stuck_ones_place():
    story = Scenario(two_pools(maximum=4))
    story.look(0.0, group(ready=1), group("spot", ready=2, unschedulable=[70.0]), wants=4)
    expect(story, desired=4, pools={"on-demand": 2, "spot": 2})
    # And stays there: the policy's level is 4, which is what there is.
    story.look(5.0, group(ready=2), group("spot", ready=2), wants=4)
    expect(story, desired=4, pools={"on-demand": 2, "spot": 2}, commands=[])


def test_pods_that_are_never_created_expire_like_those_that_never_get_ready():
    """A quota that is used up leaves no pod to look at, only a count that is short."""
    story = Scenario(two_pools())
    for at, on_demand_replicas in [(0.0, 1), (360.0, 1), (361.0, 2)]:
        story.look(at, group(ready=1), group("spot", ready=2), current={"spot": 3}, wants=4)
        expect(story, pools={"on-demand": on_demand_replicas, "spot": 3})


def test_dcgm_free_gpus_cap_the_starts_that_are_counted_on():
    """Two starts have no node yet; the nodes of their pool have one GPU free."""
    nodes = [node("spot-node", SPOT, gpus_free=1.0), node("on-demand-node", ON_DEMAND, gpus_free=8)]
    story = Scenario(two_pools())
    told = group("spot", starting=[1.0, 2.0], node="")
    story.look(0.0, group(ready=1), told, wants=3, nodes=nodes)
    assert story.mouth.given.supply.starting == 1
    nodes = [node("spot-node", SPOT, gpus_free=UNKNOWN), node("on-demand-node", ON_DEMAND, gpus_free=8)]  # fmt: skip
    story.look(5.0, group(ready=1), told, wants=3, nodes=nodes)
    assert story.mouth.given.supply.starting == 2  # unknown caps nothing


@pytest.mark.parametrize(
    ("climb", "counted"),
    [
        pytest.param([(0, None), (150, None)], True, id="unknown: until twice the cold start"),
        pytest.param([(0, None), (300, None)], False, id="unknown: given up after that"),
        pytest.param([(0, 0.0), (50, 0.0)], True, id="stands still: given up at the cold start"),
        pytest.param([(0, 0.0), (120, 0.0)], False, id="stands still after it"),
        pytest.param(
            [(0, 1e9), (150, 5e9), (290, 6e9)],
            True,
            id="rises: waited for past twice the cold start",
        ),
        pytest.param(
            [(0, 1e9), (150, 5e9), (299, 5e9)], False, id="rose, then nothing for a cold start"
        ),
        pytest.param(
            [(0, 8e9), (60, 0.0), (130, 7e9)], False, id="loads again after a crash: no new high"
        ),
    ],
)
def test_dcgm_framebuffer_tells_loading_from_stuck(climb, counted):
    """Cold start 100 s; the replica was bound 60 s before the first look but the first case."""
    spec = model(cold_start_s=100.0)
    story = Scenario(spec)
    for at, used in climb:
        told = group(starting=[at + 20.0], framebuffer_bytes=UNKNOWN if used is None else used)
        story.look(float(at), group(ready=1), told, wants=2)
    assert story.mouth.given.supply.starting == counted


def test_a_start_on_a_gpu_that_can_carry_none_is_no_supply_and_is_asked_for_elsewhere_at_once():
    story = Scenario(two_pools())
    told = group("spot", starting=[5.0], gpus_unhealthy=1.0, name="x")
    story.look(0.0, group(ready=1), group("spot", ready=2), told, wants=4)
    expect(
        story,
        desired=5,
        pools={"on-demand": 2, "spot": 3},
        conditions={"GpusHealthy": "False/GpusUnhealthy"},
    )
    assert story.mouth.given.supply.starting == 0
    spot_pool = story.decision.pools[1]
    assert (spot_pool.unhealthy_replicas, spot_pool.starting_replicas) == (1, 0)
    (said,) = [each for each in story.decision.conditions if each.type == "GpusHealthy"]
    assert "0 ready and 1 starting replicas" in said.message
    assert "spot-x-s0000" in said.message


@pytest.mark.parametrize("found", [0.0, UNKNOWN])
def test_a_start_on_gpus_that_are_well_or_of_which_nothing_is_known_is_supply(found):
    story = Scenario(two_pools())
    told = group("spot", starting=[5.0], gpus_unhealthy=found, name="x")
    story.look(0.0, group(ready=1), group("spot", ready=2), told, wants=4)
    expect(story, desired=4, pools={"on-demand": 1, "spot": 3})
    assert story.mouth.given.supply.starting == 1


def test_a_ready_replica_on_such_a_gpu_serves_and_is_said():
    story = Scenario(two_pools())
    story.look(0.0, group(ready=1), group("spot", ready=3, gpus_unhealthy=1.0), wants=4)
    expect(
        story,
        desired=4,
        commands=[],
        pools={"on-demand": 1, "spot": 3},
        conditions={"GpusHealthy": "False/GpusUnhealthy"},
    )
    assert story.mouth.given.supply.ready == 4
    assert story.decision.pools[1].unhealthy_replicas == 3


def test_it_is_said_whether_anything_is_known_of_the_gpus():
    story = Scenario(two_pools())
    story.look(0.0, group(ready=1), group("spot", ready=3), wants=4)
    expect(story, conditions={"GpusHealthy": "Unknown/GpuHealthUnknown"})
    story.look(5.0, group(ready=1, gpus_unhealthy=0.0), group("spot", ready=3), wants=4)
    expect(story, conditions={"GpusHealthy": "True/NoFaultSeen"})


def test_when_the_gpu_is_well_again_its_start_counts_again():
    story = Scenario(two_pools())
    for at, found in [(0.0, 1.0), (5.0, 0.0)]:
        told = group("spot", starting=[5.0 + at], gpus_unhealthy=found, name="x")
        asked = 2 if at else 1
        story.look(at, group(ready=asked), group("spot", ready=2), told, wants=4)
        # The stand-in stays until its principal has been ready for a while.
        expect(story, pools={"on-demand": 2, "spot": 3})
    assert story.decision.pools[1].starting_replicas == 1
