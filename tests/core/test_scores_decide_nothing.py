"""Scores decide nothing: with and without them all that is said and written is the same, byte for byte.

And what is decided is what was decided before there were scores: the digests were made then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.contract.commands import Command
from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from autoscaler.core.tick.parts import Parts
from tests.benchmarks.tick import BEGIN_AT, Story
from tests.builders import (
    ON_DEMAND,
    group,
    lost,
    model,
    notice,
    observed,
    on_demand,
    seen,
    specified,
    spot,
)

UNSCORED = Parts(score=lambda *_, **__: None)


def waves(engine: Engine) -> Iterator[Outcome]:
    """A load that waves around what five replicas carry; the scale follows the decisions."""
    story = Story(replicas=5)
    yield engine.handle(specified(story.spec(), at=BEGIN_AT))
    for _ in range(150):
        outcome = engine.handle(story.look())
        story.follow(outcome.decisions[-1])
        yield outcome


def losses(engine: Engine) -> Iterator[Outcome]:
    """Two models under a budget; one node is noticed and goes, one is lost; a third model is not seen."""
    one = model("one", pools=[on_demand("o1"), spot("s1")], warm=1, warm_on=ON_DEMAND, priority=1)
    two = model("two", pools=[on_demand("o2"), spot("s2")], warm=1, warm_on=ON_DEMAND)
    yield engine.handle(specified(one, two, model("unseen"), gpu_budget=9))
    for tick in range(60):
        at = 5.0 * tick
        taken = [notice("n1", deadline_at=250.0, noticed_at=100.0)] if tick > 20 else []
        parts = [
            seen(
                spec,
                group(names[0], ready=1, running=30.0 + tick % 7, starting=[at] if tick < 30 else []),
                group(names[1], ready=1, node="n1", running=40.0 - tick % 5, name="a"),
                group(names[1], ready=2, node="n2", running=20.0 + tick % 3, waiting=9.0, name="b"),
            )
            for spec, names in ((one, ("o1", "s1")), (two, ("o2", "s2")))
        ]  # fmt: skip
        yield engine.handle(
            observed(
                *parts,
                at=at,
                id=tick + 1,
                interruptions=[*taken, *([lost("n2")] if tick > 40 else [])],
                cluster_age_s=60.0 if tick == 50 else 0.0,
            )
        )


def whole(outcome: Outcome) -> str:
    """All of it but the scores."""
    bare = outcome._replace(decisions=tuple(d._replace(scores=None) for d in outcome.decisions))
    return json.dumps(to_builtins(bare, Outcome))


def decided(outcome: Outcome) -> str:
    """What other machines and versions must decide alike: numbers, commands and reasons."""

    def of(decision: Decision) -> list[object]:
        steps = [[step.by, step.before, step.after, step.reason] for step in decision.trail]
        pools = [[pool.pool, pool.desired_replicas, pool.fallback_replicas] for pool in decision.pools]  # fmt: skip
        return [decision.model, decision.direction, decision.desired_replicas, pools, steps]

    commands = [to_builtins(command, Command) for command in outcome.commands]
    return json.dumps([[of(decision) for decision in outcome.decisions], commands])


BEFORE = {waves: "9164ffa6f83d943a", losses: "538889d13ad136df"}
"""Digests of what was decided, made before there were scores."""


@pytest.mark.parametrize("story", [waves, losses])
def test_decisions_are_as_they_were_before_there_were_scores(story):
    told = hashlib.sha256("\n".join(map(decided, story(build_engine()))).encode())
    assert told.hexdigest()[:16] == BEFORE[story]


@pytest.mark.slow
@pytest.mark.parametrize("story", [waves, losses])
def test_with_and_without_scores_all_else_is_the_same(story):
    settings = EngineSettings()
    with_them = [whole(outcome) for outcome in story(build_engine(settings))]
    without = [whole(outcome) for outcome in story(build_engine(settings, parts=UNSCORED))]
    assert with_them == without


@pytest.mark.slow
def test_a_bug_in_the_scores_takes_nothing_from_the_decision():
    def broken(*_, **__):
        raise ZeroDivisionError

    story = [whole(outcome) for outcome in losses(build_engine(parts=Parts(score=broken)))]
    assert story == [whole(outcome) for outcome in losses(build_engine(parts=UNSCORED))]
