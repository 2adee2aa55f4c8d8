"""The candidates policy: the rule's number, what waits, the floor, and whose turn it is."""

from __future__ import annotations

import math

import pytest

from autoscaler.core.candidates import Played, Rule, Standing
from autoscaler.core.policy import POLICIES
from tests.core.policy.test_policy import ahead, demand, flat, given_to

RULE = Rule(mean_s=30.0, window=4, share=0.5)
PLAYED = Played(
    rule=RULE,
    replicas=5,
    load=1.23,
    load_from=1.02,
    load_to=1.27,
    carried_ratio=0.5,
    sureness_ratio=0.93,
    since=800.0,
    standing=Standing(replicas=4.25, attained_ratio=0.9941),
    runner_up=Rule(mean_s=120.0, window=8, share=1.0),
    runner_up_standing=Standing(replicas=4.5, attained_ratio=0.9987),
    settled=True,
)
MADE = ahead(*flat(2.0))


def proposed(played: Played | None = PLAYED, **changes):
    waiting = changes.pop("waiting", 0.0)
    backlog = changes.pop("backlog_replica_s", None)
    asked = demand(2.0, waiting=waiting, backlog_replica_s=backlog)
    given = given_to(
        asked, MADE, ready=4, played=played, carried_ratio=0.5, offered_replicas=2.0, **changes
    )
    return POLICIES["candidates"](given)


def test_it_proposes_what_the_rule_asks_for_and_says_why():
    proposal = proposed()
    assert (proposal.replicas, proposal.policy, proposal.reason) == (
        5,
        "candidates",
        "CheapestRule",
    )
    assert proposal.message == (
        "the highest load of 20 min (means of 30 s), replicas filled to 0.50: 1.23, and from 1.02 to 1.27 it "
        "asks for 5; decides for 20 min: it would have had 4.25 replicas and attained 99.41 %; next the highest load of 12 h (means of 120 s), replicas filled "
        "to 1.00: had 4.50 replicas and attained 99.87 %; a replica carries 0.50 of its target (sure to 93 %); "
        "as the test says"
    )


@pytest.mark.parametrize(
    ("load_from", "load_to", "said"),
    [
        (0.0, 1.27, ": 1.23, and up to 1.27 it asks for 5;"),
        (1.02, math.inf, ": 1.23, and from 1.02 on it asks for 5;"),
        (0.0, math.inf, ": 1.23, and at any load it asks for 5;"),
    ],
)
def test_it_says_which_load_would_ask_for_another_number(load_from, load_to, said):
    played = PLAYED._replace(load_from=load_from, load_to=load_to)
    assert said in proposed(played).message


@pytest.mark.parametrize("played", [None, PLAYED._replace(settled=False)])
def test_until_a_rule_is_known_the_economic_one_decides(played):
    proposal = proposed(played)
    assert proposal.policy == "economic"
    assert proposal == POLICIES["economic"](
        given_to(demand(2.0), MADE, ready=4, carried_ratio=0.5, offered_replicas=2.0)
    )


def test_what_waits_asks_for_as_many_as_clear_it_in_replicas_as_they_really_carry():
    """Four ready that carry half of the target are full with a load of two: the queue stays."""
    proposal = proposed(waiting=60.0, backlog_replica_s=400.0)
    assert proposal.reason == "CheapestRule", "the rule asks for more than the load and what waits"
    few = proposed(PLAYED._replace(replicas=2), waiting=60.0, backlog_replica_s=400.0)
    assert (few.replicas, few.reason) == (4, "RequestsWait")


def test_the_floor_and_the_first_rule():
    assert proposed(floor=8)[:3] == (8, "candidates", "AtFloor")
    first = proposed(PLAYED._replace(since=None, standing=None, runner_up=None))
    assert "decides until others are known; a replica carries" in first.message
