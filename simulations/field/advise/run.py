"""`autoscaler advise`: find the models, capture, replay now and ours, tell. Reads only."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoscaler.errors import SettingsError, SourceError
from simulations.field.advise.figures import breaches, comparisons, weighted_score
from simulations.field.advise.output.advice import Advice
from simulations.field.advise.output.page import write_advice_page
from simulations.field.advise.output.tables import write_advice
from simulations.field.advise.parts import ReplayedParts, choose_parts, part_trace, replica_counts
from simulations.field.advise.profile_choice import (
    ProfileChoice,
    guess_profile,
    read_clues,
    requested_profile,
)
from simulations.field.advise.replays import OURS, RECORDED, ReplayPlan, ReplayResult, play
from simulations.field.advise.scalers.manifests import (
    Manifest,
    Scaler,
    deployment_of,
    read_manifests,
    scaler_of,
    scalers_among,
    scalers_of,
)
from simulations.field.advise.starts import MeasuredStart, measured_start, read_replicas
from simulations.field.capture.capture import Capture, capture_model, find_subjects
from simulations.field.capture.draw import WINDOW_S, draw_requests
from simulations.field.capture.files import holes
from simulations.field.capture.ranges import Grid, PrometheusServer, RangeReader
from simulations.field.capture.run import parse_span
from simulations.replay.conditions import Conditions, load_tested, with_maximum
from simulations.rng import stream
from simulations.runs.progress import open_reporter, score_line
from simulations.runs.runs import cores
from simulations.runs.side_by_side import results_of
from simulations.serving.columns import RequestColumns
from simulations.serving.objective import parse_objective
from simulations.traces.trace import Trace
from simulations.world.cold_start import cold_start as parse_cold_start

BUDGET_S = 75.0
"""For the replays of all models, of the two minutes that a first look may take."""
HISTOGRAM_S = 300
"""Histograms are read in steps of five minutes: lengths are drawn over ten."""
REQUESTS_MIN = 100
"""Of a model that is replayed: fewer tell nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviseRequest:
    """What the command line asks for."""

    server: PrometheusServer
    namespace: str | None = None
    models: Sequence[str] = ()
    """Only these model_names; empty: all."""
    since: str = "7d"
    until: float | None = None
    """Seconds since 1970; None: now."""
    step: int = 30
    profiles: Sequence[str] = ()
    """`NAME|FILE`, or `MODEL=NAME|FILE`."""
    cold_start: str | None = None
    """None: as measured, else the standard one."""
    objective: str = "ttft=1+2x,tpot=0.1"
    max_replicas: int | None = None
    manifests: Sequence[Path] = ()
    full: bool = False
    """Replay all, however long it takes."""
    seed: int = 0
    jobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _FoundModel:
    """One model, captured and ready to be replayed."""

    captured: Capture
    requests: RequestColumns
    pods: tuple[str, ...]
    choice: ProfileChoice
    start: MeasuredStart
    conditions: Conditions
    scaler: Scaler | None
    parts: ReplayedParts
    notes: tuple[str, ...]


def run_advise(
    asked: AdviseRequest,
    *,
    from_cluster: Sequence[Manifest] = (),
    output: str = "table",
    report: Path | None = None,
) -> int:
    """Advise on every model that a Prometheus shows, also in an HTML `report`; the exit status, 0.

    Raises:
        SettingsError: Prometheus, the models in it or what was asked for cannot be worked with; the
            message says what was found and what to do.
    """
    try:
        advices = _advise(asked, from_cluster)
    except SourceError as error:
        raise SettingsError(str(error)) from error
    if report is not None:
        write_advice_page(report, advices)
    write_advice(advices, output=output, prometheus=asked.server.url, file=sys.stdout)
    return 0


def _advise(asked: AdviseRequest, from_cluster: Sequence[Manifest]) -> list[Advice]:
    scalers = [
        scaler_of(manifest)
        for manifest in (*read_manifests(asked.manifests), *scalers_among(from_cluster))
    ]
    parse_objective(asked.objective)
    if asked.cold_start is not None:
        parse_cold_start(asked.cold_start)
    found = _found_models(asked, scalers)
    replays = [
        replay for number, model in enumerate(found) for replay in _replays(number, model, asked)
    ]
    # the longest first: the others fit beside them
    order = sorted(replays, key=lambda replay: (replay.policy != OURS, -replay.trace.end_ns))
    with open_reporter(sys.stderr, runs=len(order)) as reporter:
        played = results_of(
            play,
            order,
            jobs=asked.jobs or cores(),
            reporter=reporter,
            line=lambda _, result: score_line(result.row),
        )
    return [_advice(number, model, played, asked) for number, model in enumerate(found)]


def _found_models(asked: AdviseRequest, scalers: Sequence[Scaler]) -> list[_FoundModel]:
    """Capture every model asked for.

    Raises:
        SettingsError: One of them cannot be replayed.
        SourceError: Prometheus cannot be read, or shows no such model.
    """
    reader = RangeReader(asked.server)
    end = time.time() if asked.until is None else asked.until
    grid = Grid.until(end, since_s=parse_span(asked.since), step=asked.step)
    subjects = find_subjects(reader, grid, namespace=asked.namespace)
    chosen = [s for s in subjects if not asked.models or s.model_name in asked.models]
    if not chosen:
        names = ", ".join(subject.name for subject in subjects)
        raise SettingsError(
            f"--model {', '.join(asked.models)}: no such model in this Prometheus; there are: {names}"
        )
    found = []
    for subject in chosen:
        _say(f"reading {subject.name}")
        captured = capture_model(
            reader, subject, grid, histogram_steps=max(1, min(HISTOGRAM_S, WINDOW_S) // grid.step)
        )
        requests = draw_requests(captured, stream(asked.seed, f"advise/{subject.name}"))
        if len(requests) < REQUESTS_MIN:
            _say(f"{subject.name}: {len(requests)} requests in {asked.since}; left out")
            continue
        replicas = read_replicas(reader, subject, grid)
        choice = requested_profile(asked.profiles, subject.model_name) or guess_profile(
            captured, read_clues(reader, captured, replicas.pods, grid)
        )
        start = (
            measured_start(reader, subject, grid, replicas)
            if asked.cold_start is None
            else MeasuredStart(
                cold_start=parse_cold_start(asked.cold_start), explanation="as asked"
            )
        )
        mine = scalers_of(scalers, subject, replicas.pods, alone=len(chosen) == 1)
        found.append(
            _found_model(captured, requests, replicas.pods, choice, start, mine, asked, len(chosen))
        )
    if not found:
        raise SettingsError(
            f"{', '.join(s.name for s in chosen)}: fewer than {REQUESTS_MIN} requests in "
            f"{asked.since}; ask for more with --since, or for a time with traffic with --until"
        )
    return found


def _found_model(
    captured: Capture,
    requests: RequestColumns,
    pods: tuple[str, ...],
    choice: ProfileChoice,
    start: MeasuredStart,
    scalers: Sequence[Scaler],
    asked: AdviseRequest,
    models: int,
) -> _FoundModel:
    scaler, notes = _scaler(scalers)
    whole = Trace(name=captured.subject.name, requests=requests)
    most = asked.max_replicas or 0
    if not most and scaler is not None and scaler.policy is not None:
        most = scaler.policy.spec.max_replicas
        notes.append(f"inference-aware is given at most {most} replicas, as {scaler.name} is")
    conditions = load_tested(
        Conditions(
            profile=choice.profile,
            cold_start=start.cold_start,
            objective=parse_objective(asked.objective),
            replicas_max=most,
        ),
        whole,
    )
    if not most:
        conditions = with_maximum(conditions, whole)
        seen = int(captured.replicas.max())
        conditions = replace(conditions, replicas_max=max(conditions.replicas_max, seen))
    for name, column in (("prompt_tokens", "prompts"), ("output_tokens", "answers")):
        if name not in captured.histograms:
            notes.append(f"this Prometheus has no lengths of {column}; a customary one is assumed")
    # longer than on an idle machine, as its load average says
    slowdown = max(1.0, os.getloadavg()[0] / cores())
    chosen = choose_parts(
        captured,
        budget_s=float("inf") if asked.full else BUDGET_S / models / slowdown,
        runs=2 if scaler is None or scaler.policy is None else 3,
        jobs=asked.jobs or cores(),
    )
    if chosen.explanation:
        notes.append(chosen.explanation)
        _say(f"{captured.subject.name}: {chosen.explanation}")
    return _FoundModel(
        captured=captured,
        requests=requests,
        pods=pods,
        choice=choice,
        start=start,
        conditions=conditions,
        scaler=scaler,
        parts=chosen,
        notes=tuple(notes),
    )


def _scaler(scalers: Sequence[Scaler]) -> tuple[Scaler | None, list[str]]:
    """The one scaler of a model that can be replayed; why not, where there is none."""
    if not scalers:
        return None, []
    if len(scalers) > 1:
        names = ", ".join(scaler.name for scaler in scalers)
        return None, [f"several scalers may be this model's ({names}); its recorded replicas stand"]
    (scaler,) = scalers
    if scaler.policy is None:
        return None, [
            f"{scaler.name} cannot be replayed: {scaler.reason}. The replicas as they were stand for it"
        ]
    return scaler, []


def _replays(number: int, model: _FoundModel, asked: AdviseRequest) -> list[ReplayPlan]:
    counts = replica_counts(model.captured).astype(int)
    replays = []
    lengths = [part.last - part.first for part in model.parts.parts]
    for index, part in enumerate(model.parts.parts):
        first = max(1, int(counts[max(0, part.first - 1)]))
        base = ReplayPlan(
            model=number,
            part=index,
            policy=OURS,
            trace=part_trace(model.captured, model.requests, part),
            conditions=replace(
                model.conditions,
                replicas_first=min(first, model.conditions.replicas_max),
            ),
            seed=asked.seed,
            with_timeline=index == lengths.index(max(lengths)),
        )
        replays += [
            base,
            replace(
                base,
                policy=RECORDED,
                counts=(first, *(int(n) for n in counts[part.first : part.last])),
                step_s=float(model.captured.grid.step),
            ),
        ]
        if model.scaler is not None and model.scaler.policy is not None:
            replays.append(replace(base, policy=model.scaler.name, written=model.scaler.policy))
    return replays


def _advice(
    number: int, model: _FoundModel, played: Sequence[ReplayResult], asked: AdviseRequest
) -> Advice:
    mine: dict[str, list[ReplayResult]] = {}
    for one in sorted(played, key=lambda one: one.replay.part):
        if one.replay.model == number:
            mine.setdefault(one.replay.policy, []).append(one)
    captured, parts = model.captured, model.parts.parts
    now = RECORDED if model.scaler is None else model.scaler.name
    step = captured.grid.step
    objective = model.conditions.objective
    owed = objective.of_model(model.requests, model.conditions.profile)
    return Advice(
        model_name=captured.subject.model_name,
        namespace=captured.subject.namespace,
        deployment=model.scaler.target if model.scaler else deployment_of(model.pods),
        since=float(captured.grid.start),
        until=float(captured.grid.moments[-1]),
        hours=sum(p.weight * (p.last - p.first) for p in parts) * step / 3600,
        replayed_hours=sum(p.last - p.first for p in parts) * step / 3600,
        extrapolated=any(part.weight != 1.0 for part in parts),
        holes_s=holes(captured),
        requests=float(len(model.requests)),
        choice=model.choice,
        start=model.start,
        notes=model.notes,
        replicas_max=model.conditions.replicas_max,
        objective=asked.objective,
        attainment_ratio=objective.attainment_ratio,
        ttft_s=owed.ttft_s,
        tpot_s=owed.tpot_s,
        in_flight_target=model.conditions.profile.in_flight_target,
        now=weighted_score(mine[now], parts),
        recorded=weighted_score(mine[RECORDED], parts),
        ours=weighted_score(mine[OURS], parts),
        breaches=breaches(
            captured,
            parts,
            [mine[now], mine[OURS]],
            attainment_ratio=objective.attainment_ratio,
        ),
        compared=comparisons(captured, parts, mine[RECORDED]),
    )


def _say(text: str) -> None:
    print(f"advise: {text}", file=sys.stderr, flush=True)
