"""The same work on many things, in processes or not."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from simulations.runs.side_by_side import results_of
from tests.simulations.runs.reporters import RememberingReporter

PARENT = """
import os, sys
from simulations.runs.side_by_side import results_of
from tests.simulations.runs.reporters import RememberingReporter
from tests.simulations.runs.test_side_by_side import wait_for_ever
if __name__ == "__main__":
    results_of(
        wait_for_ever,
        [sys.argv[1]] * 2,
        jobs=2,
        reporter=RememberingReporter(),
        line=lambda number, made: "",
    )
"""


def half(number: int, /, *, progress: Callable[[float], None]) -> float:
    progress(0.5)
    return number / 2


def wait_for_ever(folder: str, /, *, progress: Callable[[float], None]) -> None:
    progress(0.5)
    Path(folder, str(os.getpid())).touch()
    signal.pause()


@pytest.mark.parametrize("jobs", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_results_are_in_order_and_all_are_reported(jobs: int):
    reporter = RememberingReporter()

    def halves(numbers: list[int]) -> list[float]:
        return results_of(
            half,
            numbers,
            jobs=jobs,
            reporter=reporter,
            line=lambda number, made: f"{number} is {made}",
        )

    assert halves([4, 2, 8]) == [2.0, 1.0, 4.0]
    assert sorted(reporter.said) == ["0 is 2.0", "1 is 1.0", "2 is 4.0"]
    assert reporter.done == sorted(reporter.done)
    assert reporter.done[-1] == 3
    assert halves([]) == []


@pytest.mark.slow
def test_workers_end_with_whoever_asked(tmp_path: Path):
    """Killed outright, the parent can tell its workers nothing; they must not stay."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    folder = tmp_path / "workers"
    folder.mkdir()
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)], env={**os.environ, "PYTHONPATH": str(root)}
    ) as parent:
        while len(list(folder.iterdir())) < 2:
            assert parent.poll() is None
            select.select([], [], [], 0.05)
        watched = [os.pidfd_open(int(path.name)) for path in folder.iterdir()]
        parent.kill()
        for worker in watched:
            gone, _, _ = select.select([worker], [], [], 60)
            os.close(worker)
            assert gone, "a worker outlived whoever asked"
