"""Many runs: one after the other, or side by side in processes, with the same rows in the same order."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from simulations.replay.conditions import Conditions
from simulations.replay.replay import run
from simulations.replay.schedule import ReplicaSchedule
from simulations.results.scorecard import Score, score
from simulations.results.timeline import timeline
from simulations.runs.progress import Reporter, score_line
from simulations.runs.side_by_side import results_of
from simulations.traces.trace import Trace, read_trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run to be made."""

    trace: str
    """Its path or `generate:…`; whoever runs it reads it."""
    policy: str
    seed: int
    conditions: Conditions
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Of a baseline, where they are not its defaults."""
    setting: str | None = None
    """With a sweep: which setting this is, as the row says it."""
    schedule: ReplicaSchedule | None = None
    """Is followed in place of the policy, which is only its name then."""
    with_timeline: bool = False
    """Keep the run over time, for a report."""


@lru_cache(maxsize=4)
def cached_trace(spec: str) -> Trace:
    """The trace of this name, read once a process."""
    return read_trace(spec)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def play(plan: Plan, /, *, progress: Callable[[float], None] = lambda _: None) -> Score:
    """Make one run."""
    trace = cached_trace(plan.trace)
    # What was imported and read stays, and the collector need not walk it; what the last run left in cycles must
    # not stay with it: frozen, it is never freed, and a board of hundreds of runs takes all memory there is.
    gc.collect()
    gc.freeze()
    finished = run(
        trace,
        plan.policy,
        seed=plan.seed,
        conditions=plan.conditions,
        parameters=plan.parameters,
        schedule=plan.schedule,
        progress=progress,
    )
    row = score(finished)
    if plan.setting is not None:
        row = replace(row, setting=plan.setting, parameters=dict(plan.parameters))
    return replace(row, timeline=timeline(finished)) if plan.with_timeline else row


def play_all(
    plans: Sequence[Plan],
    *,
    jobs: int,
    reporter: Reporter,
    ray_address: str | None = None,
    done: Callable[[int, Score], None] = lambda _number, _score: None,
) -> list[Score]:
    """Make every run; the scores are in the order of the plans, whichever run ends first.

    Args:
        plans: What to run.
        jobs: So many at a time, in processes of this machine.
        reporter: Is told how far they are.
        ray_address: Of a Ray cluster that makes them instead.
        done: Is told the number and the score of each run as it ends.
    """

    def line(number: int, score: Score) -> str:
        done(number, score)
        return score_line(score)

    return results_of(
        play,
        plans,
        jobs=jobs,
        reporter=reporter,
        line=line,
        ray_address=ray_address,
    )
