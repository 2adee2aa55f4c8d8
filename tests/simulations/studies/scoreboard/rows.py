"""Rows and entries that the scoreboard's tests are written with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from simulations.bounds.figures import BoundFigures
from simulations.results.scorecard import Quantiles, Score, SpotFigures

ENTRY = """
objective = "ttft=1+2x,tpot=0.1"

[[entry]]
name = "waves"
trace = "generate:bursty,hours=0.05,rate=2,input=200,output=50"
why = "Bursts."
use = "scoring"
profile = "llama-3.1-8b/1xL40S"
scale = 1
cold_start = "hot"
seeds = 1
"""
"""The smallest board there is."""


def row(
    policy: str,
    *,
    cost: float,
    attained: float = 1.0,
    seed: int = 0,
    setting: str = "default",
    parameters: Mapping[str, float] | None = None,
    ratio: float | None = 2.0,
    spot: SpotFigures | None = None,
) -> Score:
    """One run of a policy."""
    latency = Quantiles(p50=0.1, p95=0.5, p99=1.0)
    made = Score(
        trace="waves",
        policy=policy,
        seed=seed,
        requests=1000,
        completed=990,
        aborted=6,
        lost=4,
        gpu_hours=cost / 2,
        cost_usd=cost,
        attainment=attained,
        ttft_s=latency,
        tpot_s=latency,
        replicas_mean=cost / 2,
        replicas_max=3,
        starts=6,
        goodput_per_gpu=attained / cost,
        starts_per_day=12.0,
        flaps=2,
        worst_5min_attainment=attained,
        wall_s=1.0,
        spot=spot,
        setting=setting,
        parameters=parameters or {},
    )
    if ratio is None:
        return made
    bound = BoundFigures(cost_usd=cost / ratio, ratio=ratio, relaxed_ratio=ratio)
    return replace(made, bound=bound, attainment_unlimited=1.0)
