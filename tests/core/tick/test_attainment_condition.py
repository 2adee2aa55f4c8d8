"""What is said of whether it is known what was attained."""

from __future__ import annotations

from autoscaler.core.contract.decision import AttainedShare, Attainment
from autoscaler.core.contract.spec import Objective
from autoscaler.core.tick.attainment_condition import describe_attainment
from tests.builders import group, model, on_demand
from tests.expect import Scenario, expect

OBJECTIVE = Objective(ttft_s=2.0, tpot_s=0.1)
SHARE = AttainedShare(requests=100.0, ratio=0.9, low_ratio=0.85, high_ratio=0.952)
KNOWN = Attainment(
    ttft=SHARE,
    tpot=SHARE,
    both=SHARE,
    ttft_bounds_s=None,
    tpot_bounds_s=None,
    by_gaps=False,
    budgets=(),
)


def said(attainment: Attainment | None) -> str:
    found = describe_attainment(attainment, OBJECTIVE)
    return f"{found.status}/{found.reason}: {found.message}"


def test_bounds_near_the_objective():
    assert said(KNOWN) == (
        "True/BoundsNear: the engines' histograms have bounds near the objective"
    )


def test_gaps_between_tokens_are_said_to_be_what_they_are():
    assert "gaps between tokens" in said(KNOWN._replace(by_gaps=True))


def test_no_bound_near_makes_of_the_share_an_interval():
    assert said(KNOWN._replace(ttft_bounds_s=(1.0, 2.5))) == (
        "False/NoBoundNear: first token: 2 s is between the bounds 1 and 2.5 s: attained between 85.0% and "
        "95.2%; ask for a bound, or give the engine one there"
    )


def test_an_objective_over_all_bounds():
    found = said(KNOWN._replace(ttft=None, ttft_bounds_s=(1.0, float("inf"))))
    assert "2 s is over the last bound, 1 s; ask" in found


def test_no_histograms():
    assert said(None).startswith("Unknown/HistogramsMissing: ")


def test_it_is_said_on_every_tick():
    told = Scenario(model(pools=[on_demand()]))
    told.look(100.0, group(ready=1), wants=1)
    expect(told, conditions={"AttainmentKnown": "Unknown/HistogramsMissing"})
