"""Rollouts that never end: the bound of what they hold."""

from __future__ import annotations

import pytest

from tests.builders import PoolNow, group, model
from tests.expect import Scenario, expect

ROLLS = {"on-demand": PoolNow(rolling_out=True)}
STUCK = {"on-demand": PoolNow(rolling_out=True, rollout_stuck=True)}


def story() -> Scenario:
    return Scenario(model(minimum=1, maximum=8, cold_start_s=60.0))


def look(story: Scenario, at: float, *, pools, surge_age_s: float | None = None, ready: int = 8):
    """Eight serve, one that the rollout added waits for a node, and one replica would be enough."""
    surge = group(unschedulable=[at - 50.0 if surge_age_s is None else surge_age_s])
    return story.look(at, group(ready=ready), surge, current={"on-demand": 8}, pools=pools, wants=1)


def test_a_rollout_that_moves_holds_a_scale_down():
    told = story()
    for at in range(100, 1700, 100):  # each look finds a younger surge pod
        look(told, float(at), pools=ROLLS, surge_age_s=5.0)
        expect(told, pools={"on-demand": 8}, commands=[])


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(lambda _: {"surge_age_s": 5.0}, id="its pod is refused and made anew"),
        pytest.param(lambda turn: {"ready": 8 - turn % 2}, id="a probe fails and passes"),
        pytest.param(
            lambda turn: {"ready": 8 - turn % 2, "surge_age_s": 5.0}, id="and pods crash with it"
        ),
    ],
)
def test_a_rollout_that_moves_for_ever_holds_no_longer_than_each_pod_takes_to_start(now):
    """Its controller takes each of these for progress, and so never gives it up."""
    told, given_up_at = story(), None
    for turn, at in enumerate(range(100, 3000, 50)):
        look(told, float(at), pools=ROLLS, **now(turn))
        said = {each.type: each.reason for each in told.decision.conditions}
        if given_up_at is None and said["AbleToScale"] == "RolloutOverdue":
            given_up_at = at
        assert (said["AbleToScale"] == "RolloutOverdue") == (given_up_at is not None)
    # nine pods, of each two cold starts of 60 s, and ten minutes
    assert given_up_at == pytest.approx(100 + 9 * 2 * 60 + 600, abs=51)


def test_a_large_rollout_has_time_for_all_of_its_pods():
    """Pod by pod, each as slow as starts are: eighty minutes, and it is not given up."""
    told = Scenario(model(minimum=1, maximum=40, cold_start_s=120.0))
    for at in range(0, 40 * 120, 120):
        told.look(
            float(at),
            group(ready=40),
            group(starting=[10.0]),
            current={"on-demand": 40},
            pools=ROLLS,
            wants=1,
        )
        expect(told, pools={"on-demand": 40}, reason="RolloutInProgress")


@pytest.mark.parametrize(
    ("pools", "until"),
    [
        pytest.param(STUCK, 200.0, id="its controller has given it up"),
        pytest.param(ROLLS, 800.0, id="it was paused, or may take for ever"),
    ],
)
def test_a_rollout_that_stands_holds_it_for_so_long_alone(pools, until):
    """Eight replicas stayed for six hours; giving one up frees the GPU that the surge pod waits for."""
    told = story()
    look(told, 100.0, pools=ROLLS)
    expect(told, pools={"on-demand": 8}, commands=[])
    look(told, until, pools=pools)
    expect(
        told,
        pools={"on-demand": 1},
        commands=["SetReplicas on-demand 1"],
        conditions={"AbleToScale": "True/RolloutOverdue"},
    )


def test_the_next_rollout_begins_its_own_time():
    told = story()
    look(told, 100.0, pools=ROLLS)
    look(told, 800.0, pools={"on-demand": PoolNow()}, surge_age_s=10.0)
    look(told, 900.0, pools=ROLLS)
    expect(told, pools={"on-demand": 8}, reason="RolloutInProgress")
