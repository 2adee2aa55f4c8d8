"""How far the runs are, on stderr: a bar for a terminal, a line a run for a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from simulations.results.scorecard import Row


class Reporter(Protocol):
    """Tells how far the runs are."""

    def share(self, done: float) -> None:
        """So many runs are done, parts of runs included."""

    def end(self, row: Row) -> None:
        """A run has come to this."""


class Teller(Reporter, Protocol):
    """Tells it of other things than runs, too."""

    def say(self, line: str) -> None:
        """One is done, and this is to be said of it."""


@contextmanager
def reporting(file: TextIO, *, runs: int, doing: str = "replaying") -> Iterator[Teller]:
    """Report on `runs` runs, or on as many of what is being done, for as long as the context lasts."""
    if not file.isatty():
        yield _Lines(file, runs=runs)
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=file),
        transient=True,
    )
    with bar:
        yield _Bar(bar, runs=runs, doing=doing)


def _line(row: Row) -> str:
    return (
        f"{row.trace}  {row.policy}  seed {row.seed}: ${row.cost_usd:.2f}, "
        f"{100 * row.attainment:.2f} % attained, {row.wall_s:.1f} s"
    )


class _Lines:
    def __init__(self, file: TextIO, *, runs: int) -> None:
        self._file = file
        self._runs = runs
        self._ended = 0

    def share(self, done: float) -> None:
        """Nothing: lines cannot be taken back."""

    def end(self, row: Row) -> None:
        self.say(_line(row))

    def say(self, line: str) -> None:
        self._ended += 1
        print(f"{self._ended}/{self._runs}  {line}", file=self._file, flush=True)


class _Bar:
    def __init__(self, bar: Progress, *, runs: int, doing: str) -> None:
        self._bar = bar
        self._task = bar.add_task(f"{doing}, {runs} runs", total=float(runs))

    def share(self, done: float) -> None:
        self._bar.update(self._task, completed=done)

    def end(self, row: Row) -> None:
        self.say(_line(row))

    def say(self, line: str) -> None:
        self._bar.console.print(line, highlight=False)
