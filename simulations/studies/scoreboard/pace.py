"""How far the whole board is, on stderr: the entry, the share of all work, and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from simulations.runs.progress import Reporter

LINE_S = 20.0
"""Between two lines in a log; a bar moves when it can."""


class Pace:
    """Counts what is done, in estimated seconds of work, and says so."""

    def __init__(
        self, file: TextIO, *, weights: Sequence[float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Report on entries of these weights.

        Args:
            file: Standard error.
            weights: Estimated work of each entry, in any one unit.
            clock: Seconds.
        """
        self._weights = list(weights)
        self._clock = clock
        self._began = clock()
        self._line_at = -LINE_S
        self._entry = 0
        self._name = ""
        self._share = 0.0
        self._kept = 0.0
        self._file = file
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            console=Console(file=file),
            disable=not file.isatty(),
        )
        self._task = self._bar.add_task("", total=1.0)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show a bar, where there is a terminal, for as long as the context lasts."""
        with self._bar:
            yield

    def begin(self, number: int, name: str) -> None:
        """An entry, counted from 0, is begun."""
        self._entry, self._name, self._share = number, name, 0.0
        self._say(always=True)

    def skip(self, to: float) -> None:
        """This share of the entry was kept from before: it counts as done, but not for the pace."""
        self._kept += (to - self._share) * self._weights[self._entry]
        self._share = to
        self._say(always=True)

    def stage(self, *, until: float, runs: int) -> Reporter:
        """A reporter of so many runs, which bring the entry to the share `until`."""
        return _Stage(self, begins=self._share, until=until, runs=runs)

    def at(self, share: float) -> None:
        """So much of the entry is done."""
        self._share = max(self._share, share)
        self._say(always=False)

    @property
    def done(self) -> float:
        """Share of the whole board, 0 to 1."""
        total = sum(self._weights)
        return self._finished() / total if total > 0 else 1.0

    @property
    def remaining_s(self) -> float | None:
        """Until the board is done; None: nothing has been worked on yet."""
        worked = self._finished() - self._kept
        if worked <= 0.005 * sum(self._weights):
            return None
        elapsed = self._clock() - self._began
        return elapsed * (sum(self._weights) - self._finished()) / worked

    def _finished(self) -> float:
        return sum(self._weights[: self._entry]) + self._share * self._weights[self._entry]

    def _say(self, *, always: bool) -> None:
        now = self._clock()
        left = self.remaining_s
        text = (
            f"entry {self._entry + 1} of {len(self._weights)} ({self._name}), {100 * self.done:.1f} % "
            f"of all, {timedelta(seconds=round(now - self._began))} so far"
            + (f", about {timedelta(seconds=round(left))} to go" if left is not None else "")
        )
        self._bar.update(self._task, completed=self.done, description=text)
        if self._bar.disable and (always or now - self._line_at >= LINE_S):
            self._line_at = now
            print(text, file=self._file, flush=True)


class _Stage:
    """Runs of one stage, as a share of the entry."""

    def __init__(self, pace: Pace, *, begins: float, until: float, runs: int) -> None:
        self._pace = pace
        self._begins = begins
        self._length = until - begins
        self._runs = max(runs, 1)

    def progress(self, runs: float) -> None:
        self._pace.at(self._begins + self._length * min(1.0, runs / self._runs))

    def say(self, line: str) -> None:
        """Nothing: one run of thousands is not worth a line."""
