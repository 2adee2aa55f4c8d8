"""The hull below what was replayed: interpolated inside, and nothing said past its ends."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.bounds.envelope import Envelope, FoundPoint


def envelope(*points: tuple[float, float]) -> Envelope:
    return Envelope(FoundPoint(attainment=a, cost_usd=c) for a, c in points)


@pytest.mark.parametrize(
    ("rule", "points", "attainment", "cost"),
    [
        ("a point is itself", [(0.9, 10.0), (0.99, 20.0)], 0.99, 20.0),
        ("between two, their mixture", [(0.9, 10.0), (1.0, 20.0)], 0.95, 15.0),
        ("a dearer one between is left out", [(0.9, 10.0), (0.95, 18.0), (1.0, 20.0)], 0.95, 15.0),
        ("a cheaper one between is kept", [(0.9, 10.0), (0.95, 11.0), (1.0, 20.0)], 0.975, 15.5),
        ("more attained for less beats", [(0.9, 10.0), (0.95, 8.0)], 0.9, 8.0),
        ("below the least, the least", [(0.9, 10.0), (1.0, 20.0)], 0.5, 10.0),
        ("one point alone", [(0.9, 10.0)], 0.9, 10.0),
    ],
)
def test_the_least_cost(
    rule: str, points: list[tuple[float, float]], attainment: float, cost: float
):
    assert envelope(*points).cost_usd(attainment) == pytest.approx(cost), rule


def test_past_the_highest_nothing_is_said():
    assert envelope((0.9, 10.0), (0.99, 20.0)).cost_usd(0.9901) is None
    assert envelope().cost_usd(0.5) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 100)), min_size=1, max_size=12))
def test_it_lies_below_every_point_and_is_convex(points: list[tuple[float, float]]):
    made = envelope(*points)
    for attainment, cost in points:
        least = made.cost_usd(attainment)
        assert least is not None
        assert least <= cost * (1 + 1e-9)
    slopes = [
        (b.cost_usd - a.cost_usd) / (b.attainment - a.attainment)
        for a, b in itertools.pairwise(made.points)
    ]
    assert all(slope > 0 for slope in slopes)
    assert all(a <= b * (1 + 1e-6) for a, b in itertools.pairwise(slopes))
    assert {(p.attainment, p.cost_usd) for p in made.points} <= set(points)
