"""Many runs: one after the other, or side by side in processes, with the same rows in the same order."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import lru_cache

from simulations.progress import Reporter
from simulations.ray_runs import play_on_ray
from simulations.replay import Conditions, run
from simulations.report.timeline import timeline
from simulations.scorecard import Row, score
from simulations.traces.reading import Trace, read_trace

POLL_S = 0.25


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
    with_timeline: bool = False
    """Keep the run over time, for a report."""


@lru_cache(maxsize=4)
def loaded(spec: str) -> Trace:
    """The trace of this name, read once a process."""
    return read_trace(spec)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def play(plan: Plan, *, progress: Callable[[float], None] = lambda _: None) -> Row:
    """Make one run."""
    trace = loaded(plan.trace)
    # as the daemon does: what was imported and read stays, and the collector need not walk it
    gc.freeze()
    finished = run(
        trace,
        plan.policy,
        seed=plan.seed,
        conditions=plan.conditions,
        parameters=plan.parameters,
        progress=progress,
    )
    row = score(finished)
    if plan.setting is not None:
        row = replace(row, setting=plan.setting, parameters=dict(plan.parameters))
    return replace(row, timeline=timeline(finished)) if plan.with_timeline else row


def play_all(
    plans: Sequence[Plan], *, jobs: int, reporter: Reporter, ray_address: str | None = None
) -> list[Row]:
    """Make every run; the rows are in the order of the plans, however they are made.

    Args:
        plans: What to run.
        jobs: So many at a time, in processes of this machine.
        reporter: Is told how far they are.
        ray_address: Of a Ray cluster that makes them instead.
    """
    if ray_address is not None:
        return play_on_ray(plans, address=ray_address, play=play, reporter=reporter)
    jobs = min(jobs, len(plans))
    if jobs <= 1:
        return list(_one_by_one(plans, reporter))
    return _side_by_side(plans, jobs, reporter)


def _one_by_one(plans: Sequence[Plan], reporter: Reporter) -> Iterator[Row]:
    for number, plan in enumerate(plans):
        row = play(plan, progress=lambda share, number=number: reporter.share(number + share))  # type: ignore[misc]  # mypy takes the default for an argument
        reporter.end(row)
        yield row


_shares: MutableSequence[float] | None = None
"""In a worker: how far each run is, shared with the parent."""


def _begin_worker(shares: MutableSequence[float]) -> None:
    global _shares  # noqa: PLW0603  a process pool hands shared memory over in no other way
    _shares = shares


def _play_numbered(number: int, plan: Plan) -> Row:
    parent = os.getppid()

    def note(share: float) -> None:
        if os.getppid() != parent:
            raise SystemExit(1)  # whoever asked was killed: nobody waits for the rest
        if _shares is not None:
            _shares[number] = share

    return play(plan, progress=note)


def _side_by_side(plans: Sequence[Plan], jobs: int, reporter: Reporter) -> list[Row]:
    # spawned, not forked: the parent may have threads (a progress bar, an event loop)
    context = multiprocessing.get_context("spawn")
    shares = context.Array("d", len(plans), lock=False)
    pool = ProcessPoolExecutor(
        max_workers=jobs, mp_context=context, initializer=_begin_worker, initargs=(shares,)
    )
    with pool:
        futures: list[Future[Row]] = [
            pool.submit(_play_numbered, number, plan) for number, plan in enumerate(plans)
        ]
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
                reporter.share(sum(shares))
                for future in sorted(done, key=futures.index):
                    reporter.end(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]
