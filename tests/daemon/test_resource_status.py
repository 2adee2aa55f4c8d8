"""What a resource's status says of a decision: each condition in every state, its time, its generation."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from autoscaler.core.contract.decision import Condition, Decision
from autoscaler.core.contract.reasons import (
    ConditionReason,
    ConditionType,
    FindingReason,
    Reason,
)
from autoscaler.core.contract.spec import Mode, Pause
from autoscaler.core.tick.conditions import describe_hold
from autoscaler.daemon.resource_status import (
    PAUSED,
    ResourceNow,
    StatusReason,
    Transition,
    calm_marks,
    describe_resource,
    transitions,
    urgent_marks,
)
from autoscaler.daemon.telemetry.words import COMMAND_REASONS
from autoscaler.errors import SpecProblem
from autoscaler.explain.explanation import headline
from autoscaler.kube.api.timestamps import rfc3339
from autoscaler.settings.crd import resource_schema
from autoscaler.settings.resource_status import ConditionStatus, ResourceStatus
from tests.builders import group, model
from tests.expect import Scenario

AT = 1_790_000_000.0
NOW = rfc3339(AT)
PROBLEM = SpecProblem(
    path="InferenceAutoscaler serving/llama: spec.warmFloor.schedules[0].timeZone",
    found='"Europe/Berln"',
    remedy="write Europe/Berlin",
)


@pytest.fixture
def decision() -> Decision:
    """A real one: four ready replicas, six asked for by the policy."""
    story = Scenario(model())
    # Scenarios tell the policy what to say; its reason is a word of none.
    return story.look(1000, group(ready=4), wants=6)._replace(reason=Reason.WORTH_ITS_COST)


def described(told: ResourceNow, *, before: dict[str, Transition] | None = None) -> ResourceStatus:
    return describe_resource(told, before=before or {}, at=AT)


def said(status: ResourceStatus, kind: str) -> ConditionStatus:
    (found,) = (each for each in status.conditions if each.type == kind)
    return found


def with_condition(decision: Decision, changed: Condition) -> Decision:
    kept = [changed if each.type == changed.type else each for each in decision.conditions]
    return decision._replace(conditions=tuple(kept))


def used(
    decision: Decision, *, generation: int = 3, pause: Pause = Pause.NO, mode: Mode = Mode.ACTIVE
) -> ResourceNow:
    return ResourceNow(
        generation=generation,
        decision=decision,
        specification=model(pause=pause, mode=mode),
        decided_generation=generation,
    )


# -- conditions


def test_every_condition_is_there_in_order_and_nothing_else(decision):
    status = described(used(decision))
    assert [each.type for each in status.conditions] == [*ConditionType, PAUSED]


@pytest.mark.parametrize("state", ["True", "False", "Unknown"])
@pytest.mark.parametrize("kind", ConditionType)
def test_a_condition_of_the_decision_is_that_of_the_status(decision, kind, state):
    made = Condition(type=kind, status=state, reason="Observing", message="4 of 5")
    found = said(described(used(with_condition(decision, made))), kind)
    assert (found.status, found.reason, found.message) == (state, "Observing", "4 of 5")
    assert (found.observed_generation, found.last_transition_time) == (3, NOW)


@pytest.mark.parametrize(
    ("pause", "state", "reason", "words"),
    [
        (Pause.NO, "False", "NotPaused", "it is not paused"),
        (Pause.ALL, "True", "Paused", "the scale is held"),
        (Pause.SCALE_DOWN, "True", "ScaleDownPaused", "no scale-down"),
        (Pause.SCALE_UP, "True", "ScaleUpPaused", "no scale-up, but for what replaces spot"),
    ],
)
def test_whether_it_is_paused_is_a_condition_of_its_own(decision, pause, state, reason, words):
    found = said(described(used(decision, pause=pause)), PAUSED)
    assert (found.status, found.reason) == (state, reason)
    assert words in found.message


def test_a_pause_that_is_at_a_number_says_it_and_another_number_is_told_soon(decision):
    spec = replace(model(pause=Pause.ALL), paused_replicas=4)
    held = used(decision)._replace(specification=spec)
    assert said(described(held), PAUSED).message == "paused by annotation: the scale is held at 4"
    other = held._replace(specification=replace(spec, paused_replicas=5))
    assert urgent_marks(held) != urgent_marks(other)


def test_of_what_nothing_was_decided_yet_everything_is_unknown():
    status = described(ResourceNow(generation=1))
    assert {(each.status, each.reason) for each in status.conditions} == {("Unknown", "NotDecided")}
    assert (status.observed_generation, status.reason) == (1, "NotDecided")
    assert (status.desired_replicas, status.last_decision) == (None, None)


def test_one_that_is_refused_is_not_ready_and_the_rest_is_of_what_stays_in_use(decision):
    told = used(decision)._replace(generation=4, problems=(PROBLEM,))
    status = described(told)
    assert (status.observed_generation, status.reason) == (4, "Refused")
    ready, able = said(status, "Ready"), said(status, "AbleToScale")
    assert (ready.status, ready.reason, ready.observed_generation) == ("False", "Refused", 4)
    assert ready.message == (
        "not used, generation 3 stays in use: spec.warmFloor.schedules[0].timeZone: "
        'found "Europe/Berln", write Europe/Berlin'
    )
    assert (able.status, able.observed_generation) == ("True", 3)
    assert status.desired_replicas == 6


@pytest.mark.parametrize("used_before", [True, False])
def test_one_whose_target_another_has_is_in_conflict_with_it(decision, used_before):
    problem = SpecProblem(
        path="InferenceAutoscaler serving/b: spec.pools[0].scaleTargetRef",
        found="Deployment/serving/llama, which InferenceAutoscaler serving/a: spec.pools[0].scaleTargetRef has already",
        remedy="let each target be scaled by one pool of one model",
        contested=True,
    )
    told = used(decision) if used_before else ResourceNow(generation=1)
    status = described(told._replace(problems=(PROBLEM, problem)))
    conflicted = said(status, "Conflicted")
    assert (conflicted.status, conflicted.reason) == ("True", "InferenceAutoscaler")
    assert conflicted.message == (
        "not used: spec.pools[0].scaleTargetRef: found Deployment/serving/llama, which InferenceAutoscaler serving/a: "
        "spec.pools[0].scaleTargetRef has already, let each target be scaled by one pool of one model"
    )
    assert said(status, "Ready").reason == "Refused"
    mended = described(told._replace(problems=(PROBLEM,)))
    assert said(mended, "Conflicted").reason != "InferenceAutoscaler"


def test_one_that_was_refused_from_the_first_has_nothing_in_use():
    status = described(ResourceNow(generation=1, problems=(PROBLEM,)))
    assert said(status, "Ready").message.startswith("not used, its model is not touched: spec.")
    assert (said(status, "Ready").status, said(status, "AbleToScale").status) == (
        "False",
        "Unknown",
    )
    assert said(status, "AbleToScale").reason == "Refused"


def test_a_target_that_does_not_exist_is_told_with_what_there_is(decision):
    text = "Deployment/serving/lama does not exist; in serving there are: llama"
    status = described(used(decision)._replace(missing=text))
    able = said(status, "AbleToScale")
    assert (able.status, able.reason, able.message) == ("False", "TargetMissing", text)
    assert said(status, "Ready").status == "True", "its other pools are scaled"
    held = describe_hold(Reason.TARGET_UNREADABLE, "cannot be read")
    alone = used(decision._replace(conditions=held, reason=Reason.TARGET_UNREADABLE))
    ready = said(described(alone._replace(missing=text)), "Ready")
    assert (ready.status, ready.reason, ready.message) == ("False", "TargetUnreadable", text)
    assert urgent_marks(alone._replace(missing=text)) != urgent_marks(alone)


def test_a_model_about_which_nothing_can_be_said_is_not_ready(decision):
    held = describe_hold(Reason.UNOBSERVED, "the namespace refuses")
    status = described(used(decision._replace(conditions=held, reason=Reason.UNOBSERVED)))
    assert (said(status, "Ready").status, said(status, "Ready").reason) == ("False", "Unobserved")
    assert status.reason == "Unobserved"
    assert (status.current_replicas, status.ready_replicas) == (None, None), "unknown, not zero"


# -- times


def test_the_time_of_a_condition_changes_with_its_status_alone(decision):
    first = described(used(decision))
    long_ago = {
        each.type: Transition(each.status, "2026-01-01T00:00:00Z") for each in first.conditions
    }
    other = Condition(
        type=ConditionType.METRICS_AVAILABLE, status="True", reason="ReplicasMute", message="other"
    )
    same = described(used(with_condition(decision, other)), before=long_ago)
    assert {each.last_transition_time for each in same.conditions} == {"2026-01-01T00:00:00Z"}
    assert said(same, "MetricsAvailable").message == "other"
    turned = described(
        used(with_condition(decision, other._replace(status="False"))), before=long_ago
    )
    changed = [each.type for each in turned.conditions if each.last_transition_time == NOW]
    assert changed == ["MetricsAvailable"]


def test_what_was_written_before_is_read_as_far_as_it_is_ours(decision):
    status = described(used(decision)).model_dump(mode="json", by_alias=True)
    found = transitions(status)
    assert found["Ready"] == Transition("True", NOW)
    assert len(found) == len(ConditionType) + 1
    for junk in ({}, {"conditions": None}, {"conditions": [3, {}, {"type": 1}]}):
        assert transitions(junk) == {}


# -- numbers and words


def test_numbers_are_those_of_the_decision_over_all_pools(decision):
    status = described(used(decision))
    assert (status.current_replicas, status.ready_replicas, status.desired_replicas) == (4, 4, 6)
    assert status.warm_floor_replicas == decision.measures.warm_floor_replicas
    assert status.reason == decision.reason


def test_the_decision_is_a_sentence_with_the_figures_of_its_last_step(decision):
    figures = f"; {decision.trail[-1].message}"
    raised = described(used(decision)).last_decision or ""
    assert raised.startswith(f"{headline(decision)}; ")
    assert raised.startswith("scales up from 4 to 6 replicas: ")
    assert raised.endswith(figures)
    watched = described(used(decision, mode=Mode.OBSERVE)).last_decision or ""
    assert watched.startswith("would scale up from 4 to 6 replicas: ")
    assert watched.endswith(f"(mode Observe: nothing is written){figures}")
    held = Scenario(model()).look(1000, group(ready=4), wants=4)
    held = held._replace(reason=Reason.WORTH_ITS_COST)
    assert (described(used(held)).last_decision or "").startswith("stays at 4 replicas: ")
    unknown = held._replace(current_replicas=None, desired_replicas=None, trail=())
    assert described(used(unknown)).last_decision == headline(unknown)


def test_a_long_message_is_cut(decision):
    long = decision.trail[-1]._replace(message="x" * 5000)
    status = described(used(decision._replace(trail=(long,))))
    assert status.last_decision is not None
    assert len(status.last_decision) == 1024


def test_every_reason_is_one_word_that_the_schema_takes():
    conditions = resource_schema()["properties"]["status"]["properties"]["conditions"]
    pattern = conditions["items"]["properties"]["reason"]["pattern"]
    sets = (Reason, ConditionReason, FindingReason, StatusReason, COMMAND_REASONS)
    for reason in [str(each) for words in sets for each in words]:
        assert re.fullmatch(pattern, reason)
        assert " " not in reason


# -- what is written when


def test_numbers_statuses_and_generations_are_urgent_and_reasons_are_not(decision):
    told = used(decision)
    assert urgent_marks(told) == urgent_marks(used(decision._replace(at=2000.0)))
    turned = Condition(ConditionType.METRICS_AVAILABLE, "False", "MetricsStale", "")
    for other in (
        told._replace(generation=4),
        told._replace(problems=(PROBLEM,)),
        used(decision, pause=Pause.ALL),
        used(decision._replace(desired_replicas=7)),
        used(with_condition(decision, turned)),
        ResourceNow(generation=3),
    ):
        assert urgent_marks(other) != urgent_marks(told)
    why = used(decision._replace(reason=Reason.WARM_FLOOR))
    assert urgent_marks(why) == urgent_marks(told)
    assert calm_marks(why) != calm_marks(told)
    step = decision.trail[-1]._replace(message="forecast 1.71")
    moved = used(decision._replace(trail=(*decision.trail[:-1], step)))
    assert (urgent_marks(moved), calm_marks(moved)) == (urgent_marks(told), calm_marks(told))
