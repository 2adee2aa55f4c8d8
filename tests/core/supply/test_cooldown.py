"""Places that cool: after which events, for how long, and what a restart forgets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.contract.codec import from_builtins, to_builtins
from autoscaler.core.contract.state import InterruptionKind
from autoscaler.core.supply.cooldown import (
    NEVER_COOLED,
    CooldownMemory,
    Places,
    watch_places,
)
from autoscaler.core.supply.doomed import find_doomed
from autoscaler.core.supply.supply import PoolSupply
from tests.builders import ON_DEMAND, SPOT, group, lost, model, node, notice, observed, seen, spot
from tests.rows import NodeRow, Row

SPEC = model(pools=[spot("a"), spot("b")])


def look(
    memory: CooldownMemory,
    at: float,
    *rows: list[Row],
    nodes: list[NodeRow],
    interruptions=(),
    stuck: dict[int, PoolSupply] | None = None,
) -> Places | None:
    event = observed(seen(SPEC, *rows), at=at, nodes=nodes, interruptions=interruptions)
    return watch_places(
        memory,
        at=at,
        spec=SPEC,
        members=(0, 1),
        nodes=event.nodes,
        replicas=event.models[0].replicas,
        supply=[(stuck or {}).get(index, PoolSupply()) for index in range(2)],
        doom=find_doomed(event.nodes, event.interruptions, at=at),
        cold_start_s=90.0,
    )


def until(places: Places | None, pool: int = 0) -> float:
    assert places is not None
    return places.pools[pool].cooling_until


A1, A2, B1 = (node(name, SPOT, zone=name[0]) for name in ("a1", "a2", "b1"))
ROWS = [
    group("a", ready=2, node="a1"),
    group("a", ready=1, node="a2", name="x"),
    group("b", ready=1, node="b1"),
]
NODES = [A1, A2, B1]
CALM = {"nodes": NODES}


def taken(*names: str):
    return {
        "nodes": NODES,
        "interruptions": [notice(name, deadline_at=10_000.0) for name in names],
    }


def test_an_interruption_cools_its_place_and_no_other():
    memory = CooldownMemory()
    assert until(look(memory, 0.0, *ROWS, **CALM)) == NEVER_COOLED
    places = look(memory, 10.0, *ROWS, **taken("a1"))
    assert (until(places, 0), until(places, 1)) == (190.0, NEVER_COOLED)
    assert [places.pools[index].zone for index in (0, 1)] == ["a", "b"]


def test_an_interruption_that_holds_counts_once_and_a_second_begins_the_time_anew():
    memory = CooldownMemory()
    look(memory, 0.0, *ROWS, **taken("a1"))
    assert until(look(memory, 100.0, *ROWS, **taken("a1"))) == 180.0
    assert until(look(memory, 150.0, *ROWS, **taken("a1", "a2"))) == 330.0


def test_a_place_that_fails_again_soon_cools_twice_as_long_up_to_half_an_hour():
    memory = CooldownMemory()
    at, lengths = 0.0, []
    for _ in range(6):
        until_at = until(look(memory, at, *ROWS, **taken("a1")))
        lengths.append(until_at - at)
        look(memory, until_at, *ROWS, **CALM)
        at = until_at + 5.0
    assert lengths == [180.0, 360.0, 720.0, 1440.0, 1800.0, 1800.0]


@pytest.mark.parametrize(("calm_s", "length_s"), [(359.0, 360.0), (361.0, 180.0)])
def test_a_place_that_was_calm_for_twice_its_time_is_forgiven(calm_s, length_s):
    memory = CooldownMemory()
    look(memory, 0.0, *ROWS, **taken("a1"))
    look(memory, 5.0, *ROWS, **CALM)
    again = 180.0 + calm_s
    assert until(look(memory, again, *ROWS, **taken("a1"))) == again + length_s


def test_several_at_once_are_one_failure():
    memory = CooldownMemory()
    assert until(look(memory, 0.0, *ROWS, **taken("a1", "a2"))) == 180.0
    assert memory.places["a/"].length_s == 180.0


def test_lost_without_a_notice_and_at_risk_cool_too_a_disruption_does_not():
    for kind, cools in [
        (InterruptionKind.LOST, True),
        (InterruptionKind.RISK, True),
        (InterruptionKind.DISRUPTION, False),
    ]:
        memory = CooldownMemory()
        mark = replace(lost("a1"), kind=kind)
        places = look(memory, 0.0, *ROWS, nodes=NODES, interruptions=[mark])
        assert (until(places) > 0.0) is cools, kind


def test_a_wait_for_a_node_in_vain_cools_all_places_of_the_pool_and_doubles_only_when_asked_again():
    memory = CooldownMemory()
    waits = {0: PoolSupply(unschedulable=1, stuck=1)}
    assert until(look(memory, 0.0, *ROWS, nodes=NODES, stuck=waits)) == 180.0
    assert until(look(memory, 100.0, *ROWS, nodes=NODES, stuck=waits)) == 180.0
    assert until(look(memory, 180.0, *ROWS, nodes=NODES, stuck=waits)) == 540.0


def test_what_hangs_on_a_node_says_nothing_of_the_market():
    hangs = {0: PoolSupply(expired=1, stuck=1)}
    assert until(look(CooldownMemory(), 0.0, *ROWS, nodes=NODES, stuck=hangs)) == NEVER_COOLED


def test_instance_types_of_a_zone_cool_apart_and_a_pool_only_with_all_of_its_places():
    kinds = [
        node("a1", SPOT, zone="a", instance_type="l40s"),
        node("a2", SPOT, zone="a", instance_type="l4"),
        B1,
    ]
    memory = CooldownMemory()
    told = {"nodes": kinds, "interruptions": [notice("a1", deadline_at=900.0)]}
    assert until(look(memory, 0.0, *ROWS, **told)) == NEVER_COOLED
    assert memory.places["a/l40s"].until == 180.0
    told["interruptions"] = [notice("a1", deadline_at=900.0), notice("a2", deadline_at=900.0)]
    # it may be asked again when the first of its places may
    assert until(look(memory, 10.0, *ROWS, **told)) == 180.0


def test_on_demand_nodes_cool_nothing():
    kinds = [node("a1", ON_DEMAND, zone="a"), A2, B1]
    memory = CooldownMemory()
    told = {"nodes": kinds, "interruptions": [notice("a1", deadline_at=900.0)]}
    assert until(look(memory, 0.0, *ROWS, **told)) == NEVER_COOLED


def test_where_no_node_names_its_zone_nothing_is_said():
    unnamed = [node("a1", SPOT), node("a2", SPOT), node("b1", SPOT)]
    told = {"nodes": unnamed, "interruptions": [notice("a1", deadline_at=900.0)]}
    assert look(CooldownMemory(), 0.0, *ROWS, **told) is None


def watched_an_hour() -> CooldownMemory:
    memory = CooldownMemory()
    look(memory, 0.0, *ROWS, **CALM)
    assert look(memory, 3600.0, *ROWS, **CALM).missing == {}
    return memory


def soon(*names: str, lead_s: float | None = 30.0):
    """Noticed after an hour."""
    deadline_at = None if lead_s is None else 3600.0 + lead_s
    marks = [notice(name, deadline_at=deadline_at, noticed_at=3600.0) for name in names]
    return {"nodes": NODES, "interruptions": marks}


def test_of_a_zone_that_is_lost_whole_is_missing_a_start_less_the_lead():
    memory = watched_an_hour()
    # zone a's first node goes, and with the second the zone, of which that is a third
    assert look(memory, 3600.0, *ROWS, **soon("a1")).missing == {}
    told = soon("a1", "a2")
    assert look(memory, 3600.0, *ROWS, **told).missing == {"a": pytest.approx(60.0 / 3600.0)}
    assert look(memory, 3600.0, *ROWS, **told).missing == {"a": pytest.approx(60.0 / 3600.0)}


@pytest.mark.parametrize(
    ("lead_s", "missing_s"), [(30.0, 60.0), (120.0, 0.0), (None, 90.0)], ids=str
)
def test_a_lead_that_is_not_known_is_none_and_a_long_one_leaves_no_gap(lead_s, missing_s):
    told = soon("a1", "a2", lead_s=lead_s)
    places = look(watched_an_hour(), 3600.0, *ROWS, **told)
    assert places.missing == {"a": pytest.approx(missing_s / 3600.0)}


def test_nodes_that_vanish_together_are_a_zone_lost_without_a_lead():
    gone = [replace(A1, exists=False), replace(A2, exists=False), B1]
    places = look(watched_an_hour(), 3600.0, *ROWS, nodes=gone)
    assert places.missing == {"a": pytest.approx(90.0 / 3600.0)}


def test_the_last_of_a_zone_that_went_node_by_node_is_a_small_part_of_one():
    memory = watched_an_hour()
    rows = [group("a", ready=7, node="a1"), group("b", ready=1, node="b1")]
    places = look(memory, 3600.0, *rows, **soon("b1"))
    assert places.missing == {"b": pytest.approx(0.25 * 60.0 / 3600.0)}


def test_one_node_of_a_zone_that_goes_again_and_again_is_no_zone():
    memory = CooldownMemory()
    for hour in range(5):
        look(memory, 3600.0 * hour, *ROWS, **taken("a1"))
        places = look(memory, 3600.0 * hour + 1800.0, *ROWS, **CALM)
    assert places.missing == {}


def test_a_zone_at_risk_or_consolidated_is_not_lost():
    for kind in (InterruptionKind.RISK, InterruptionKind.DISRUPTION):
        marks = [replace(mark, kind=kind) for mark in soon("a1", "a2")["interruptions"]]
        places = look(watched_an_hour(), 3600.0, *ROWS, nodes=NODES, interruptions=marks)
        assert places.missing == {}


def test_a_checkpoint_keeps_it_and_a_restart_without_one_forgets():
    memory = CooldownMemory()
    look(memory, 0.0, *ROWS, **taken("a1"))
    again = from_builtins(to_builtins(memory, CooldownMemory), CooldownMemory)
    assert again == memory
    assert until(look(again, 100.0, *ROWS, **CALM)) == 180.0
    assert until(look(CooldownMemory(), 100.0, *ROWS, **CALM)) == NEVER_COOLED
