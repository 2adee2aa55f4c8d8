"""What is said of a model's scale targets on every tick."""

from __future__ import annotations

from autoscaler.core.contract.reasons import FindingReason
from tests.builders import ON_DEMAND, PoolNow, group, model, on_demand, spot
from tests.expect import Scenario, expect


def story() -> Scenario:
    return Scenario(
        model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, cold_start_s=120.0)
    )


def test_targets_of_which_nothing_is_to_be_said_are_sound():
    told = story()
    told.look(100.0, group(ready=1), wants=1)
    expect(told, conditions={"TargetsSound": "True/NothingFound"})
    # it does not say what it did not look at
    (said,) = (each for each in told.outcome.decisions[0].conditions if each.type == "TargetsSound")
    assert "disruption budgets are read by" in said.message


def test_a_target_that_loses_requests_is_named_with_its_pool():
    told = story()
    faults = (FindingReason.GRACE_TOO_SHORT, FindingReason.NO_SHUTDOWN_TIMEOUT)
    told.look(100.0, group(ready=1), wants=1, pools={"spot": PoolNow(unsound=faults)})
    expect(told, conditions={"TargetsSound": "False/GraceTooShort"})
    (said,) = (each for each in told.outcome.decisions[0].conditions if each.type == "TargetsSound")
    assert said.message == (
        "spot: GraceTooShort, NoShutdownTimeout; `autoscaler check --targets CLUSTER` says where and what "
        "to write"
    )


def test_probes_are_held_against_the_learnt_cold_start():
    told = story()
    for at, allowed_s, status in (
        (100.0, None, "True/NothingFound"),  # nothing ends a start
        (105.0, 60.0, "True/NothingFound"),  # the other half may be image and node
        (110.0, 59.0, "False/StartCut"),
    ):
        told.look(at, group(ready=1), wants=1, pools={"on-demand": PoolNow(start_s_max=allowed_s)})
        expect(told, conditions={"TargetsSound": status})


def test_what_cannot_be_read_is_unknown():
    told = story()
    told.look(100.0, wants=1, current={"on-demand": None, "spot": None})
    expect(told, conditions={"TargetsSound": "Unknown/TargetUnreadable"})
