"""Schedules of who knows the trace: there when they are needed, gone when not, within the maximum."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.replay.conditions import Conditions
from simulations.runs.found.oracles import (
    STEP_S,
    AheadOracle,
    QueueOracle,
    StaticOracle,
    TraceView,
    coarse_oracles,
)
from simulations.world.cold_start import ColdStart
from tests.simulations.world.world_builder import PROFILE, requests

START_S = 40.0
BURST_S = 400.0


def view(*, replicas_max: int = 8) -> TraceView:
    """Calm, and for twenty seconds far more than one replica can do."""
    calm = np.arange(0.0, 900.0, 5.0)
    burst = np.linspace(BURST_S, BURST_S + 20.0, 900)
    return TraceView(
        requests(np.sort(np.concatenate([calm, burst])).tolist(), prompt_tokens=1500),
        Conditions(
            profile=PROFILE,
            cold_start=ColdStart(name="test", load_s=START_S * 0.4, warm_up_s=START_S * 0.6),
            replicas_max=replicas_max,
        ),
    )


def asked(oracle) -> np.ndarray:
    return oracle.schedule(view()).replicas


@pytest.mark.parametrize(
    "oracle",
    [
        pytest.param(QueueOracle(factor=1.2, price_s=20.0, lead_s=0.0), marks=pytest.mark.slow),
        AheadOracle(share=1.0, mean_s=10.0, lead_s=0.0, back_s=0.0),
    ],
)
def test_replicas_are_asked_for_one_start_before_the_burst_and_given_up_after_it(oracle):
    replicas = asked(oracle)
    more = np.flatnonzero(replicas > 1) * STEP_S
    assert more[0] == pytest.approx(BURST_S - START_S, abs=2 * STEP_S)
    assert more[-1] <= BURST_S + 90.0
    assert replicas[: int((BURST_S - START_S) / STEP_S) - 2].max() == 1


@pytest.mark.slow
def test_a_late_request_that_costs_nothing_buys_nothing():
    assert asked(QueueOracle(factor=1.2, price_s=0.0, lead_s=0.0)).max() == 1
    bought = [
        asked(QueueOracle(factor=1.2, price_s=price, lead_s=0.0)).sum()
        for price in (0.1, 1.0, 50.0)
    ]
    assert bought == sorted(bought)
    assert bought[0] < bought[-1]


def test_a_lead_and_a_hold_are_added_in_time():
    plain = AheadOracle(share=1.0, mean_s=10.0, lead_s=0.0, back_s=0.0)
    longer = AheadOracle(share=1.0, mean_s=10.0, lead_s=30.0, back_s=120.0)
    first, last = (np.flatnonzero(asked(plain) > 1)[[0, -1]] * STEP_S).tolist()
    earlier, later = (np.flatnonzero(asked(longer) > 1)[[0, -1]] * STEP_S).tolist()
    assert (first - earlier, later - last) == (30.0, 120.0)


def test_a_share_of_the_load_is_a_share_of_the_replicas():
    tops = [
        asked(AheadOracle(share=share, mean_s=10.0, lead_s=0.0, back_s=0.0)).max()
        for share in (0.25, 0.5, 1.0)
    ]
    assert tops == sorted(tops)
    assert tops[0] < tops[-1]


@pytest.mark.slow
@pytest.mark.parametrize("replicas_max", [1, 2, 3, 40])
def test_a_search_begins_within_the_maximum(replicas_max):
    made = view(replicas_max=replicas_max)
    oracles = coarse_oracles(replicas_max)
    sizes = {oracle.replicas for oracle in oracles if isinstance(oracle, StaticOracle)}
    assert {1, replicas_max} <= sizes <= set(range(1, replicas_max + 1))
    for oracle in oracles:
        replicas = oracle.schedule(made).replicas
        assert len(replicas) == made.steps
        assert replicas.min() >= 1
        assert replicas.max() <= replicas_max


@pytest.mark.parametrize(
    "oracle",
    [
        StaticOracle(replicas=1),
        pytest.param(QueueOracle(factor=1.2, price_s=2.0, lead_s=0.0), marks=pytest.mark.slow),
        AheadOracle(share=1.0, mean_s=5.0, lead_s=0.0, back_s=0.0),
    ],
)
def test_neighbours_are_of_the_same_kind_and_can_be_replayed(oracle):
    neighbours = list(oracle.neighbours())
    assert len(set(neighbours)) == len(neighbours) or isinstance(oracle, AheadOracle)
    for neighbour in neighbours:
        assert type(neighbour) is type(oracle)
        assert asked(neighbour).min() >= 1
        assert str(neighbour) != str(oracle) or neighbour == oracle
