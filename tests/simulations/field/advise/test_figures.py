"""Parts and their weights, summed; minutes that were breached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulations.field.advise.figures import breaches, weighted_score
from simulations.field.advise.parts import Part, PartTrace
from simulations.field.advise.replays import RECORDED, ReplayPlan, play
from simulations.replay.conditions import Conditions
from simulations.serving.profiles.profiles import PROFILES
from simulations.traces.generate import generate, recipe_of
from tests.simulations.field.advise.captures import captured

TRACE = PartTrace(
    name="part",
    requests=generate(recipe_of("generate:flat,hours=0.25,rate=2,input=300,output=50,seed=1")),
    length_ns=900 * 10**9,
)
REPLAY = ReplayPlan(
    model=0,
    part=0,
    policy=RECORDED,
    trace=TRACE,
    conditions=Conditions(profile=PROFILES["llama-3.1-8b/1xL40S"]),
    seed=0,
    counts=(1,) * 16,
    step_s=60.0,
)
FIRST, SECOND = Part(first=0, last=15), Part(first=1440, last=1455, weight=3.0)


@pytest.mark.slow
def test_a_day_that_stands_for_three_counts_three_times():
    played = play(REPLAY)
    once = weighted_score([played], [FIRST])
    both = weighted_score([played, played], [FIRST, SECOND])
    assert once.cost_usd == pytest.approx(0.25 * 1.861)
    assert both.cost_usd == pytest.approx(4 * once.cost_usd)
    assert both.requests == 4 * len(TRACE.requests)
    assert (both.attainment, both.replicas_mean) == pytest.approx((once.attainment, 1.0))
    assert both.ttft_s == once.ttft_s
    assert once.ttft_s.p50 == pytest.approx(float(np.median(played.ttft_s)), rel=0.01)


@pytest.mark.slow
def test_weights_move_a_quantile():
    """One part in ten takes ten times as long: it is the 95 % quantile, until the others weigh more."""
    quick = play(REPLAY)
    slow = replace(quick, ttft_s=10 * quick.ttft_s[: len(quick.ttft_s) // 9])
    light, heavy = (
        weighted_score([quick, slow], [replace(SECOND, weight=weight), FIRST])
        for weight in (1.0, 30.0)
    )
    assert light.ttft_s.p95 > 5 * light.ttft_s.p50
    assert heavy.ttft_s.p95 < 5 * heavy.ttft_s.p50


@pytest.mark.slow
def test_a_minute_is_breached_where_one_of_the_two_served_too_few():
    good = play(REPLAY)
    missed = good.minute_met.copy()
    missed[3] = 0
    missed[7] -= 5
    bad = replace(good, minute_met=missed)
    whole = captured(arrivals=np.ones(20))
    found = breaches(
        whole, [replace(FIRST, first=2, last=17)], [[bad], [good]], attainment_ratio=0.99
    )
    assert [(breach.at - whole.grid.start) / 60 for breach in found] == [2 + 3, 2 + 7]
    assert found[0].shares == (0.0, 1.0)
    assert found[1].shares[0] == pytest.approx(1 - 5 / found[1].requests)
