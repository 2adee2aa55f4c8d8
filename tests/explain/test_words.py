"""No word of a decision is without a sentence."""

import pytest

from autoscaler.core.contract.reasons import ConditionType, Reason, StepBy
from autoscaler.explain.words import BAD_STATUS, BECAUSE, OTHERWISE, STEPS


@pytest.mark.parametrize(
    ("words", "told"), [(StepBy, STEPS), (Reason, BECAUSE), (ConditionType, BAD_STATUS)]
)
def test_each_word_is_told(words, told):
    assert set(told) == set(words)


def test_what_a_guard_did_can_be_undone():
    """Policies propose, and what broke has no remedy but a report; every other reason says when it would end."""
    proposals = {
        Reason.AT_FLOOR,
        Reason.CHEAPEST_RULE,
        Reason.DEMAND_UNKNOWN,
        Reason.FOLLOWS_DEMAND,
        Reason.NO_HISTORY,
        Reason.REQUESTS_WAIT,
        Reason.WORTH_ITS_COST,
    }
    broken = {
        Reason.INVARIANT_BROKEN,
        Reason.TARGET_UNREADABLE,
        Reason.UNOBSERVED,
        Reason.FALLBACK_RELEASED,
    }
    assert set(OTHERWISE) == set(Reason) - proposals - broken


@pytest.mark.parametrize("sentence", [*BECAUSE.values(), *OTHERWISE.values(), *STEPS.values()])
def test_they_are_parts_of_sentences(sentence):
    assert sentence[0].islower() or sentence[0] == "`"
    assert not sentence.endswith(".")
