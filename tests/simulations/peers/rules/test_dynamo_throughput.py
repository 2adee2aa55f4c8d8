"""Dynamo's throughput mode: a forecast over an engine's rate makes a floor."""

import pytest

from autoscaler.core.contract.spec import Objective
from simulations.peers.baseline import RouterView
from simulations.peers.rules.dynamo_throughput import DynamoThroughput, Trend, engine_requests_per_s
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE


def rate(**changes: float) -> float:
    asked = {"prompt_tokens": 1000.0, "output_tokens": 200.0} | changes
    return engine_requests_per_s(PROFILE, Objective(ttft_s=2.0, tpot_s=0.1), **asked)


def test_an_engine_serves_fewer_long_requests_and_fewer_under_a_tighter_objective():
    assert rate() > rate(output_tokens=400.0) > rate(output_tokens=800.0)
    assert rate() > rate(prompt_tokens=4000.0)
    tight = engine_requests_per_s(
        PROFILE, Objective(ttft_s=2.0, tpot_s=0.03), prompt_tokens=1000.0, output_tokens=200.0
    )
    assert tight < rate()
    # the roofline: decodes at the largest batch, never more than prefill's arithmetic allows
    assert rate() < 1e9 / (1000 * PROFILE.token_ns)


def test_one_request_at_a_time_is_served_whatever_the_objective():
    hopeless = engine_requests_per_s(
        PROFILE, Objective(ttft_s=0.001, tpot_s=0.001), prompt_tokens=1000.0, output_tokens=200.0
    )
    assert hopeless == pytest.approx(1 / (200 * 0.04), rel=0.5)


def test_the_floor_is_the_forecast_over_the_rate():
    planner = DynamoThroughput(setting(replicas_max=50))
    workers = [pod(page()) for _ in range(2)]
    arrived, answers = 0, []
    for tick in range(1, 181):  # 15 minutes, five seconds each
        arrived += 50
        for number, worker in enumerate(workers):
            worker.sample = page(
                kv=0.7,
                finished=arrived // 2 + number,
                prompt_tokens=arrived // 2 * 1000,
                generation_tokens=arrived // 2 * 200,
            )
        counted = RouterView(arrived_total=arrived, outstanding_requests=0, waiting_requests=0)
        answers.append(planner.sync(view(*workers, at=5.0 * tick, router=counted)))
    demand = 10.0  # requests per second
    assert answers[35] == 2  # the first interval is not over
    engines = demand / engine_requests_per_s(
        PROFILE, setting().objective, prompt_tokens=1000.0, output_tokens=200.0
    )
    assert answers[-1] == pytest.approx(engines, abs=1.5)


def test_the_trend_repeats_until_it_has_five_then_follows_a_slope():
    trend = Trend()
    assert trend.next() is None
    trend.add(0.0)
    assert trend.next() is None  # zeros before the first request are skipped
    for value in (10.0, 20.0, 30.0, 40.0):
        trend.add(value)
        assert trend.next() == value
    for value in range(50, 400, 10):
        trend.add(float(value))
    assert trend.next() == pytest.approx(400.0, rel=0.03)
    for _ in range(40):
        trend.add(0.0)
    assert trend.next() == pytest.approx(0.0, abs=5.0)
