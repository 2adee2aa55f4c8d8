"""How far the whole board is, on stderr: the entry, the share of all work, and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from simulations.runs.progress import Reporter

LINE_S = 20.0
"""Between two lines in a log; a bar moves when it can."""


class Pace:
    """Counts what is done, in estimated seconds of work, and says so; the reporter of every stage."""

    def __init__(
        self, file: TextIO, *, weights: Sequence[float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Report to `file` on entries of these weights: their estimated work, in any one unit."""
        self._file = file
        self._weights = weights
        self._clock = clock
        self._began = clock()
        self._line_at = -LINE_S
        self._entry, self._name = 0, ""
        self._share = self._kept = 0.0
        self._stage_from, self._share_of_a_run = 0.0, 0.0
        self.bar = Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            console=Console(file=file),
            disable=not file.isatty(),
        )
        """Shown, where there is a terminal, while it is a context."""
        self._task = self.bar.add_task("", total=1.0)

    def begin(self, number: int, name: str) -> None:
        """An entry, counted from 0, is begun."""
        self._entry, self._name, self._share = number, name, 0.0
        self._show(always=True)

    def skip(self, to: float) -> None:
        """This share of the entry was kept from before: it counts as done, but not for the pace."""
        self._kept += (to - self._share) * self._weights[self._entry]
        self._share = to
        self._show(always=True)

    def stage(self, *, until: float, runs: int) -> Reporter:
        """The reporter of so many runs, which bring the entry to the share `until`."""
        self._stage_from = self._share
        self._share_of_a_run = (until - self._share) / max(runs, 1)
        return self

    def progress(self, runs: float) -> None:
        """So many runs of the stage are done; a share never falls."""
        self._share = max(self._share, self._stage_from + runs * self._share_of_a_run)
        self._show(always=False)

    def say(self, line: str) -> None:
        """Nothing: one run of thousands is not worth a line."""

    @property
    def _finished(self) -> float:
        return sum(self._weights[: self._entry]) + self._share * self._weights[self._entry]

    @property
    def done(self) -> float:
        """Share of the whole board, 0 to 1."""
        total = sum(self._weights)
        return self._finished / total if total > 0 else 1.0

    @property
    def remaining_s(self) -> float | None:
        """Until the board is done; None: nothing has been worked on yet."""
        worked, total = self._finished - self._kept, sum(self._weights)
        if worked <= 0.005 * total:
            return None
        return (self._clock() - self._began) * (total - self._finished) / worked

    def _show(self, *, always: bool) -> None:
        now, left = self._clock(), self.remaining_s
        text = (
            f"entry {self._entry + 1} of {len(self._weights)} ({self._name}), {100 * self.done:.1f} % "
            f"of all, {timedelta(seconds=round(now - self._began))} so far"
            + (f", about {timedelta(seconds=round(left))} to go" if left is not None else "")
        )
        self.bar.update(self._task, completed=self.done, description=text)
        if self.bar.disable and (always or now - self._line_at >= LINE_S):
            self._line_at = now
            print(text, file=self._file, flush=True)
