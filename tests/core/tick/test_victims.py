"""Whom a scale-down takes: costs for those with the least in flight, before the scale, cleared after."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.contract.commands import SetDeletionCost, SetReplicas
from autoscaler.core.contract.state import Interruption, InterruptionKind
from autoscaler.core.supply.deletion_order import DeletionCandidate, deletion_order
from autoscaler.core.tick.victims import ASK_AGAIN_S
from tests.builders import (
    ON_DEMAND,
    SPOT,
    UNKNOWN,
    PoolNow,
    Row,
    group,
    mixed,
    model,
    node,
    notice,
)
from tests.expect import Scenario, condition, expect
from tests.extent import examples

AT = 100_000.0


def pod(name: str, running: float, *, ready_s: float = 5_000.0, **more: object) -> Row:
    """A ready replica on a node of its own."""
    row = group(running=running, ready=1, ready_age_s=ready_s, node=f"node-{name}")[0]
    return replace(row, name=name, **more)


def look(
    story: Scenario,
    *rows: Row,
    wants: int,
    at: float = AT,
    current: int | None = None,
    rolling_out: bool = False,
    **more: object,
) -> list[str]:
    story.look(
        at,
        rows,
        wants=wants,
        current=None if current is None else {"on-demand": current},
        pools={"on-demand": PoolNow(rolling_out=True)} if rolling_out else None,
        **more,
    )
    return story.commands


def test_the_youngest_busy_one_is_spared_and_nothing_else_is_marked():
    """Found: of four of whom the youngest had three streams, the busy one was the second to go."""
    story = Scenario(model(maximum=10))
    rows = [pod("busy", 3.0, ready_s=60.0), *[pod(f"idle-{i}", 0.0) for i in range(3)]]
    commands = look(story, *rows, wants=1)
    assert commands[-1] == "SetReplicas on-demand 1"
    assert sorted(commands[:-1]) == [
        "SetDeletionCost idle-0 -3",
        "SetDeletionCost idle-1 -2",
        "SetDeletionCost idle-2 -1",
    ]
    *costs, scale = story.outcome.commands
    assert scale.once_ended == tuple(each.id for each in costs)
    assert scale.expires_at > max(each.expires_at for each in costs)


def test_the_least_in_flight_goes_first_and_gets_the_lowest_cost():
    story = Scenario(model(maximum=10))
    rows = [pod("a", 7.0, ready_s=50.0), pod("b", 1.0), pod("c", 9.0), pod("d", 4.0)]
    assert look(story, *rows, wants=2) == [
        "SetDeletionCost b -2",
        "SetDeletionCost d -1",
        "SetReplicas on-demand 2",
    ]


def test_what_waits_is_in_flight():
    story = Scenario(model(maximum=10))
    rows = [pod("a", 1.0, waiting=9.0), pod("b", 2.0)]
    assert look(story, *rows, wants=1)[0] == "SetDeletionCost b -1"


def test_nothing_is_marked_where_the_replica_set_would_take_them_anyway():
    story = Scenario(model(maximum=10))
    rows = [pod("idle", 0.0, ready_s=60.0), pod("busy", 3.0), pod("busier", 5.0)]
    assert look(story, *rows, wants=2) == ["SetReplicas on-demand 2"]
    assert condition(story.decision, "VictimsChosen") == "True/CostsNotNeeded"


def test_nothing_is_marked_among_equals():
    story = Scenario(model(maximum=10))
    rows = [pod(name, 4.0, ready_s=60.0 + 7 * place) for place, name in enumerate("abcd")]
    assert look(story, *rows, wants=2) == ["SetReplicas on-demand 2"]


def test_one_on_the_edge_of_a_power_of_two_is_not_relied_on():
    # 2^36 ns are 68.7 s. Now the idle one is younger by a power; some seconds later it is not, and the UID
    # decides.
    story = Scenario(model(maximum=10))
    rows = [pod("idle", 0.0, ready_s=60.0), pod("busy", 3.0, ready_s=75.0)]
    assert look(story, *rows, wants=1)[0] == "SetDeletionCost idle -1"


def test_those_that_are_not_ready_go_first_whatever_their_cost():
    story = Scenario(model(maximum=10))
    rows = [pod("busy", 3.0, ready_s=60.0), pod("idle", 0.0), *group(starting=[20.0], node="n")]
    assert look(story, *rows, wants=2) == ["SetReplicas on-demand 2"]
    assert look(Scenario(model(maximum=10)), *rows, wants=1) == [
        "SetDeletionCost idle -1",
        "SetReplicas on-demand 1",
    ]


@pytest.mark.parametrize(
    "unknown",
    [
        {"running": UNKNOWN},
        {"sample_age_s": UNKNOWN},
        {"sample_age_s": 300.0, "running": 0.0},
    ],
    ids=["no series", "never read", "read long ago"],
)
def test_what_does_not_say_counts_as_busy_and_is_said(unknown: dict[str, float]):
    # Blind, only what binds whatever is seen scales down: here the maximum.
    rows = [
        pod("idle", 0.0),
        replace(pod("silent", 0.0, ready_s=60.0), **unknown),
        pod("busy", 8.0),
    ]
    story = Scenario(model(maximum=2))
    assert look(story, *rows, wants=3) == ["SetDeletionCost idle -1", "SetReplicas on-demand 2"]
    assert condition(story.decision, "VictimsChosen") == "True/CostsNotNeeded"
    story = Scenario(model(maximum=1))
    assert look(story, *rows, wants=3) == [
        "SetDeletionCost idle -2",
        "SetDeletionCost busy -1",
        "SetReplicas on-demand 1",
    ]


def test_a_scale_down_that_takes_one_that_does_not_say_says_so():
    rows = [pod("kept", 8.0, deletion_cost=5), pod("silent", UNKNOWN), pod("idle", 0.0)]
    story = Scenario(model(maximum=1))
    assert look(story, *rows, wants=3) == ["SetReplicas on-demand 1"]
    assert condition(story.decision, "VictimsChosen") == "False/InFlightUnknown"
    (said,) = [each for each in story.decision.conditions if each.type == "VictimsChosen"]
    assert said.message.startswith(
        "of the 2 replicas that the last scale-down took, 1 had not said"
    )


def test_among_equals_one_that_may_be_taken_away_goes_first():
    spec = model(pools=[mixed("on-demand")], maximum=10)
    nodes = [node("node-a", ON_DEMAND), node("node-b", SPOT), node("node-c", SPOT)]
    rows = [pod(name, 2.0) for name in "abc"]
    assert look(Scenario(spec), *rows, wants=2, nodes=nodes)[0] == "SetDeletionCost b -1"
    ill = [*rows[:2], replace(rows[2], gpus_unhealthy=1.0)]
    assert look(Scenario(spec), *ill, wants=2, nodes=nodes)[0] == "SetDeletionCost c -1"
    foreseen = Interruption(
        node="node-a",
        kind=InterruptionKind.RISK,
        source="cloud",
        noticed_at=AT,
        deadline_at=None,
    )
    commands = look(
        Scenario(replace(spec, max_replicas=2)),
        *rows,
        wants=3,
        nodes=nodes,
        interruptions=[foreseen],
    )
    assert commands[0] == "SetDeletionCost a -1"
    idle = [replace(rows[0], running=1.0), *ill[1:]]
    assert look(Scenario(spec), *idle, wants=2, nodes=nodes)[0] == "SetDeletionCost a -1"


def test_a_doomed_one_goes_before_an_idle_one():
    """It goes anyway: then no other has to, and nobody replaces it."""
    rows = [pod("doomed", 5.0), pod("idle", 0.0), pod("busy", 9.0)]
    story = Scenario(model(pools=[mixed("on-demand")], maximum=2, fallback=False))
    doom = [notice("node-doomed", deadline_at=AT + 100, noticed_at=AT)]
    commands = look(story, *rows, wants=3, interruptions=doom)
    assert commands[:2] == ["SetDeletionCost doomed -1", "SetReplicas on-demand 2"]


# -- costs of others


def test_costs_of_others_are_left_alone_and_heeded():
    story = Scenario(model(maximum=10))
    rows = [
        pod("kept", 0.0, deletion_cost=100),
        pod("given", 9.0, deletion_cost=-7),
        pod("busy", 5.0, ready_s=60.0),
        pod("idle", 1.0),
    ]
    # One is to go: theirs. Of two the second one is ours to choose, and it is not the one they keep.
    assert look(story, *rows, wants=3) == ["SetReplicas on-demand 3"]
    assert look(Scenario(model(maximum=10)), *rows, wants=2) == [
        "SetDeletionCost idle -1",
        "SetReplicas on-demand 2",
    ]


# -- rollouts, rights


def test_during_a_rollout_nothing_is_done():
    story = Scenario(model(maximum=10))
    rows = [
        pod("busy", 3.0, ready_s=60.0),
        pod("idle", 0.0, deletion_cost=-1, deletion_cost_ours=True),
    ]
    commands = look(story, *rows, wants=1, rolling_out=True)
    assert not [each for each in commands if each.startswith("SetDeletionCost")]


def test_without_the_right_the_scale_goes_on_and_it_is_said_once():
    story = Scenario(model(maximum=10))
    rows = [pod("busy", 3.0, ready_s=60.0), pod("idle", 0.0)]
    assert look(story, *rows, wants=1) == ["SetDeletionCost idle -1", "SetReplicas on-demand 1"]
    cost, scale = story.outcome.commands
    story.finish(AT + 1, cost, reason="Forbidden", message="lacks the verb `patch` on `pods`")
    story.finish(AT + 1, scale)
    look(story, rows[1], wants=1, at=AT + 5, current=1)
    assert condition(story.decision, "VictimsChosen") == "False/CostsForbidden"
    assert condition(story.decision, "AbleToScale").startswith("True/")
    # It is not asked on every scale-down, but some time later.
    later = AT + 30
    assert look(story, *rows, wants=1, at=later) == ["SetReplicas on-demand 1"]
    story.finish_all(later + 1)
    again = AT + ASK_AGAIN_S + 60
    assert look(story, *rows, wants=1, at=again)[0] == "SetDeletionCost idle -1"
    story.finish_all(again + 1)
    look(story, rows[1], wants=1, at=again + 5, current=1)
    assert condition(story.decision, "VictimsChosen") == "True/CostsAccepted"


def test_another_refusal_holds_up_nothing():
    story = Scenario(model(maximum=10))
    rows = [pod("busy", 3.0, ready_s=60.0), pod("idle", 0.0)]
    look(story, *rows, wants=1)
    cost, scale = story.outcome.commands
    story.finish(AT + 1, cost, reason="Conflict", message="somebody else has set it")
    story.finish(AT + 1, scale)
    # The scale is on its way: nothing is chosen anew meanwhile.
    assert look(story, *rows, wants=1, at=AT + 5) == []
    assert condition(story.decision, "AbleToScale").startswith("True/")


# -- cleared after


OURS = {"deletion_cost": -1, "deletion_cost_ours": True}


def test_what_survives_loses_our_cost_once_nothing_is_left_to_take():
    story = Scenario(model(maximum=10))
    marked, other = pod("marked", 0.0, **OURS), pod("other", 3.0)
    # The scale is written and the ReplicaSet has not acted yet: it still needs the cost.
    assert look(story, marked, other, wants=1, current=1) == []
    gone = replace(other, deleting=True)
    assert look(story, marked, gone, wants=1, current=1, at=AT + 5) == [
        "SetDeletionCost marked None"
    ]
    # On its way: not sent again; accepted and not seen yet: neither.
    assert look(story, marked, gone, wants=1, current=1, at=AT + 6) == []
    story.finish_all(AT + 7)
    assert look(story, marked, gone, wants=1, current=1, at=AT + 8) == []


def test_a_cost_of_somebody_else_is_not_cleared():
    story = Scenario(model(maximum=10))
    rows = [pod("theirs", 0.0, deletion_cost=-1), pod("other", 3.0)]
    assert look(story, *rows, wants=2) == []


def test_a_scale_down_that_was_called_off_leaves_nothing_behind():
    story = Scenario(model(maximum=10))
    rows = [pod("idle", 0.0, **OURS), pod("busy", 3.0, ready_s=60.0)]
    assert look(story, *rows, wants=2) == ["SetDeletionCost idle None"]


def test_one_that_was_marked_and_has_become_busy_is_spared():
    story = Scenario(model(maximum=10))
    rows = [pod("was-idle", 9.0, **OURS), pod("idle", 0.0), pod("busy", 3.0)]
    commands = look(story, *rows, wants=2)
    assert commands == [
        "SetDeletionCost was-idle None",
        "SetDeletionCost idle -1",
        "SetReplicas on-demand 2",
    ]
    *costs, scale = story.outcome.commands
    assert scale.once_ended == tuple(each.id for each in costs)


def test_a_mark_that_still_fits_is_not_written_again():
    story = Scenario(model(maximum=10))
    rows = [pod("idle", 0.0, **OURS), pod("busy", 3.0, ready_s=60.0)]
    assert look(story, *rows, wants=1) == ["SetReplicas on-demand 1"]


def test_blind_nothing_is_cleared():
    story = Scenario(model(maximum=10))
    rows = [pod("idle", 0.0, **OURS), pod("busy", 3.0, ready_s=60.0)]
    assert look(story, *rows, wants=2, cluster_age_s=600.0) == []


def test_a_scale_up_marks_nobody():
    story = Scenario(model(maximum=10))
    commands = look(story, pod("a", 3.0), pod("b", 0.0), wants=4)
    assert commands == ["SetReplicas on-demand 4"]


# -- against the ReplicaSet's own order

replicas = st.builds(
    lambda place, **more: (place, more),
    st.integers(0, 3),
    running=st.sampled_from([0.0, 1.0, 2.0, 5.0, UNKNOWN]),
    ready_s=st.sampled_from([1.0, 60.0, 70.0, 75.0, 300.0, 4000.0, 4300.0]),
    deletion_cost=st.sampled_from([0, 0, 0, 0, -3, 4]),
    ours=st.booleans(),
)


@pytest.mark.slow
@settings(max_examples=examples(day=150, night=3000), deadline=None)
@given(
    drawn=st.lists(replicas, min_size=2, max_size=9),
    left=st.integers(1, 8),
    uids=st.randoms(use_true_random=False),
    late_s=st.floats(0.0, 19.0),
)
def test_the_replica_set_takes_those_with_the_least_in_flight(drawn, left, uids, late_s):
    """Whatever the UIDs and a delay of the writes: none that stays had less than one that goes."""
    rows = []
    for number, (place, more) in enumerate(drawn):
        cost, ours = more["deletion_cost"], more["ours"] and more["deletion_cost"] < 0
        row = pod(f"p{number}", more["running"], ready_s=more["ready_s"])
        rows.append(replace(row, node=f"node-{place}", deletion_cost=cost, deletion_cost_ours=ours))
    left = min(left, len(rows) - 1)
    story = Scenario(model(maximum=left))  # it binds, blind or not
    assert look(story, *rows, wants=len(rows))[-1] == f"SetReplicas on-demand {left}"
    written = {
        each.pod: each.cost or 0
        for each in story.outcome.commands
        if isinstance(each, SetDeletionCost)
    }
    foreign = {row.name for row in rows if row.deletion_cost and not row.deletion_cost_ours}
    assert not foreign & written.keys()
    on_node = Counter(row.node for row in rows)
    numbers = list(range(len(rows)))
    uids.shuffle(numbers)
    candidates = [
        DeletionCandidate(
            uid=float(numbers[index]),
            bound=True,
            ready=True,
            pods_on_node=on_node[row.node],
            ready_at=AT - row.ready_age_s,
            created_at=AT - row.age_s,
            cost=written.get(row.name, row.deletion_cost),
        )
        for index, row in enumerate(rows)
    ]
    order = [rows[place] for place in deletion_order(candidates, at=AT + late_s)]
    gone, stay = order[: len(rows) - left], order[len(rows) - left :]

    def busy(row: Row) -> float:
        return float("inf") if row.running != row.running else row.running

    choosable_gone = [busy(row) for row in gone if row.name not in foreign]
    choosable_stay = [busy(row) for row in stay if row.name not in foreign]
    if choosable_gone and choosable_stay:
        assert max(choosable_gone) <= min(choosable_stay)
    assert not any(row.deletion_cost < 0 for row in stay if row.name in foreign) or all(
        row.deletion_cost < 0 for row in gone
    )


def test_marks_are_few_where_there_are_thousands():
    """A scale-down of a thousand: as many marks as the API server takes in time, those with the least."""
    rows = [pod(f"p{i:04d}", float(i % 50), ready_s=4000.0) for i in range(600)]
    story = Scenario(model(maximum=1000))
    look(story, *rows, wants=100)
    costs = [each for each in story.outcome.commands if isinstance(each, SetDeletionCost)]
    assert len(costs) == 250
    in_flight = {row.name: row.running for row in rows}
    assert max(in_flight[each.pod] for each in costs) <= 20.0
    assert isinstance(story.outcome.commands[-1], SetReplicas)


def test_expected_commands_are_in_words():
    story = Scenario(model(maximum=10))
    look(story, pod("a", 3.0), pod("b", 0.0), wants=1)
    expect(story, desired=1, commands=["SetDeletionCost b -1", "SetReplicas on-demand 1"])
