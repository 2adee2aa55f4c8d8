"""`autoscaler simulate`: traces through policies, in order; progress on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autoscaler.errors import SettingsError
from simulations.baselines.registry import BASELINES
from simulations.bounds.bound import Bound
from simulations.bounds.figures import figures, trace_bound, unlimited_attainment
from simulations.coldstart import cold_start as parse_cold_start
from simulations.faults import read_faults
from simulations.objective import parse_objective
from simulations.offered import peak_replicas
from simulations.progress import reporting
from simulations.replay import ENGINE_POLICIES, Conditions, spot_lives
from simulations.report.page import BoundCurve
from simulations.report.write import write_report
from simulations.runs import Plan, cores, loaded, play_all
from simulations.scorecard import Row
from simulations.serving.carrying import carrying
from simulations.serving.profiles import PROFILES, Profile
from simulations.spot import read_spot
from simulations.tables import OUTPUTS, write_rows
from simulations.traces.overlay import scaled
from simulations.traces.reading import Trace

ALL = "all"
CURVE = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""Attainments at which the bound is drawn."""
REPLICAS_MAX = 10
"""As in the resource, unless the trace's peak needs more."""


def run_simulate(
    *,
    traces: Sequence[str],
    policies: Sequence[str] = (ENGINE_POLICIES[0],),
    profile: str = "llama-3.1-8b/1xL40S",
    cold_start: str = "standard",
    scale: float = 1.0,
    objective: str = "ttft=1+2x,tpot=0.1",
    max_replicas: int | None = None,
    seeds: int = 1,
    spot: str | None = None,
    spot_lead: float = 120.0,
    faults: str | None = None,
    output: str = "table",
    jobs: int | None = None,
    bounds: bool = False,
    report: Path | None = None,
) -> int:
    """Replay every trace under every policy with every seed, and print one row each.

    Args:
        traces: Paths, or `generate:…`.
        policies: Names; `all` is `inference-aware` and the baselines.
        profile: A name in PROFILES.
        cold_start: A name in COLD_STARTS, or seconds.
        scale: Copies of the trace laid over each other; below 1 it is thinned.
        objective: `ttft=SECONDS,tpot=SECONDS`, or `ttft=1+2x,…` with x for a request's own prefill.
        max_replicas: Bound of every policy; None: 10, or half more than the peak needs.
        seeds: Runs with the seeds 0 to this less one.
        spot: A recording of a spot market; None: all nodes are on demand.
        spot_lead: Seconds from a notice to the loss; 0: none.
        faults: A TOML file of declared faults; None: nothing goes wrong.
        output: `table`, `json` or `csv`.
        jobs: Runs side by side; None: one a processor.
        bounds: Hold every row against the least that anyone could have paid.
        report: Where to write the HTML report; None: nowhere.

    Returns:
        The exit status, 0.

    Raises:
        AutoscalerError: A trace, or what was asked for, cannot be worked with.
    """
    if output not in OUTPUTS:
        raise SettingsError(f"-o {output!r}: write one of {', '.join(OUTPUTS)}")
    names = expanded(policies)
    conditions = Conditions(
        profile=_profile(profile),
        cold_start=parse_cold_start(cold_start),
        scale=_scale(scale),
        objective=parse_objective(objective),
        spot=None if spot is None else read_spot(Path(spot)),
        spot_lead_s=_lead(spot_lead),
        faults=() if faults is None else read_faults(Path(faults)),
    )
    if seeds < 1:
        raise SettingsError(f"--seeds {seeds}: write 1 or more")
    if max_replicas is not None and max_replicas < 1:
        raise SettingsError(f"--max-replicas {max_replicas}: write 1 or more")
    plans = [
        Plan(
            trace=spec,
            policy=name,
            seed=seed,
            conditions=bounded,
            with_timeline=report is not None and seed == 0,
        )
        for spec in traces
        for tested in (_load_tested(conditions, loaded(spec)),)
        for bounded in (_bounded(tested, loaded(spec), max_replicas),)
        for name in names
        for seed in range(seeds)
    ]
    with reporting(sys.stderr, runs=len(plans)) as reporter:
        rows = play_all(plans, jobs=cores() if jobs is None else jobs, reporter=reporter)
    if bounds:
        rows = with_bounds(rows, plans)
    if report is not None:
        write_report(report, rows, curves=_curves(plans) if bounds else ())
    write_rows(rows, output=output, file=sys.stdout)
    return 0


def with_bounds(rows: Sequence[Row], plans: Sequence[Plan]) -> list[Row]:
    """Each row held against the bound of its trace; a bound is made once for all policies."""
    known: dict[tuple[str, int], tuple[Bound, float]] = {}
    bounded = []
    for row, plan in zip(rows, plans, strict=True):
        key = (plan.trace, plan.seed)
        if key not in known:
            known[key] = _trace_bound(plan)
        bound, unlimited = known[key]
        figure = figures(
            name=f"{row.trace}, {row.policy}, seed {row.seed}",
            cost_usd=row.cost_usd,
            attainment=row.attainment,
            requests=row.requests,
            bound=bound,
        )
        bounded.append(replace(row, bound=figure, attainment_unlimited=unlimited))
    return bounded


def _curves(plans: Sequence[Plan]) -> list[BoundCurve]:
    """The clairvoyant's cost over attainment, one curve a trace, of its first seed."""
    curves: dict[str, BoundCurve] = {}
    for plan in plans:
        name = loaded(plan.trace).name
        if name not in curves:
            bound, unlimited = _trace_bound(plan)
            shares = [share for share in CURVE if share <= unlimited]
            curves[name] = BoundCurve(
                trace=name,
                attainment=shares,
                cost_usd=[bound.at_attainment(share) for share in shares],
            )
    return list(curves.values())


def _trace_bound(plan: Plan) -> tuple[Bound, float]:
    conditions, trace = plan.conditions, loaded(plan.trace)
    requests = scaled(trace.requests, scale=conditions.scale, seed=plan.seed)
    profile, objective = conditions.profile, conditions.objective
    bound = trace_bound(
        requests,
        profile,
        objective,
        end_ns=trace.end_ns,
        start_s=conditions.cold_start.shortest_s,
        spot=None
        if conditions.spot is None
        else spot_lives(conditions.spot, plan.seed, trace.end_ns),
    )
    return bound, unlimited_attainment(requests, profile, objective)


def expanded(policies: Sequence[str]) -> tuple[str, ...]:
    """The policies meant, each once, in order; raises SettingsError."""
    names: dict[str, None] = {}
    for name in policies or (ENGINE_POLICIES[0],):
        if name == ALL:
            names |= dict.fromkeys((ENGINE_POLICIES[0], *BASELINES))
        elif name in ENGINE_POLICIES or name in BASELINES:
            names[name] = None
        else:
            known = ", ".join((*ENGINE_POLICIES, *BASELINES, ALL))
            raise SettingsError(f"--policy {name!r}: no such policy; write one of {known}")
    return tuple(names)


def _load_tested(conditions: Conditions, trace: Trace) -> Conditions:
    """With the in-flight target that a load test on this trace's requests finds, for all alike.

    Four long documents fill a replica that thirty conversations fit into: a figure that is right for
    other traffic would judge the guess, not the policy.
    """
    if not len(trace.requests):
        return conditions
    objective = conditions.objective
    carried = carrying(
        conditions.profile,
        trace.requests,
        ttft_s=objective.ttft_limits_s(trace.requests, conditions.profile),
        tpot_s=objective.tpot_s,
        attainment_ratio=objective.attainment_ratio,
    )
    target = max(1, round(carried.in_flight_requests))
    return replace(conditions, profile=replace(conditions.profile, in_flight_target=target))


def _bounded(conditions: Conditions, trace: Trace, max_replicas: int | None) -> Conditions:
    """With a bound that lets every policy breathe: 10, or half more than the peak needs."""
    if max_replicas is None:
        requests = scaled(trace.requests, scale=conditions.scale, seed=0)
        peak = peak_replicas(requests, conditions.profile)
        max_replicas = max(REPLICAS_MAX, peak + peak // 2)
    return replace(conditions, replicas_max=max_replicas)


def _profile(name: str) -> Profile:
    if name not in PROFILES:
        raise SettingsError(
            f"--profile {name!r}: no such profile; write one of {', '.join(PROFILES)}"
        )
    return PROFILES[name]


def _scale(scale: float) -> float:
    if not 0 < scale <= 10_000:
        raise SettingsError(f"--scale {scale}: write a number above 0, at most 10000")
    return scale


def _lead(seconds: float) -> float:
    if not 0 <= seconds <= 3600:
        raise SettingsError(f"--spot-lead {seconds}: write seconds from 0 to 3600")
    return seconds
