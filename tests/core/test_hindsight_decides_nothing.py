"""Hindsight decides nothing: with and without it all that is decided and written is the same, byte for byte."""

from __future__ import annotations

import json

import pytest

from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.engine import build_engine
from autoscaler.core.tick.parts import Parts
from tests.core.test_scores_decide_nothing import losses, waves

WITHOUT = Parts(look_back=lambda *_, **__: None)


def whole(outcome: Outcome) -> str:
    """All of it but the hindsight."""
    bare = outcome._replace(decisions=tuple(d._replace(hindsight=None) for d in outcome.decisions))
    return json.dumps(to_builtins(bare, Outcome))


@pytest.mark.slow
@pytest.mark.parametrize("story", [waves, losses])
def test_with_and_without_it_all_else_is_the_same(story):
    outcomes = list(story(build_engine()))
    told = any(each.hindsight for outcome in outcomes for each in outcome.decisions)
    assert told is (story is waves), (
        "of replicas that finish nothing it is not known how long that takes"
    )
    without = list(story(build_engine(parts=WITHOUT)))
    assert not any(each.hindsight for outcome in without for each in outcome.decisions)
    assert [whole(each) for each in outcomes] == [whole(each) for each in without]


@pytest.mark.slow
def test_a_bug_in_it_takes_nothing_from_the_decision_and_its_scores():
    def broken(*_, **__):
        raise ZeroDivisionError

    outcomes = list(losses(build_engine(parts=Parts(look_back=broken))))
    assert any(each.hindsight == () for outcome in outcomes for each in outcome.decisions)
    assert [whole(outcome) for outcome in outcomes] == [
        whole(outcome) for outcome in losses(build_engine(parts=WITHOUT))
    ]
