"""`python -m tests.seeded`: many seeds, or one again."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import click

from tests.seeded.run import LONG, SHORT, Report, run_seed

LINES_SHOWN = 80


@click.command()
@click.option("--seeds", default=100, show_default=True, help="How many, from --first on.")
@click.option("--first", default=0, show_default=True, help="The first of them.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--seed", type=int, help="Only this one, with its plan and what happened last.")
@click.option(
    "--short", is_flag=True, help="Runs of half the length, as the day's tests have them."
)
@click.option("--lines", default=LINES_SHOWN, show_default=True, help="Of what happened last.")
def main(seeds: int, first: int, jobs: int, seed: int | None, short: bool, lines: int) -> None:  # noqa: FBT001  a flag of click's
    """Run the daemon against a simulated cluster whose faults the seed draws.

    The exit status is 1 where an invariant did not hold.
    """
    run = partial(run_seed, length=SHORT if short else LONG)
    if seed is not None:
        report = run(seed)
        _show(report, lines=lines)
        sys.exit(1 if report.violations else 0)
    began, failed, found = time.monotonic(), [], Counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for report in pool.map(run, range(first, first + seeds), chunksize=1):
            if report.violations:
                failed.append(report.seed)
                found[report.violations[0].partition(":")[0]] += 1
                click.echo(f"seed {report.seed}: {report.violations[0][:400]}")
    took_s = time.monotonic() - began
    click.echo(f"{seeds} seeds, {len(failed)} failed, {took_s:.0f} s; {dict(found)}")
    if failed:
        click.echo(f"again: python -m tests.seeded{' --short' * short} --seed {failed[0]}")
        sys.exit(1)


def _show(report: Report, *, lines: int) -> None:
    for fault in report.plan:
        click.echo(fault)
    for line in report.lines[-lines:]:
        click.echo(line)
    for violation in report.violations:
        click.echo(f"FOUND {violation}")
    click.echo(f"digest {report.digest}; {dict(report.counts)}; {report.reached_bytes} bytes")


if __name__ == "__main__":
    main()
