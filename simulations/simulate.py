"""`autoscaler simulate`: traces through policies, in order; progress on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from autoscaler.errors import SettingsError
from simulations.bounds.figures import BoundCurve
from simulations.peers.rules.registry import BASELINES, KINDS, REFERENCES
from simulations.replay.conditions import (
    Conditions,
    ConditionsRequest,
    conditions_of,
    load_tested,
    with_maximum,
    with_score_from,
)
from simulations.replay.engine_loop import ENGINE_POLICIES
from simulations.results.report.write import check_report, write_report
from simulations.results.scorecard import Score
from simulations.results.tables import OUTPUTS, write_scores
from simulations.runs.found.score_found import with_found
from simulations.runs.progress import SILENT, open_reporter
from simulations.runs.runs import Plan, cached_trace, cores, play_all
from simulations.runs.score_bounds import bound_key, bounded_scores
from simulations.runs.sweep import sweep, with_best

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateRequest(ConditionsRequest):
    """What the command line asks for."""

    traces: Sequence[str]
    """Each `PATH[,key=value…]`, or `generate:…`."""
    policies: Sequence[str] = ()
    """Names, empty: `inference-aware`; `all` is that and the baselines."""
    sweep: bool = False
    """Give every tunable baseline the best of its settings too, in hindsight."""
    seeds: int = 1
    """Runs with the seeds 0 to this less one."""
    bounds: bool = False
    """Hold every row against the least that anyone could have paid."""
    report: Path | None = None
    """Where to write the HTML report; None: nowhere."""
    output: str = "table"
    """`table`, `json` or `csv`."""
    jobs: int | None = None
    """Runs side by side; None: one a processor."""
    ray: str | None = None
    """Address of a Ray cluster that makes the runs; None: this machine does."""


def run_simulate(request: SimulateRequest) -> int:
    """Replay every trace under every policy with every seed, and print one row each.

    Returns:
        The exit status, 0.

    Raises:
        AutoscalerError: A trace, or what is requested, cannot be worked with.
    """
    if request.output not in OUTPUTS:
        raise SettingsError(f"-o {request.output!r}: write one of {', '.join(OUTPUTS)}")
    if request.seeds < 1:
        raise SettingsError(f"--seeds {request.seeds}: write 1 or more")
    if request.report is not None:
        check_report(request.report)
    conditions = conditions_of(request)
    policies = policy_names(request.policies)
    # with bounds the references are run too: beside the policies, not among them
    references = [name for name in REFERENCES if request.bounds and name not in policies]
    plans = [
        plan
        for trace in request.traces
        for plan in _plans(trace, (*policies, *references), conditions, request)
    ]
    jobs = request.jobs or cores()
    if request.sweep:
        swept = sweep(plans, partial(_played, jobs=jobs, ray_address=request.ray))
        for edge in swept.edges:
            print(edge, file=sys.stderr)
        plans = with_best(plans, swept.best)
    scores = _played(plans, jobs=jobs, ray_address=request.ray)
    curves: list[BoundCurve] = []
    if request.bounds:
        bounds = len({bound_key(plan) for plan in plans})
        with open_reporter(sys.stderr, runs=bounds, doing="bounds") as reporter:
            bounded = bounded_scores(scores, plans, jobs=jobs, reporter=reporter)
        curves = bounded.curves
        searches = len({(plan.trace, plan.seed) for plan in plans})
        with open_reporter(sys.stderr, runs=searches, doing="schedules sought") as reporter:
            found = with_found(
                bounded.scores,
                plans,
                play=lambda asked: play_all(
                    asked, jobs=jobs, reporter=SILENT, ray_address=request.ray
                ),
                say=reporter.say,
            )
        scores = found.scores
        for sentence in found.beaten:
            print(f"not searched well: {sentence}", file=sys.stderr)
    if request.report is not None:
        write_report(request.report, scores, curves=curves)
    if request.output != "table":
        scores = [score for score in scores if score.policy not in references]
    write_scores(scores, output=request.output, file=sys.stdout)
    return 0


def _played(plans: Sequence[Plan], *, jobs: int, ray_address: str | None) -> list[Score]:
    with open_reporter(sys.stderr, runs=len(plans)) as reporter:
        return play_all(plans, jobs=jobs, reporter=reporter, ray_address=ray_address)


def _plans(
    spec: str, policies: Sequence[str], conditions: Conditions, request: SimulateRequest
) -> list[Plan]:
    """Every run on one trace, in order; a report draws the first seed of each over time."""
    trace = cached_trace(spec)
    for note in trace.notes:
        print(f"{trace.name}: {note}", file=sys.stderr)
    conditions = with_score_from(with_maximum(load_tested(conditions, trace), trace), trace)
    return [
        Plan(
            trace=spec,
            policy=policy,
            seed=seed,
            conditions=conditions,
            with_timeline=request.report is not None and seed == 0,
        )
        for policy in policies
        for seed in range(request.seeds)
    ]


def policy_names(policies: Sequence[str]) -> tuple[str, ...]:
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
