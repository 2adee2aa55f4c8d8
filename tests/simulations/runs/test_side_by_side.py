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

from simulations.runs.side_by_side import all_of

PARENT = """
import os, sys
from simulations.side_by_side import all_of
from tests.simulations.test_side_by_side import wait_for_ever
if __name__ == "__main__":
    all_of(wait_for_ever, [sys.argv[1]] * 2, jobs=2)
"""


def half(number: int, /, *, progress: Callable[[float], None]) -> float:
    progress(0.5)
    return number / 2


def wait_for_ever(folder: str, /, *, progress: Callable[[float], None]) -> None:
    progress(0.5)
    Path(folder, str(os.getpid())).touch()
    signal.pause()


@pytest.mark.parametrize("jobs", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_answers_are_in_order_and_shares_add_up(jobs: int):
    shares: list[float] = []
    ended: list[tuple[int, float]] = []
    answers = all_of(
        half,
        [4, 2, 8],
        jobs=jobs,
        share=shares.append,
        ended=lambda number, answer: ended.append((number, answer)),
    )
    assert answers == [2.0, 1.0, 4.0]
    assert sorted(ended) == [(0, 2.0), (1, 1.0), (2, 4.0)]
    assert shares == sorted(shares)
    assert all_of(half, [], jobs=jobs) == []


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
