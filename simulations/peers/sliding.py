"""Means over sliding windows, and averages out of counters that restart and vanish with their pods."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from simulations.serving.columns import Gauges


class SlidingMean:
    """Mean of what was added within the last `window_s`; the edge is outside."""

    def __init__(self, window_s: float) -> None:
        """Empty."""
        self.window_s = window_s
        self._moments: deque[float] = deque()
        self._values: deque[float] = deque()

    def add(self, at: float, value: float) -> None:
        """Take in a value; moments never fall."""
        self._moments.append(at)
        self._values.append(value)
        self._forget(at)

    def mean(self, at: float) -> float | None:
        """The mean now; None: nothing is in the window."""
        self._forget(at)
        if not self._values:
            return None
        return sum(self._values) / len(self._values)

    def values(self, at: float) -> list[float]:
        """What is in the window, oldest first."""
        self._forget(at)
        return list(self._values)

    def _forget(self, at: float) -> None:
        before = at - self.window_s
        while self._moments and self._moments[0] <= before:
            self._moments.popleft()
            self._values.popleft()


class TokenAverages:
    """Mean prompt and output tokens of the requests that finished within a window.

    As PromQL has them: increments of each pod's counters, summed; one that fell has restarted.
    """

    def __init__(self, window_s: float) -> None:
        """Nothing seen yet."""
        self._window_s = window_s
        self._last: dict[str, tuple[int, int, int]] = {}
        self._increments: deque[tuple[float, int, int, int]] = deque()

    def add(self, at: float, pages: Mapping[str, Gauges]) -> None:
        """Take in a scrape."""
        prompt = output = finished = 0
        for pod, page in pages.items():
            now = (
                page.prompt_tokens_total,
                page.generation_tokens_total,
                page.finished_requests_total,
            )
            # a pod's first reading is where its increase begins, as in rate()
            before = self._last.get(pod, now)
            if now[2] < before[2]:
                before = (0, 0, 0)
            prompt += now[0] - before[0]
            output += now[1] - before[1]
            finished += now[2] - before[2]
            self._last[pod] = now
        self._increments.append((at, prompt, output, finished))
        while self._increments[0][0] <= at - self._window_s:
            self._increments.popleft()

    @property
    def prompt_tokens(self) -> float | None:
        """Mean of a finished request; None: none has finished."""
        return self._mean(1)

    @property
    def output_tokens(self) -> float | None:
        """Mean of a finished request; None: none has finished."""
        return self._mean(2)

    @property
    def finished_requests(self) -> int:
        """Of the window."""
        return sum(entry[3] for entry in self._increments)

    def _mean(self, column: int) -> float | None:
        finished = self.finished_requests
        if finished <= 0:
            return None
        return sum(entry[column] for entry in self._increments) / finished
