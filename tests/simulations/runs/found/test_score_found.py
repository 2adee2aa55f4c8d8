"""Rows beside the found schedule: searched until it is the cheaper one, and loud where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from simulations.bounds.envelope import Envelope, FoundPoint
from simulations.replay.conditions import Conditions, with_told_target
from simulations.replay.schedule import ReplicaSchedule
from simulations.results.scorecard import Score
from simulations.runs.found import score_found
from simulations.runs.found.oracles import AheadOracle, StaticOracle, TraceView
from simulations.runs.found.score_found import beaten_sentences, found_figures, with_found
from simulations.runs.found.search import REPLAYS_MAX, REPLAYS_MIN, Search, replays_for
from simulations.runs.runs import Plan, cached_trace, play
from simulations.world.cold_start import COLD_STARTS
from tests.simulations.world.world_builder import PROFILE

TRACE = "generate:bursty,hours=0.3,rate=5,input=1500,output=60,seed=3"
CONDITIONS = Conditions(
    profile=replace(PROFILE, in_flight_target=6.0), cold_start=COLD_STARTS["warm"], replicas_max=6
)


def plans(*policies: str, seeds: int = 1, **changes) -> list[Plan]:
    return [
        Plan(trace=TRACE, policy=policy, seed=seed, conditions=replace(CONDITIONS, **changes))
        for policy in policies
        for seed in range(seeds)
    ]


class Player:
    """Replays one after the other, and counts."""

    def __init__(self) -> None:
        self.schedules: list[str] = []
        self.cache: dict[tuple[str, int], Score] = {}

    def __call__(self, asked: Sequence[Plan]) -> list[Score]:
        assert all(plan.schedule is not None for plan in asked)
        self.schedules += [plan.schedule.digest for plan in asked if plan.schedule is not None]
        return [play(plan) for plan in asked]


@pytest.fixture(scope="module")
def played():
    made = plans("hpa", "lookahead", "static-peak", seeds=2)
    rows = [play(plan) for plan in made]
    player = Player()
    return made, rows, player, with_found(rows, made, play=player)


@pytest.mark.slow
def test_what_was_found_is_never_dearer_at_a_rows_own_attainment(played):
    _, rows, _, found = played
    assert found.beaten == ()
    for row, with_figures in zip(rows, found.scores, strict=True):
        figures = with_figures.found
        assert figures is not None
        assert figures.cost_usd is not None
        assert figures.cost_usd <= row.cost_usd * (1 + 1e-6)
        assert figures.ratio == pytest.approx(row.cost_usd / figures.cost_usd)
        assert replace(with_figures, found=None) == row


@pytest.mark.slow
def test_every_point_was_replayed_as_it_says(played):
    _, _, player, found = played
    assert set(found.curves) == {(TRACE, 0), (TRACE, 1)}
    for envelope in found.curves.values():
        assert 1 < len(envelope.points) <= len(player.schedules)
        assert all(point.setting for point in envelope.points)
    # the other seed replays the hull, and searches no more than it must
    assert len(player.schedules) < REPLAYS_MAX * 2


@pytest.mark.slow
def test_the_same_is_found_again_whatever_policies_are_told(played):
    made, rows, _, found = played
    told = [
        replace(plan, conditions=with_told_target(plan.conditions, "x0.5")) for plan in made[:1]
    ]
    again = with_found(rows[:1], told, play=Player())
    here, before = again.curves[TRACE, 0], found.curves[TRACE, 0]
    assert here.points[0] == before.points[0]
    assert here.cost_usd(0.99) == pytest.approx(before.cost_usd(0.99), rel=0.05)


@pytest.mark.slow
def test_a_first_part_that_is_not_scored_costs_nothing(played):
    made = plans("hpa", score_from_s=600.0)
    rows = [play(plan) for plan in made]
    found = with_found(rows, made, play=Player())
    whole = played[3].curves[TRACE, 0].cost_usd(0.9)
    part = found.curves[TRACE, 0].cost_usd(0.9)
    assert part is not None
    assert whole is not None
    assert part < 0.7 * whole
    assert found.beaten == ()


@pytest.mark.slow
def test_a_row_that_misses_nothing_is_found_on_every_seed(monkeypatch):
    """Where the first seed's hull ends with a fleet that misses a request of the second one's."""
    made = plans("hpa", "found", seeds=2)
    largest = ReplicaSchedule(step_s=3_600.0, replicas=np.array([CONDITIONS.replicas_max]))
    made[2:] = [replace(plan, schedule=largest) for plan in made[2:]]
    rows = [play(plan) for plan in made]
    monkeypatch.setattr(score_found, "_hull_oracles", lambda _: [StaticOracle(replicas=2)])
    monkeypatch.setattr(score_found, "BEATEN_ROUNDS", 0)  # from far below they do not get there
    found = with_found(rows, made, play=Player())
    assert found.curves[TRACE, 1].points[-1].attainment >= rows[3].attainment
    assert not [said for said in found.beaten if "no schedule that was found" in said]


@pytest.mark.slow
def test_what_misses_nothing_and_follows_the_load_is_found_too(monkeypatch):
    """Not by a fleet of one size alone, which costs more."""
    made = plans("hpa", "found", seeds=2)
    trace = cached_trace(TRACE)
    view = TraceView(trace.requests, CONDITIONS)
    follows = AheadOracle(share=1.8, mean_s=30.0, lead_s=120.0, back_s=600.0)
    made[2:] = [replace(plan, schedule=follows.schedule(view)) for plan in made[2:]]
    rows = [play(plan) for plan in made]
    monkeypatch.setattr(score_found, "_hull_oracles", lambda _: [StaticOracle(replicas=2)])
    monkeypatch.setattr(score_found, "BEATEN_ROUNDS", 0)
    found = with_found(rows, made, play=Player())
    cost_usd = found.curves[TRACE, 1].cost_usd(rows[3].attainment)
    assert cost_usd is not None
    assert cost_usd <= rows[3].cost_usd * (1 + 1e-6)


def test_the_sizes_that_were_left_out_are_tried_where_one_of_them_would_attain_as_much():
    def point(attainment: float) -> FoundPoint:
        return FoundPoint(attainment=attainment, cost_usd=1.0, setting="")

    shares = {1: 0.2, 4: 0.9, 9: 0.99, 20: 1.0}
    search = Search(view=None, replay=None)
    search.points = {StaticOracle(replicas=n): point(share) for n, share in shares.items()}
    found = search.static_between([0.95, 1.0])
    assert [oracle.replicas for oracle in found] == [*range(5, 9), *range(10, 20)]
    assert search.static_between([0.1]) == []
    search.points.pop(StaticOracle(replicas=20))
    assert search.static_between([1.0]) == []


# A search that is wrong is noticed


def row(cost_usd: float, attainment: float) -> Score:
    return replace(play(plans("static-mean")[0]), cost_usd=cost_usd, attainment=attainment)


def test_who_does_better_than_what_was_found_is_named():
    found = Envelope(
        [FoundPoint(attainment=0.9, cost_usd=10.0), FoundPoint(attainment=0.99, cost_usd=20.0)]
    )
    right, cheaper, higher = row(15.1, 0.945), row(14.9, 0.945), row(50.0, 0.995)
    assert beaten_sentences([right], found) == []
    (said,) = beaten_sentences([cheaper], found)
    assert said.endswith(
        "static-mean, seed 0: $14.90 at 94.50 %, and the found schedule is dearer, $15.00"
    )
    (said,) = beaten_sentences([higher], found)
    assert "no schedule that was found attains as much" in said
    assert found_figures(higher, found).cost_usd is None
    assert found_figures(higher, found).ratio is None
    assert found_figures(right, found).ratio == pytest.approx(15.1 / 15.0)


@pytest.mark.slow
def test_a_search_of_large_fleets_alone_is_noticed(monkeypatch):
    """As if nobody had looked further: the rows are then cheaper, and said to be."""
    made = plans("hpa")
    rows = [play(plan) for plan in made]

    def lazy(view: TraceView, replay, **_) -> Search:
        search = Search(view=view, replay=replay)
        search.play([StaticOracle(replicas=6)])
        return search

    monkeypatch.setattr(score_found, "searched", lazy)
    monkeypatch.setattr(score_found, "generous_oracles", lambda _: [])
    monkeypatch.setattr(Search, "refine", lambda *_, **__: None)
    found = with_found(rows, made, play=Player())
    (said,) = found.beaten
    assert "the found schedule is dearer" in said


def test_small_traces_are_searched_more_finely():
    assert replays_for(1_000) == REPLAYS_MAX
    assert replays_for(2_000_000) == REPLAYS_MIN
    assert REPLAYS_MIN < replays_for(600_000) < REPLAYS_MAX
