"""A reporter that remembers."""

from __future__ import annotations


class RememberingReporter:
    def __init__(self) -> None:
        self.done: list[float] = []
        self.said: list[str] = []

    def progress(self, runs: float) -> None:
        self.done.append(runs)

    def say(self, line: str) -> None:
        self.said.append(line)
