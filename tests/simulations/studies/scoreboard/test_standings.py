"""Means and worst over the seeds, and who beats whom."""

import pytest

from simulations.results.scorecard import SpotFigures
from simulations.studies.scoreboard.standings import (
    OURS,
    Standing,
    Verdict,
    as_it_comes,
    hindsight,
    leader,
    standings,
    verdict,
)
from tests.simulations.studies.scoreboard.rows import row

RATIO = 0.99


def standing(policy: str, cost: float, attained: float) -> Standing:
    (made,) = standings([row(policy, cost=cost, attained=attained)])
    return made


def test_a_standing_is_the_mean_of_its_seeds_and_the_worst_of_them():
    rows = [
        row("hpa", cost=10.0, attained=1.0, seed=0, ratio=1.5),
        row("hpa", cost=14.0, attained=0.98, seed=1, ratio=2.5),
        row("hpa", cost=8.0, attained=0.97, setting="best", parameters={"target_share": 0.8}),
    ]
    shipped, best = standings(rows)
    assert (shipped.cost_usd, shipped.cost_usd_worst) == (12.0, 14.0)
    assert (shipped.attainment, shipped.attainment_worst) == (pytest.approx(0.99), 0.98)
    assert shipped.ratio == shipped.relaxed_ratio == 2.0
    assert shipped.starts_per_day == 12.0
    assert shipped.goodput_per_gpu == pytest.approx((1 / 10 + 0.98 / 14) / 2)
    assert shipped.interruptions is None
    assert best.is_best
    assert best.parameters == {"target_share": 0.8}


def test_spot_figures_are_means_of_their_own():
    spots = [
        SpotFigures(interruptions=n, lost_within_notice=2 * n, fallback_hours=0.5 * n)
        for n in (1, 3)
    ]
    rows = [row("hpa", cost=1.0, seed=seed, spot=spot) for seed, spot in enumerate(spots)]
    (shown,) = standings(rows)
    assert (shown.interruptions, shown.lost_within_notice, shown.fallback_hours) == (2, 4, 1.0)


@pytest.mark.parametrize(
    ("rule", "ours", "peer", "expected"),
    [
        ("both attain, ours is cheaper", (97.0, 0.99), (100.0, 1.0), Verdict.WON),
        ("both attain, the peer is cheaper", (100.0, 1.0), (97.0, 0.99), Verdict.LOST),
        ("both attain, within two per cent", (100.0, 1.0), (98.0, 0.99), Verdict.TIED),
        ("the edge of a tie is inside", (100.0, 1.0), (102.0, 0.99), Verdict.TIED),
        ("ours attains alone, at any cost", (500.0, 0.99), (10.0, 0.9899), Verdict.WON),
        ("the peer attains alone, at any cost", (10.0, 0.9899), (500.0, 0.99), Verdict.LOST),
        ("neither attains, ours serves more", (500.0, 0.95), (10.0, 0.94), Verdict.WON),
        ("neither attains, the peer serves more", (10.0, 0.94), (500.0, 0.95), Verdict.LOST),
        ("neither attains, alike, the peer is cheaper", (100.0, 0.95), (90.0, 0.947), Verdict.LOST),
        ("neither attains, alike, a tie", (100.0, 0.95), (101.0, 0.953), Verdict.TIED),
    ],
)
def test_who_wins(
    rule: str, ours: tuple[float, float], peer: tuple[float, float], expected: Verdict
):
    found = verdict(standing(OURS, *ours), standing("hpa", *peer), attainment_ratio=RATIO)
    assert found is expected, rule
    opposite = {Verdict.WON: Verdict.LOST, Verdict.LOST: Verdict.WON, Verdict.TIED: Verdict.TIED}
    swapped = verdict(standing("hpa", *peer), standing(OURS, *ours), attainment_ratio=RATIO)
    assert swapped is opposite[expected], rule


@pytest.mark.parametrize(
    ("rule", "field", "expected"),
    [
        ("the cheapest that attains", [(9.0, 1.0), (7.0, 0.991), (1.0, 0.9)], 1),
        ("the most attaining where none does", [(9.0, 0.98), (7.0, 0.97), (1.0, 0.5)], 0),
        ("of equal attainment the cheaper", [(9.0, 0.98), (7.0, 0.98)], 1),
    ],
)
def test_the_leader_of_a_field(rule: str, field: list[tuple[float, float]], expected: int):
    made = [standing(f"p{n}", *figures) for n, figures in enumerate(field)]
    assert leader(made, attainment_ratio=RATIO).policy == f"p{expected}", rule


def test_hindsight_takes_the_default_where_the_best_of_one_seed_is_worse_on_all():
    table = standings(
        [
            row(OURS, cost=1.0),
            row("hpa", cost=10.0),
            row("hpa", cost=5.0, attained=0.98, setting="best", parameters={"target_share": 1.0}),
            row("keda", cost=9.0),
            row("keda", cost=6.0, setting="best"),
            row("static-mean", cost=3.0, attained=0.4),
        ]
    )
    assert [(s.policy, s.cost_usd) for s in as_it_comes(table)] == [
        ("hpa", 10.0),
        ("keda", 9.0),
        ("static-mean", 3.0),
    ]
    assert [(s.policy, s.cost_usd) for s in hindsight(table, attainment_ratio=RATIO)] == [
        ("hpa", 10.0),
        ("keda", 6.0),
        ("static-mean", 3.0),
    ]
