"""Rows held against their bounds: never beaten on any market, side by side alike, and loud when beaten."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoscaler.errors import InvariantBroken
from simulations.agenda import NS
from simulations.bounds.figures import bound_figures, trace_bound, unlimited_attainment
from simulations.peers.rules.lookahead import NAME as LOOKAHEAD
from simulations.replay.conditions import Conditions
from simulations.replay.replay import run
from simulations.replay.stage import spot_lives
from simulations.results.scorecard import score
from simulations.runs.runs import Plan, play
from simulations.runs.score_bounds import bound_key, bounded_scores
from simulations.serving.columns import RequestColumns
from simulations.simulate import SimulateRequest, run_simulate
from simulations.traces.trace import Trace
from simulations.world.cold_start import COLD_STARTS, cold_start
from simulations.world.ledger import Ledger
from simulations.world.market.prices import MarketProfile
from simulations.world.market.spot import MachineLife, SpotHistory
from simulations.world.market.spot_prices import SpotPrices
from tests.extent import examples
from tests.simulations.runs.reporters import RememberingReporter
from tests.simulations.world.world_builder import PROFILE

TRACE = "generate:bursty,hours=0.15,rate=2,input=300,output=100"
CONDITIONS = Conditions(profile=PROFILE, cold_start=COLD_STARTS["hot"], replicas_max=4)


def market_profile(prices_usd, *, span_s):
    """Spot at a price that changes at even steps of the span."""
    changes = [(span_s * at / len(prices_usd), usd) for at, usd in enumerate(prices_usd)]
    series = SpotPrices.of(changes, span_s=span_s)
    return MarketProfile(
        **asdict(PROFILE),
        gpu_usd_per_hour=PROFILE.usd_per_hour,
        gpu_spot_usd_per_hour=series.mean_usd_per_gpu_hour,
        spot_prices=series,
    )


def prices_from(profile, from_s):
    """The same market, from a moment on."""
    series = SpotPrices.of([(0.0, 0.9)], span_s=1800.0 - from_s)
    return replace(profile, spot_prices=series)


def machines(spans, *, span_s):
    lives = [
        MachineLife(
            up_ns=int(up * span_s * NS), down_ns=int((up + length * (1 - up)) * span_s * NS)
        )
        for up, length in spans
    ]
    return SpotHistory(name="market", span_ns=int(span_s * NS), lives=tuple(lives))


@pytest.mark.slow
@settings(max_examples=examples(day=12, night=60))
@example(  # the only machine is lost, and for two seconds nobody pays for anything
    seed=1,
    policy="skyserve",
    rate=1.0,
    spans=[(0.0, 0.5)],
    prices=[1.0],
    wait_s=1.0,
    score_from_s=0.0,
)
@given(
    seed=st.integers(0, 2**16),
    policy=st.sampled_from(["static-peak", "hpa", "skyserve", "keda", LOOKAHEAD]),
    rate=st.floats(0.3, 4.0),
    spans=st.lists(st.tuples(st.floats(0, 0.9), st.floats(0.2, 1)), min_size=1, max_size=5),
    prices=st.lists(st.floats(0.05, 2.5), min_size=1, max_size=6),
    wait_s=st.floats(0.3, 4.0),
    score_from_s=st.sampled_from([0.0, 300.0]),
)
def test_s7_holds_on_any_market_at_any_price(
    seed, policy, rate, spans, prices, wait_s, score_from_s
):
    random = np.random.default_rng(seed)
    span_s = 900.0
    count = max(2, int(rate * span_s))
    requests = RequestColumns(
        arrival_ns=np.sort(random.uniform(0, span_s, count) * 1e9).astype(np.int64),
        prompt_tokens=random.integers(1, 3000, count),
        output_tokens=random.integers(1, 300, count),
    )
    requests = replace(requests, arrival_ns=requests.arrival_ns - requests.arrival_ns[0])
    conditions = Conditions(
        profile=market_profile(prices, span_s=span_s),
        cold_start=cold_start("40"),
        objective=replace(CONDITIONS.objective, ttft_s=wait_s),
        spot=machines(spans, span_s=span_s),
        score_from_s=score_from_s,
    )
    trace = Trace(name="t", requests=requests)
    row = score(run(trace, policy, seed=seed, conditions=conditions))
    bound = trace_bound(
        requests,
        conditions.profile,
        conditions.objective,
        end_ns=trace.end_ns,
        start_s=conditions.cold_start.shortest_s,
        spot=spot_lives(conditions.spot, seed, trace.end_ns),
        from_ns=conditions.score_from_ns,
    )
    held = bound_figures(
        name=policy,
        cost_usd=row.cost_usd,
        attainment=row.attainment,
        requests=row.requests,
        bound=bound,
    )
    assert held.relaxed_ratio is None or held.relaxed_ratio >= 1 - 1e-6
    assert row.attainment <= unlimited_attainment(
        requests,
        conditions.profile,
        conditions.objective,
        from_ns=conditions.score_from_ns,
    )


def test_the_bound_of_a_scored_part_is_that_of_its_requests_alone():
    spans = ((0, 900), (1200, 600))
    traces = [
        RequestColumns(
            arrival_ns=np.arange(first, first + count, dtype=np.int64) * NS,
            prompt_tokens=np.full(count, 500),
            output_tokens=np.full(count, 50),
        )
        for first, count in spans
    ]
    both = RequestColumns(
        arrival_ns=np.concatenate([part.arrival_ns for part in traces]),
        prompt_tokens=np.full(1500, 500),
        output_tokens=np.full(1500, 50),
    )
    last = replace(traces[1], arrival_ns=traces[1].arrival_ns - 1200 * NS)
    prices = market_profile([0.2, 0.5, 0.9], span_s=1800.0)
    lives = [MachineLife(up_ns=100 * NS, down_ns=1300 * NS)]
    shifted = [MachineLife(up_ns=-1100 * NS, down_ns=100 * NS)]
    whole = trace_bound(
        both,
        prices,
        CONDITIONS.objective,
        end_ns=1800 * NS,
        start_s=10.0,
        spot=lives,
        from_ns=1200 * NS,
    )
    alone = trace_bound(
        last,
        prices_from(prices, 1200.0),
        CONDITIONS.objective,
        end_ns=600 * NS,
        start_s=10.0,
        spot=shifted,
    )
    for share in (0.5, 0.9, 1.0):
        assert whole.at_attainment(share) == pytest.approx(alone.at_attainment(share))


def test_spot_that_is_dear_for_a_while_raises_the_bound_only_there():
    requests = RequestColumns(
        arrival_ns=np.arange(900, dtype=np.int64) * NS,
        prompt_tokens=np.full(900, 500),
        output_tokens=np.full(900, 50),
    )
    costs = [
        trace_bound(
            requests,
            market_profile(prices, span_s=900.0),
            CONDITIONS.objective,
            end_ns=900 * NS,
            start_s=10.0,
            spot=[MachineLife(up_ns=0, down_ns=10**15)],
        ).at_attainment(1.0)
        for prices in ([0.2, 0.2, 0.2], [0.2, 0.5, 0.2], [0.5, 0.5, 0.5])
    ]
    assert costs[0] < costs[1] < costs[2]
    assert costs[1] - costs[0] == pytest.approx((costs[2] - costs[0]) / 3, rel=0.05)


@pytest.mark.slow
def test_bounds_side_by_side_are_the_same():
    plans = [
        Plan(trace=TRACE, policy=policy, seed=seed, conditions=replace(CONDITIONS, scale=1.5))
        for policy in ("static-peak", LOOKAHEAD)
        for seed in (0, 1)
    ]
    assert len({bound_key(plan) for plan in plans}) == 2
    rows = [play(plan) for plan in plans]
    alone = bounded_scores(rows, plans, jobs=1, reporter=RememberingReporter())
    apart = bounded_scores(rows, plans, jobs=2, reporter=RememberingReporter())
    assert [row.to_json() for row in alone.scores] == [row.to_json() for row in apart.scores]
    assert alone.curves == apart.curves
    ahead = alone.scores[2]
    assert ahead.bound is not None
    for row in (alone.scores[0], ahead):
        assert row.lookahead is not None
        assert row.lookahead.cost_usd == ahead.cost_usd
        assert row.lookahead.ratio == ahead.bound.ratio
    assert alone.scores[1].lookahead != alone.scores[0].lookahead


def test_seeds_share_a_bound_where_nothing_is_drawn():
    plan = Plan(trace=TRACE, policy="hpa", seed=3, conditions=CONDITIONS)
    assert bound_key(plan) == bound_key(replace(plan, seed=4))
    spot = replace(plan, conditions=replace(CONDITIONS, spot=machines([(0.0, 1.0)], span_s=60.0)))
    assert bound_key(spot) != bound_key(replace(spot, seed=4))


@pytest.mark.slow
def test_a_ledger_that_forgets_to_pay_fails_the_run(monkeypatch):
    plan = Plan(trace=TRACE, policy="static-peak", seed=0, conditions=CONDITIONS)
    honest = play(plan)
    (held,) = bounded_scores([honest], [plan], jobs=1, reporter=RememberingReporter()).scores
    assert held.bound is not None
    assert held.bound.relaxed_ratio is not None
    # so much of every payment is forgotten that what is left is below anyone's least
    kept = Ledger.closed

    def forgetful(ledger, *, at_ns, from_ns):
        least = held.bound.relaxed_ratio
        return [
            replace(paid, to_ns=paid.from_ns + int((paid.to_ns - paid.from_ns) * 0.9 / least))
            for paid in kept(ledger, at_ns=at_ns, from_ns=from_ns)
        ]

    monkeypatch.setattr(Ledger, "closed", forgetful)
    with pytest.raises(InvariantBroken, match=r"static-peak, seed 0: cost .* is below"):
        run_simulate(
            SimulateRequest(
                traces=[TRACE],
                policies=["static-peak"],
                cold_start="hot",
                max_replicas=4,
                bounds=True,
                jobs=1,
            )
        )


@pytest.mark.slow
def test_with_bounds_the_reference_is_beside_the_rows_and_not_among_them(capsys):
    request = SimulateRequest(
        traces=[TRACE], policies=["static-peak"], cold_start="hot", jobs=1, bounds=True
    )
    run_simulate(replace(request, output="json"))
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert set(row["bound"]) == {"cost_usd", "ratio", "relaxed_ratio", "queue_usd"}
    assert set(row["lookahead"]) == {"cost_usd", "attainment", "ratio"}
    assert set(row["found"]) == {"cost_usd", "attainment", "ratio"}
    assert row["found"]["cost_usd"] <= row["cost_usd"]
    assert row["attainment_relative"] == pytest.approx(
        row["attainment"] / row["attainment_unlimited"], abs=1e-6
    )
    run_simulate(request)
    out = capsys.readouterr().out
    assert "lookahead" in out
    assert "× found" in out
