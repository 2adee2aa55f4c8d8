"""Rules played on traffic: the cheapest that keeps the objective decides, and says why."""

from __future__ import annotations

import math

import pytest

from autoscaler.core.candidates import CandidatesMemory, Limits, Played, TickTraffic, play
from autoscaler.core.contract.codec import from_builtins, to_builtins

LIMITS = Limits(
    cold_start_s=180.0,
    ttft_s=2.0,
    attainment_ratio=0.99,
    target=8.0,
    replicas_min=1,
    replicas_max=20,
)
SERVICE_S = 4.0


def traffic(load: float, *, missed: float = 0.0, ready: int = 6) -> TickTraffic:
    rate = load * LIMITS.target / SERVICE_S
    return TickTraffic(
        arrivals_per_s=rate,
        load=load,
        ready=ready,
        service_s=SERVICE_S,
        missed=missed * rate * 5.0,
        judged=rate * 5.0,
    )


def run(memory: CandidatesMemory, loads, *, at: float = 0.0) -> Played | None:
    """Play loads, one a tick of five seconds."""
    played = None
    for tick, load in enumerate(loads):
        played = play(memory, at=at + 5.0 * tick, seen=traffic(load), limits=LIMITS)
    return played


def flat(hours: float, load: float = 3.0):
    return [load] * round(hours * 720)


def jumps(hours: float):
    """A level that jumps to four times as much for five minutes, every forty."""
    return [6.0 if tick % 480 < 60 else 1.5 for tick in range(round(hours * 720))]


@pytest.mark.slow
def test_a_load_that_stands_still_is_carried_by_what_carries_it():
    played = run(CandidatesMemory(), flat(3.0))
    assert played is not None
    assert played.settled
    assert played.replicas in {3, 4}
    assert played.standing is not None
    assert played.standing.attained_ratio >= 0.99


def test_nothing_decides_before_enough_was_played():
    memory = CandidatesMemory()
    played = run(memory, flat(0.45))
    assert played is not None
    assert not played.settled
    assert run(memory, flat(0.1), at=0.45 * 3600).settled


def test_where_nothing_says_what_was_missed_no_rule_decides():
    """An engine without histograms: whether replicas carry what was told nobody can tell."""
    memory = CandidatesMemory()
    for tick in range(720):
        unseen = traffic(3.0)._replace(missed=0.0, judged=0.0)
        played = play(memory, at=5.0 * tick, seen=unseen, limits=LIMITS)
    assert played is not None
    assert not played.settled
    assert played.carried_ratio == 1.0


@pytest.mark.slow
def test_load_that_jumps_faster_than_replicas_start_is_met_by_standing_still():
    """To follow it would miss each jump for a cold start: what looks back over one jump is cheaper than that."""
    memory = CandidatesMemory()
    played = run(memory, jumps(8.0))
    assert played is not None
    assert played.rule.window_s(LIMITS.cold_start_s) >= 2400.0
    low = run(memory, [1.5] * 30, at=8.0 * 3600.0)
    assert low is not None
    assert low.replicas == played.replicas, "and what stood for the last one stands for the next"


@pytest.mark.slow
def test_more_load_never_means_fewer_replicas():
    asked = [run(CandidatesMemory(), flat(2.0, load=load)).replicas for load in (1, 2, 4, 8, 16)]
    assert asked == sorted(asked)
    assert asked[0] < asked[-1]


def test_a_gap_teaches_nothing_and_nothing_is_known_of_it():
    memory = CandidatesMemory()
    run(memory, flat(1.0))
    before = to_builtins(memory.fleets, type(memory.fleets))
    assert play(memory, at=3605.0, seen=None, limits=LIMITS) is None
    played = play(memory, at=7200.0, seen=traffic(3.0), limits=LIMITS)
    assert to_builtins(memory.fleets, type(memory.fleets)) == before
    assert played is not None, "what was learnt before it stands"


@pytest.mark.slow
def test_bounds_hold():
    for load, replicas in ((0.0, 1), (90.0, 20)):
        assert run(CandidatesMemory(), flat(1.0, load=load)).replicas == replicas


@pytest.mark.slow
def test_the_choice_is_calm():
    """A day of waves: other rules take over a few times, and not every hour."""
    memory = CandidatesMemory()
    chosen = set()
    for tick in range(12 * 720):
        load = 3.0 + 2.0 * math.sin(tick / 720.0 * math.tau / 6.0)
        play(memory, at=5.0 * tick, seen=traffic(load), limits=LIMITS)
        chosen.add((memory.choice.since, memory.choice.chosen))
    assert len(chosen) <= 12


@pytest.mark.slow
def test_what_is_missed_for_good_moves_towards_more():
    """The same load; of one model a tenth misses although nobody waits by what was told."""
    fine, missing = CandidatesMemory(), CandidatesMemory()
    for tick in range(4 * 720):
        load = 3.0 if tick % 240 < 120 else 5.0
        play(fine, at=5.0 * tick, seen=traffic(load), limits=LIMITS)
        missed = 0.1 if load > 4.0 else 0.0
        play(missing, at=5.0 * tick, seen=traffic(load, missed=missed), limits=LIMITS)
    enough = play(fine, at=4 * 3600.0, seen=traffic(5.0), limits=LIMITS)
    more = play(missing, at=4 * 3600.0, seen=traffic(5.0), limits=LIMITS)
    assert enough is not None
    assert more is not None
    assert more.replicas > enough.replicas


@pytest.mark.slow
def test_a_checkpoint_plays_on_as_if_nothing_had_been():
    memory = CandidatesMemory()
    run(memory, jumps(1.0))
    copy = from_builtins(to_builtins(memory, CandidatesMemory), CandidatesMemory)
    ours, theirs = (run(each, jumps(1.0), at=3600.0) for each in (memory, copy))
    assert ours == theirs
    assert to_builtins(memory, CandidatesMemory) == to_builtins(copy, CandidatesMemory)


@pytest.mark.parametrize("load", [0.0, 0.6, 1.4, 2.7, 5.5])
def test_within_the_loads_that_it_tells_the_rule_asks_for_what_it_asks_for(load):
    played = run(CandidatesMemory(), [load] * 24)
    assert played is not None
    assert played.load == pytest.approx(load)
    assert played.load_from <= played.load <= played.load_to
    assert (played.load_from == 0.0) is (played.replicas == LIMITS.replicas_min)
    assert math.isinf(played.load_to) is (played.replicas == LIMITS.replicas_max)
