"""A fleet that was told a wrong in-flight target: too high must not take the service down."""

from __future__ import annotations

import pytest

from simulations.results.scorecard import Score
from simulations.traces.generate import Recipe, generate
from simulations.traces.trace import Trace
from tests.simulations.replay import taught

RECIPE = Recipe(
    shape="diurnal", hours=1.5, rate_per_s=24.0, input_tokens=1200, output_tokens=30, seed=1
)
TRACE = Trace(name="generated", requests=generate(RECIPE))
TAUGHT_S = 1800.0
"""A first part, in which the first queue teaches, is played and not scored."""


def played(told: str) -> Score:
    return taught.played(TRACE, taught_s=TAUGHT_S, in_flight_target=told)


@pytest.fixture(scope="module")
def right() -> Score:
    return played("x1")


@pytest.mark.slow
@pytest.mark.parametrize("told", ["x4", "x13", "default"])
def test_a_target_that_is_too_high_is_found_out(told, right):
    wrong = played(told)
    assert wrong.attainment > right.attainment - 0.02
    assert wrong.cost_usd < 1.3 * right.cost_usd
    assert wrong.aborted == 0


@pytest.mark.slow
@pytest.mark.parametrize("told", ["x0.5", "x0.25"])
def test_a_target_that_is_too_low_costs_and_harms_nobody(told, right):
    wrong = played(told)
    assert wrong.attainment > right.attainment - 0.005
    assert wrong.cost_usd < 1.2 / float(told[1:]) * right.cost_usd
