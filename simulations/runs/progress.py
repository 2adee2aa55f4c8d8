"""How far the runs are, on stderr: a line a run, and on a terminal a bar below them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from simulations.results.scorecard import Score


class Reporter(Protocol):
    """Is told how far the runs are."""

    def progress(self, runs: float) -> None:
        """Report that so many runs are done, parts of runs included."""

    def say(self, line: str) -> None:
        """Report one more finished run in this line."""


class _Silent:
    """Keeps it to itself."""

    def progress(self, runs: float) -> None:
        """Nobody is told."""

    def say(self, line: str) -> None:
        """Nobody is told."""


SILENT: Reporter = _Silent()


@contextmanager
def open_reporter(file: TextIO, *, runs: int, doing: str = "replaying") -> Iterator[Reporter]:
    """Report on `runs` runs (or other pieces of work: `doing`) while the context is open."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=file),
        transient=True,
        disable=not file.isatty(),
    ) as bar:
        yield _Bar(bar, runs=runs, doing=doing)


def score_line(score: Score) -> str:
    """One line of log about a finished run."""
    return (
        f"{score.trace}  {score.policy}  seed {score.seed}: ${score.cost_usd:.2f}, "
        f"{100 * score.attainment:.2f} % attained, {score.wall_s:.1f} s"
    )


class _Bar:
    def __init__(self, bar: Progress, *, runs: int, doing: str) -> None:
        self._bar = bar
        self._task = bar.add_task(f"{doing}, {runs} runs", total=float(runs))
        self._runs = runs
        self._said = 0

    def progress(self, runs: float) -> None:
        self._bar.update(self._task, completed=runs)

    def say(self, line: str) -> None:
        self._said += 1
        text = f"{self._said}/{self._runs}  {line}"
        self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
