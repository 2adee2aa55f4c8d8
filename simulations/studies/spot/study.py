"""The runs of the study: each market under each traffic, and the same traffic all on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from simulations.replay.conditions import (
    Conditions,
    ConditionsRequest,
    conditions_of,
    load_tested,
    with_maximum,
)
from simulations.replay.engine_loop import model_spec
from simulations.replay.replay import run
from simulations.replay.run import Run
from simulations.replay.stage import spot_lives
from simulations.results.scorecard import Score, score
from simulations.runs.progress import open_reporter
from simulations.runs.runs import cached_trace
from simulations.runs.side_by_side import results_of
from simulations.studies.spot.figures import clairvoyant_usd, given_s, lost_short
from simulations.studies.spot.recordings import MARKETS, TRAFFIC, Traffic
from simulations.studies.spot.rows import ENGINE, PEER, Row
from simulations.world.market.prices import PricedProfile
from simulations.world.market.spot import read_spot

SPOT_PRICE_RATIO = 0.35
"""Of the price on demand."""
ALL_ON_DEMAND = "on-demand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One run, or with no policy the clairvoyant's bill of each market."""

    trace: str
    conditions: Conditions
    policy: str
    seed: int
    markets: tuple[tuple[str, Conditions], ...] = ()
    """Of the run that is all on demand: where the clairvoyant would buy, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRun:
    """What it came to."""

    score: Score
    lost_short: int
    clairvoyant_usd: dict[str, tuple[float, float]]
    """With the warm replica on demand, and free of it. By market; of the run that is all on demand."""


def study(
    folder: str,
    *,
    only: str = "",
    seeds: int = 1,
    hours: float | None = None,
    policies: Sequence[str] = (ENGINE, PEER),
    jobs: int = 1,
) -> list[Row]:
    """Run it; rows in the order of traffic, market, seed, policy.

    Raises:
        AutoscalerError: A recording cannot be read.
    """
    asked: list[Asked] = []
    names: list[tuple[str, str]] = []
    for traffic in TRAFFIC:
        chosen = [market for market in MARKETS if only in f"{traffic.name}/{market.name}"]
        if not chosen:
            continue
        trace = f"{folder}/{traffic.spec}"
        if hours is not None:
            trace = trace.replace("days=1", f"hours={hours:g}")
        on_demand = _conditions(traffic, trace)
        on_spot = {
            market.name: replace(
                on_demand,
                spot=read_spot(f"{folder}/{market.spec}"),
                spot_lead_s=market.lead_s,
            )
            for market in chosen
        }
        for seed in range(seeds):
            asked.append(
                Asked(
                    trace=trace,
                    conditions=on_demand,
                    policy=ENGINE,
                    seed=seed,
                    markets=tuple(on_spot.items()),
                )
            )
            names.append((traffic.name, ALL_ON_DEMAND))
            for name, conditions in on_spot.items():
                for policy in policies:
                    asked.append(
                        Asked(trace=trace, conditions=conditions, policy=policy, seed=seed)
                    )
                    names.append((traffic.name, name))
    with open_reporter(sys.stderr, runs=len(asked)) as reporter:
        answers = results_of(
            _answer,
            asked,
            jobs=jobs,
            reporter=reporter,
            line=lambda number, answer: f"{'/'.join(names[number])}  {answer.score.policy}",
        )
    return _rows(names, asked, answers)


def _conditions(traffic: Traffic, trace: str) -> Conditions:
    """All on demand, at the study's prices."""
    made = conditions_of(ConditionsRequest(profile=traffic.profile, scale=traffic.scale))
    each = made.profile.usd_per_hour / made.profile.gpus
    profile = PricedProfile(
        **asdict(made.profile),
        gpu_usd_per_hour=each,
        gpu_spot_usd_per_hour=SPOT_PRICE_RATIO * each,
    )
    read = cached_trace(trace)
    return with_maximum(load_tested(replace(made, profile=profile), read), read)


def _answer(asked: Asked, /, *, progress: Callable[[float], None]) -> StudyRun:
    done = run(
        cached_trace(asked.trace),
        asked.policy,
        seed=asked.seed,
        conditions=asked.conditions,
        progress=progress,
    )
    return StudyRun(
        score=score(done),
        lost_short=lost_short(done, given_s=given_s(asked.conditions.spot_lead_s)),
        clairvoyant_usd={
            name: _clairvoyant(done, conditions) for name, conditions in asked.markets
        },
    )


def _clairvoyant(done: Run, conditions: Conditions) -> tuple[float, float]:
    assert conditions.spot is not None
    payments = done.ledger.closed(at_ns=done.end_ns)
    lives = spot_lives(conditions.spot, done.seed, done.end_ns)
    kept = model_spec(conditions, done.requests).warm_floor.replicas
    with_floor, free = (
        clairvoyant_usd(
            payments,
            lives,
            end_ns=done.end_ns,
            kept=replicas,
            on_demand_usd_per_hour=conditions.profile.usd_per_hour,
            spot_usd_per_hour=conditions.profile.spot_usd_per_hour,
        )
        for replicas in (kept, 0)
    )
    return with_floor, free


def _rows(
    names: Sequence[tuple[str, str]], asked: Sequence[Asked], answers: Sequence[StudyRun]
) -> list[Row]:
    bases = {
        (traffic, what.seed): answer
        for (traffic, market), what, answer in zip(names, asked, answers, strict=True)
        if market == ALL_ON_DEMAND
    }
    rows = []
    for (traffic, market), what, answer in zip(names, asked, answers, strict=True):
        if market == ALL_ON_DEMAND:
            continue
        base, made = bases[traffic, what.seed], answer.score
        assert made.spot is not None
        rows.append(
            Row(
                traffic=traffic,
                market=market,
                policy=what.policy,
                seed=what.seed,
                cost_usd=made.cost_usd,
                attainment=made.attainment,
                lost=made.lost,
                lost_short=answer.lost_short,
                interruptions=made.spot.interruptions,
                fallback_hours=made.spot.fallback_hours,
                on_demand_usd=base.score.cost_usd,
                on_demand_attainment=base.score.attainment,
                clairvoyant_usd=base.clairvoyant_usd[market][0],
                free_usd=base.clairvoyant_usd[market][1],
            )
        )
    return rows
