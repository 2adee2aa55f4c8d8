"""The same traffic, told the same target, under three objectives: a stricter one asks for more replicas."""

from __future__ import annotations

from itertools import pairwise

import pytest

from simulations.traces.generate import Recipe, generate
from simulations.traces.trace import Trace
from tests.simulations.replay.taught import played

RECIPE = Recipe(
    shape="diurnal", hours=2.5, rate_per_s=20.0, input_tokens=1200, output_tokens=30, seed=1
)
TRACE = Trace(name="generated", requests=generate(RECIPE))


@pytest.mark.slow
def test_a_stricter_objective_asks_for_more_replicas():
    strict, usual, lenient = (
        played(TRACE, taught_s=3600.0, objective=f"ttft={ttft_s:g},tpot=0.1", in_flight_target="8")
        for ttft_s in (0.5, 2.0, 10.0)
    )
    for more, less in pairwise((strict, usual, lenient)):
        assert more.replicas_mean > 1.02 * less.replicas_mean
    assert min(usual.attainment, lenient.attainment) >= 0.98
