"""Who beats whom."""

import pytest

from simulations.results.seeds import SeedAverage, seed_averages
from simulations.studies.scoreboard.standings import (
    OURS,
    DuelResult,
    best_peer,
    duel_result,
    peers_as_shipped,
    peers_in_hindsight,
)
from tests.simulations.studies.scoreboard.rows import row

RATIO = 0.99


def standing(policy: str, cost: float, attained: float) -> SeedAverage:
    (made,) = seed_averages([row(policy, cost=cost, attained=attained)])
    return made


@pytest.mark.parametrize(
    ("rule", "ours", "peer", "expected"),
    [
        ("both attain, ours is cheaper", (97.0, 0.99), (100.0, 1.0), DuelResult.WON),
        ("both attain, the peer is cheaper", (100.0, 1.0), (97.0, 0.99), DuelResult.LOST),
        ("both attain, within two per cent", (100.0, 1.0), (98.0, 0.99), DuelResult.TIED),
        ("the edge of a tie is inside", (100.0, 1.0), (102.0, 0.99), DuelResult.TIED),
        ("ours attains alone, at any cost", (500.0, 0.99), (10.0, 0.9899), DuelResult.WON),
        ("the peer attains alone, at any cost", (10.0, 0.9899), (500.0, 0.99), DuelResult.LOST),
        ("neither attains, ours serves more", (500.0, 0.95), (10.0, 0.94), DuelResult.WON),
        ("neither attains, the peer serves more", (10.0, 0.94), (500.0, 0.95), DuelResult.LOST),
        (
            "neither attains, alike, the peer is cheaper",
            (100.0, 0.95),
            (90.0, 0.947),
            DuelResult.LOST,
        ),
        ("neither attains, alike, a tie", (100.0, 0.95), (101.0, 0.953), DuelResult.TIED),
    ],
)
def test_who_wins(
    rule: str, ours: tuple[float, float], peer: tuple[float, float], expected: DuelResult
):
    found = duel_result(standing(OURS, *ours), standing("hpa", *peer), attainment_ratio=RATIO)
    assert found is expected, rule
    opposite = {
        DuelResult.WON: DuelResult.LOST,
        DuelResult.LOST: DuelResult.WON,
        DuelResult.TIED: DuelResult.TIED,
    }
    swapped = duel_result(standing("hpa", *peer), standing(OURS, *ours), attainment_ratio=RATIO)
    assert swapped is opposite[expected], rule


@pytest.mark.parametrize(
    ("rule", "field", "expected"),
    [
        ("the cheapest that attains", [(9.0, 1.0), (7.0, 0.991), (1.0, 0.9)], 1),
        ("the most attaining where none does", [(9.0, 0.98), (7.0, 0.97), (1.0, 0.5)], 0),
        ("of equal attainment the cheaper", [(9.0, 0.98), (7.0, 0.98)], 1),
    ],
)
def test_the_best_peer_of_a_field(rule: str, field: list[tuple[float, float]], expected: int):
    made = [standing(f"p{n}", *figures) for n, figures in enumerate(field)]
    assert best_peer(made, attainment_ratio=RATIO).policy == f"p{expected}", rule


def test_hindsight_takes_the_default_where_the_best_of_one_seed_is_worse_on_all():
    table = seed_averages(
        [
            row(OURS, cost=1.0),
            row("hpa", cost=10.0),
            row("hpa", cost=5.0, attained=0.98, setting="best", parameters={"target_share": 1.0}),
            row("keda", cost=9.0),
            row("keda", cost=6.0, setting="best"),
            row("static-mean", cost=3.0, attained=0.4),
        ]
    )
    assert [(s.policy, s.cost_usd) for s in peers_as_shipped(table)] == [
        ("hpa", 10.0),
        ("keda", 9.0),
        ("static-mean", 3.0),
    ]
    assert [(s.policy, s.cost_usd) for s in peers_in_hindsight(table, attainment_ratio=RATIO)] == [
        ("hpa", 10.0),
        ("keda", 6.0),
        ("static-mean", 3.0),
    ]
