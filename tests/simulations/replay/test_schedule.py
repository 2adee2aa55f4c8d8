"""A schedule that is replayed: what it asks for is what there is, through the same world as everybody's."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from simulations.agenda import NS
from simulations.replay.conditions import Conditions
from simulations.replay.replay import run
from simulations.replay.schedule import ReplicaSchedule, on_market
from simulations.results.scorecard import score
from simulations.traces.trace import Trace
from simulations.world.cold_start import ColdStart
from simulations.world.faults import Fault, FaultKind
from simulations.world.market.spot import MachineLife, SpotHistory
from simulations.world.objects import SimulatedPod
from simulations.world.world import SimulatedWorld
from tests.simulations.world.world_builder import PROFILE, requests

CONDITIONS = Conditions(
    profile=PROFILE,
    cold_start=ColdStart(name="test", load_s=10.0, warm_up_s=10.0),
    replicas_max=9,
)
TRACE = Trace(name="t", requests=requests(np.arange(0.0, 300.0, 0.5).tolist()))


def followed(*replicas: int, step_s: float = 50.0, **changes):
    schedule = ReplicaSchedule(step_s=step_s, replicas=np.array(replicas))
    made = replace(CONDITIONS, **changes)
    return run(TRACE, "found", seed=0, conditions=made, schedule=schedule)


def test_each_change_is_written_a_tenth_of_a_second_after_its_moment():
    done = followed(2, 2, 4, 1)
    moments = [(at_ns / NS, size) for at_ns, size in done.ledger.sizes]
    assert moments == [(0.0, 2), (100.1, 4), (150.1, 1)]


def check_starts_are_paid() -> None:
    """A replica more for fifty seconds: its start is paid from its node on, and until it is gone."""
    rows = [score(followed(*replicas)) for replicas in ((1, 1), (1, 2, 1))]
    assert [row.starts for row in rows] == [0, 1]
    hours = (rows[1].cost_usd - rows[0].cost_usd) / PROFILE.usd_per_hour
    assert hours * 3600 == pytest.approx(53.0, abs=3.0)


def test_its_starts_are_paid_as_everybodys_are():
    check_starts_are_paid()


def test_a_start_cost_that_is_left_out_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """As if a replica were paid from the moment it serves."""
    kept = SimulatedWorld._become_ready

    def paid_from_now(world: SimulatedWorld, pod: SimulatedPod, at_ns: int) -> None:
        if (entry := world.ledger._open.get(pod.replica_id)) is not None:
            world.ledger._open[pod.replica_id] = (entry[0], at_ns)
        kept(world, pod, at_ns)

    monkeypatch.setattr(SimulatedWorld, "_become_ready", paid_from_now)
    with pytest.raises(AssertionError):
        check_starts_are_paid()


def test_the_last_step_holds_to_the_end():
    done = followed(1, 3)
    assert done.ledger.sizes[-1][1] == 3
    assert score(done).replicas_max == 3


def test_a_write_that_is_refused_is_tried_again():
    refused = Fault(kind=FaultKind.REFUSED_WRITES, from_ns=90 * NS, until_ns=120 * NS)
    done = followed(1, 1, 3, faults=(refused,))
    assert [(at_ns / NS, size) for at_ns, size in done.ledger.sizes] == [(0.0, 1), (120.1, 3)]


# On spot


def market(*lives: tuple[float, float]) -> SpotHistory:
    made = tuple(MachineLife(up_ns=int(up * NS), down_ns=int(down * NS)) for up, down in lives)
    return SpotHistory(name="market", span_ns=10**15, lives=made)


ALWAYS = (0.0, 1e6)


def split(*lives: tuple[float, float], replicas: int = 2) -> tuple[list[int], list[int]]:
    """Steps of 10 s over two minutes, a start of 20 s."""
    whole = ReplicaSchedule(step_s=10.0, replicas=np.full(12, replicas))
    spot, on_demand = on_market(whole, market(*lives).lives, start_s=20.0)
    return spot.replicas.tolist(), on_demand.replicas.tolist()


def test_all_is_on_spot_where_the_market_has_it():
    assert split(ALWAYS, ALWAYS, ALWAYS) == ([2] * 12, [0] * 12)


def test_on_demand_stands_in_from_a_start_before_to_a_start_after_a_hole():
    _, on_demand = split(ALWAYS, (0.0, 50.0), (70.0, 1e6))
    # gone from 50 s to 70 s, and the step in which one comes; a start and a step more on both sides
    assert on_demand == [0, 0, *[1] * 9, 0]


def test_more_are_asked_for_before_machines_go():
    spot, on_demand = split(ALWAYS, ALWAYS, ALWAYS, (0.0, 50.0))
    # one of four goes at 50 s, ours or not
    assert spot == [2, 2, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2]
    assert on_demand == [0] * 12


def test_an_empty_market_is_all_on_demand():
    assert split()[1] == [2] * 12


def test_it_loses_nothing_on_a_machine_that_gives_notice():
    row = score(followed(3, 3, spot=market((0.0, 150.0), ALWAYS), spot_lead_s=60.0))
    assert row.lost == 0
    assert row.spot is not None
    # two machines on the market at most: the third replica is on demand
    assert row.spot.fallback_hours > 0
    dear = score(followed(3, 3))
    assert row.cost_usd < dear.cost_usd


def test_the_first_part_is_played_and_not_scored():
    whole = score(followed(3, 3, 3, 1))
    scored = score(followed(3, 3, 3, 1, score_from_s=200.0))
    assert scored.requests < whole.requests
    assert scored.cost_usd < whole.cost_usd / 3


def test_equal_schedules_have_equal_digests():
    made = [
        ReplicaSchedule(step_s=step_s, replicas=np.array(replicas))
        for step_s in (5.0, 10.0)
        for replicas in ((1, 2), (2, 1))
    ]
    digests = {schedule.digest for schedule in made}
    assert len(digests) == 4
    assert (
        made[0].digest
        == ReplicaSchedule(step_s=5.0, replicas=np.array([1, 2], dtype=np.int32)).digest
    )
    assert all(a.digest != b.digest for a, b in pairwise(made))
