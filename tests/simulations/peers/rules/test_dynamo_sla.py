"""Dynamo with an SLA: a forecast over an engine's rate makes a floor, predicted latencies move above it."""

import pytest

from autoscaler.core.contract.spec import Objective
from simulations.peers.baseline import RouterView
from simulations.peers.rules.dynamo_sla import DynamoSla, Trend, engine_requests_per_s
from simulations.serving.columns import Gauges
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
    planner = DynamoSla(setting(replicas_max=50))
    workers = [pod(page()) for _ in range(2)]
    arrived, answers = 0, []
    for tick in range(1, 181):  # 15 minutes, five seconds each
        arrived += 50
        for number, worker in enumerate(workers):
            worker.sample = page(
                kv=0.55,
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


def looped(*pages: Gauges, sla_share: float = 1.0, prompt: int = 1000, output: int = 200) -> int:
    """What the load loop asks for once lengths are known, with these pages of so many workers."""
    planner = DynamoSla(setting(replicas_min=1), sla_share=sla_share)
    workers = [pod(page()) for _ in pages]
    planner.sync(view(*workers, at=0.0))
    for worker, shown in zip(workers, pages, strict=True):
        worker.sample = shown._replace(
            finished_requests_total=10,
            prompt_tokens_total=10 * prompt,
            generation_tokens_total=10 * output,
        )
    return planner.sync(view(*workers, at=5.0))


QUEUE = page(kv=0.1, waiting=40)  # 40,000 tokens of prompts: some seconds
IDLE = page(kv=0.01)


@pytest.mark.parametrize(
    ("rule", "pages", "expected"),
    [
        ("all miss the first token: one more", [QUEUE, QUEUE], 3),
        ("one that keeps it holds all", [QUEUE, IDLE], 2),
        ("all idle: one less", [IDLE, IDLE, IDLE], 2),
        ("the last one stays", [IDLE], 1),
        ("one that could not bear more holds all", [IDLE, page(kv=0.6), IDLE], 3),
        ("a cache that the rest could not hold", [page(kv=0.55), page(kv=0.55)], 2),
    ],
)
def test_the_load_loop_goes_by_predicted_latency(rule: str, pages: list[Gauges], expected: int):
    assert looped(*pages) == expected, rule


def test_between_tokens_counts_as_the_first_does():
    busy = page(kv=0.4, running=100)
    assert looped(busy, busy, sla_share=0.3) == 3
    assert looped(busy, busy, sla_share=5.0) == 1


def test_it_holds_while_a_worker_starts_without_metrics_and_without_lengths():
    planner = DynamoSla(setting())
    assert planner.sync(view(pod(QUEUE), pod(ready=False), at=0.0)) == 2
    assert planner.sync(view(pod(QUEUE, stale=True), at=5.0)) == 1
    assert planner.sync(view(pod(QUEUE), at=10.0)) == 1  # nothing has finished: no lengths
