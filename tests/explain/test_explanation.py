"""Decisions of a real engine, told: what is said is what the decision says, and nothing unknown is said to be zero."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.contract.decision import (
    AttainedShare,
    Attainment,
    Direction,
    ErrorBudget,
    Step,
)
from autoscaler.core.contract.hindsight import HindsightPolicy, PolicyHindsight, WindowHindsight
from autoscaler.core.contract.reasons import Reason, StepBy
from autoscaler.core.contract.spec import Mode, Pause
from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.explain import asked_of, explain, read_asked, status_row
from autoscaler.explain.asked import write_asked
from autoscaler.explain.explanation import headline
from tests.builders import ON_DEMAND, group, model, observed, on_demand, seen, specified, spot

SPEC = model(pools=[on_demand(price=3.0), spot(price=1.0)], maximum=8, warm=1, warm_on=ON_DEMAND)
ASKED = asked_of(SPEC)


def decide(*groups, ticks: int = 1, spec=SPEC):
    engine = build_engine(EngineSettings(start_without_windows=True))
    at = 1_800_000_000.0
    engine.handle(specified(spec, at=at))
    outcome = None
    for _ in range(ticks):
        at += 5.0
        outcome = engine.handle(observed(seen(spec, *groups), at=at))
    assert outcome is not None
    return outcome.decisions[0]


@pytest.fixture(scope="module")
def decision():
    return decide(
        group("on-demand", ready=1, running=20.0), group("spot", ready=1, running=12.0), ticks=3
    )


def told(decision, asked=ASKED) -> dict[str, str]:
    return {each.title: "\n".join(each.lines) for each in explain(decision, asked).sections}


def test_what_was_seen_is_told_with_its_age(decision):
    said = told(decision)["What was seen"]
    assert "0 requests wait, 32 run" in said
    assert "the oldest sample is" in said


def test_what_is_unknown_is_not_told_as_zero():
    blind = decide(group("on-demand", ready=1, running=None), group("spot", ready=0))
    said = told(blind)
    assert said["What was seen"] == "Nothing is known of what its replicas do."
    assert "0 requests" not in said["What was seen"]
    assert "Not known: no engine tells" in said["What was attained"]
    assert "not known yet" in said["What is expected"]


def test_the_trail_is_told_step_by_step(decision):
    lines = told(decision)["How the number came about"].splitlines()
    assert len(lines) == len(decision.trail)
    for line, step in zip(lines, decision.trail, strict=True):
        assert line.startswith(f"{step.by}")
        assert str(step.reason) in line
        assert step.message in line


def step(by, before, after, reason):
    return Step(by=by, before=before, after=after, reason=reason, message="as it was")


def test_what_would_have_made_it_another_is_the_undoing_of_each_step_that_changed_it(decision):
    trail = (
        step(StepBy.POLICY, 2, 9, Reason.CHEAPEST_RULE),
        step(StepBy.STABILIZATION, 9, 9, Reason.SCALE_DOWN_STABILIZED),
        step(StepBy.BOUNDS, 9, 8, Reason.TOO_MANY_REPLICAS),
        step(StepBy.BUDGET, 8, 5, Reason.GPU_BUDGET),
    )
    said = told(decision._replace(trail=trail, reason=Reason.GPU_BUDGET))
    assert said["What would have made it another"].splitlines() == [
        "It would be 8 with a larger --gpu-budget, or once another model gives GPUs back: the GPU budget made it 5.",
        "It would be 9 with a larger `maxReplicas`: the bounds made it 8.",
    ]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_makes_a_sentence(decision, reason):
    assert headline(decision._replace(reason=reason), ASKED).count(": ") >= 1


@pytest.mark.parametrize(
    ("direction", "current", "desired", "mode", "said"),
    [
        (Direction.UP, 2, 3, Mode.ACTIVE, "scales up from 2 to 3 replicas: "),
        (Direction.DOWN, 3, 1, Mode.ACTIVE, "scales down from 3 to 1 replica: "),
        (Direction.HOLD, 3, 3, Mode.ACTIVE, "stays at 3 replicas: "),
        (Direction.UP, 2, 3, Mode.OBSERVE, "would scale up from 2 to 3 replicas: "),
        (Direction.HOLD, None, None, Mode.ACTIVE, "decides nothing: "),
    ],
)
def test_the_headline_says_what_is_done(decision, direction, current, desired, mode, said):
    changed = decision._replace(
        direction=direction, current_replicas=current, desired_replicas=desired
    )
    found = headline(changed, ASKED._replace(mode=mode))
    assert found.startswith(said)
    assert found.endswith("(mode Observe: nothing is written)") is (mode is Mode.OBSERVE)


SHARE = AttainedShare(requests=400.0, ratio=0.985, low_ratio=0.98, high_ratio=0.99)


def attained(*left: float | None) -> Attainment:
    spans = (3_600, 86_400, 2_592_000)
    return Attainment(
        ttft=SHARE,
        tpot=SHARE,
        both=SHARE,
        ttft_bounds_s=None,
        tpot_bounds_s=None,
        by_gaps=False,
        budgets=tuple(
            ErrorBudget(
                span_s=span, requests=400.0, missed_requests=6.0, burn_ratio=1.5, left_ratio=each
            )
            for span, each in zip(spans, left, strict=True)
        ),
    )


def test_budgets_of_which_the_same_is_known_are_told_together(decision):
    said = told(decision._replace(attainment=attained(-0.5, -0.5, 0.25)))["What was attained"]
    assert "98.50 % of 400 requests in the last hour (98.00 % to 99.00 %)" in said
    assert "in 1 h and 1 d: nothing is left, 1.5 times as much was missed." in said
    assert "in 30 d: 25 % is left." in said


def test_hindsight_tells_of_the_time_that_is_known(decision):
    policies = (
        PolicyHindsight(HindsightPolicy.OWN, replica_s=7_200.0, usd=6.0, attained_ratio=0.995),
        PolicyHindsight(HindsightPolicy.STATIC, 10_800.0, None, 0.9987, replicas=3),
    )
    window = WindowHindsight(3_600, 3_600.0, 900.0, 0.99, policies)
    empty = window._replace(span_s=86_400, covered_s=0.0)
    partly = window._replace(span_s=86_400, covered_s=7_200.0)
    said = told(decision._replace(hindsight=(window, empty)))["What others would have cost"]
    assert said == (
        "In the last 1 h: this $6.00 and 99.50 %; static of 3 3.00 replicas and 99.87 %."
    )
    said = told(decision._replace(hindsight=(partly,)))["What others would have cost"]
    assert said.startswith("In the last 1 d (known of 2 h of it): ")


def test_only_conditions_that_ask_for_somebody_are_told(decision):
    bad = [each for each in decision.conditions if each.status == "False"]
    said = told(decision).get("What somebody may have to see to", "")
    assert "Ready is True" not in said
    assert all(f"{each.type} is" in said for each in bad if each.type == "AttainmentKnown")


def test_the_row_of_a_model_says_what_its_decision_says(decision):
    row = status_row(decision._replace(attainment=attained(0.4, 0.3, 0.2)), ASKED)
    assert (row.model, row.mode) == ("serving/llama", "Active")
    assert (row.ready_replicas, row.current_replicas) == (2, 2)
    assert row.desired_replicas == decision.desired_replicas
    assert row.budget_left_ratio == 0.3
    assert row.attained_ratio == 0.985
    desired = {pool.pool: pool.desired_replicas for pool in decision.pools}
    assert row.usd_per_hour == 3.0 * desired["on-demand"] + 1.0 * desired["spot"]


def test_a_pool_without_a_price_leaves_the_cost_unknown(decision):
    pools = tuple(pool._replace(price_usd_per_hour=None) for pool in ASKED.pools)
    asked = ASKED._replace(pools=pools)
    assert status_row(decision, asked).usd_per_hour is None
    assert "What is desired costs" not in told(decision, asked)["Where the replicas are"]


@pytest.mark.parametrize(
    ("pause", "shown"),
    [
        (Pause.NO, "Active"),
        (Pause.ALL, "Paused"),
        (Pause.SCALE_DOWN, "ScaleUpOnly"),
        (Pause.SCALE_UP, "ScaleDownOnly"),
    ],
)
def test_a_pause_is_shown(decision, pause, shown):
    assert status_row(decision, ASKED._replace(pause=pause)).mode == shown


def test_what_is_asked_can_be_written_and_read():
    spec = replace(SPEC, mode=Mode.OBSERVE)
    assert read_asked(write_asked(asked_of(spec))) == asked_of(spec)


def test_a_pool_that_cannot_be_read_leaves_the_cost_unknown(decision):
    """What it has is not nothing: the sum of the others would be a figure of no fleet."""
    first, *others = decision.pools
    unread = decision._replace(pools=(first._replace(desired_replicas=None), *others))
    assert status_row(unread, ASKED).usd_per_hour is None
    assert "What is desired costs" not in told(unread)["Where the replicas are"]
