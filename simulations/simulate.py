"""`autoscaler simulate`: traces through policies, in order; progress on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from autoscaler.errors import SettingsError
from simulations.peers.rules.registry import BASELINES, KINDS, REFERENCES
from simulations.replay.conditions import conditions_of, load_tested, with_room
from simulations.replay.replay import ENGINE_POLICIES, Conditions
from simulations.results.report.entry import BoundCurve
from simulations.results.report.write import check_report, write_report
from simulations.results.tables import OUTPUTS, write_rows
from simulations.runs.bounded import bound_key, bounded
from simulations.runs.progress import reporting
from simulations.runs.runs import Plan, cores, loaded, play_all
from simulations.runs.sweep import best_parameters, sweep_plans, with_best
from simulations.traces.reading import Trace

ALL = "all"


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
    spot_lead: float | str = 120.0,
    faults: str | None = None,
    routing: str = "least-outstanding",
    prices: str | None = None,
    output: str = "table",
    jobs: int | None = None,
    ray: str | None = None,
    sweep: bool = False,
    bounds: bool = False,
    report: Path | None = None,
) -> int:
    """Replay every trace under every policy with every seed, and print one row each.

    Args:
        traces: `PATH[,key=value…]`, or `generate:…`.
        policies: Names; `all` is `inference-aware` and the baselines.
        profile: A name in PROFILES.
        cold_start: A name in COLD_STARTS, seconds, or a file of measured starts.
        scale: Copies of the trace laid over each other; below 1 it is thinned.
        objective: `ttft=SECONDS,tpot=SECONDS`, or `ttft=1+2x,…` with x for a request's own prefill.
        max_replicas: Bound of every policy; None: 10, or half more than the peak needs.
        seeds: Runs with the seeds 0 to this less one.
        spot: A recording of a spot market; None: all nodes are on demand.
        spot_lead: From a notice to the loss: `aws`, `gcp`, `azure`, `none`, or seconds.
        faults: A TOML file of declared faults; None: nothing goes wrong.
        routing: `round-robin`, `least-outstanding` or `prefix`.
        prices: A TOML file of dollars per GPU-hour, or a history of spot prices; None: list prices.
        output: `table`, `json` or `csv`.
        jobs: Runs side by side; None: one a processor.
        ray: Address of a Ray cluster that makes the runs; None: this machine does.
        sweep: Give every tunable baseline the best of twelve settings too, in hindsight.
        bounds: Hold every row against the least that anyone could have paid.
        report: Where to write the HTML report; None: nowhere.

    Returns:
        The exit status, 0.

    Raises:
        AutoscalerError: A trace, or what was asked for, cannot be worked with.
    """
    if output not in OUTPUTS:
        raise SettingsError(f"-o {output!r}: write one of {', '.join(OUTPUTS)}")
    if seeds < 1:
        raise SettingsError(f"--seeds {seeds}: write 1 or more")
    if report is not None:
        check_report(report)
    conditions = conditions_of(
        profile=profile,
        prices=prices,
        cold_start=cold_start,
        scale=scale,
        objective=objective,
        max_replicas=max_replicas,
        spot=spot,
        spot_lead=spot_lead,
        faults=faults,
        routing=routing,
    )
    named = expanded(policies)
    # with bounds the references are run too: beside the policies, not among them
    references = [name for name in REFERENCES if bounds and name not in named]
    plans = _plans(
        traces,
        (*named, *references),
        conditions,
        seeds=seeds,
        timelines=report is not None,
    )
    at_a_time = cores() if jobs is None else jobs
    if sweep:
        plans = _swept(plans, jobs=at_a_time, ray=ray)
    with reporting(sys.stderr, runs=len(plans)) as reporter:
        rows = play_all(plans, jobs=at_a_time, reporter=reporter, ray_address=ray)
    curves: list[BoundCurve] = []
    if bounds:
        made = len({bound_key(plan) for plan in plans})
        with reporting(sys.stderr, runs=made, doing="bounds") as reporter:
            held = bounded(rows, plans, jobs=at_a_time, reporter=reporter)
        rows, curves = held.rows, held.curves
    if report is not None:
        write_report(report, rows, curves=curves)
    if output != "table":
        rows = [row for row in rows if row.policy not in references]
    write_rows(rows, output=output, file=sys.stdout)
    return 0


def _plans(
    traces: Sequence[str],
    policies: Sequence[str],
    conditions: Conditions,
    *,
    seeds: int,
    timelines: bool,
) -> list[Plan]:
    """Every run in its order; a report draws the first seed of each over time."""
    return [
        Plan(
            trace=spec,
            policy=policy,
            seed=seed,
            conditions=bounded,
            with_timeline=timelines and seed == 0,
        )
        for spec in traces
        for trace in (_announced(loaded(spec)),)
        for tested in (load_tested(conditions, trace),)
        for bounded in (with_room(tested, trace),)
        for policy in policies
        for seed in range(seeds)
    ]


def _announced(trace: Trace) -> Trace:
    """The trace, once its user was told what was left out of it and what was assumed."""
    for note in trace.notes:
        print(f"{trace.name}: {note}", file=sys.stderr)
    return trace


def _swept(plans: Sequence[Plan], *, jobs: int, ray: str | None) -> list[Plan]:
    """The plans, and those with the best setting of each baseline behind them."""
    tried = sweep_plans(plans)
    with reporting(sys.stderr, runs=len(tried)) as reporter:
        rows = play_all(tried, jobs=jobs, reporter=reporter, ray_address=ray)
    return with_best(plans, best_parameters(tried, rows))


def expanded(policies: Sequence[str]) -> tuple[str, ...]:
    """The policies meant, each once, in order; raises SettingsError."""
    names: dict[str, None] = {}
    for name in policies or (ENGINE_POLICIES[0],):
        if name == ALL:
            names |= dict.fromkeys((ENGINE_POLICIES[0], *BASELINES))
        elif name in ENGINE_POLICIES or name in KINDS:
            names[name] = None
        else:
            known = ", ".join((*ENGINE_POLICIES, *KINDS, ALL))
            raise SettingsError(f"--policy {name!r}: no such policy; write one of {known}")
    return tuple(names)
