"""Runs on a Ray cluster: the distributed engine that exists, with the same rows out.

Its workers need this package and the traces under the same paths, as Ray's runtime environments or a
shared image give them. A run is a pure function of its plan, so where it is made makes no difference.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from autoscaler.errors import AutoscalerError, SettingsError
from simulations.results.scorecard import Row
from simulations.runs.progress import Reporter

KNOCK_S = 5.0
Work = TypeVar("Work")


def play_on_ray(
    plans: Sequence[Work], *, address: str, play: Callable[[Work], Row], reporter: Reporter
) -> list[Row]:
    """Make every run on the cluster at `address` (`auto`: the one that this machine belongs to).

    Raises:
        SettingsError: Ray is not installed, there is no cluster at the address, or its workers do not
            have the folder that traces are looked for in.
        AutoscalerError: What a run raised.
    """
    ray = _connected(address)
    try:
        task = ray.remote(num_cpus=1)(_play_in)
        folder = Path.cwd()
        numbers = {task.remote(folder, play, plan): number for number, plan in enumerate(plans)}
        rows: dict[int, Row] = {}
        waiting = list(numbers)
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1)
            for reference in done:
                row = rows[numbers[reference]] = _result(ray, reference)
                reporter.end(row)
            reporter.share(len(rows))
        return [rows[number] for number in range(len(plans))]
    finally:
        ray.shutdown()


def _play_in(folder: Path, play: Callable[[Work], Row], work: Work) -> Row:
    """One run, on a worker: a trace's path may be relative to where the command was given."""
    if not folder.is_dir():
        raise SettingsError(
            f"--ray: no folder {folder} on {socket.gethostname()}; "
            "workers need the traces under the same paths"
        )
    with contextlib.chdir(folder):
        return play(work)


def _result(ray: Any, reference: Any) -> Row:
    """The row; what a run raised is raised as itself, not wrapped in a remote traceback."""
    try:
        row: Row = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AutoscalerError):
            raise error.cause from None
        raise
    return row


def _connected(address: str) -> Any:
    try:
        import ray  # noqa: PLC0415  an extra that only this needs
    except ModuleNotFoundError as error:
        raise SettingsError(
            "--ray: Ray is not installed; pip install 'inference-autoscaler[ray]'"
        ) from error
    try:
        knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"--ray {address!r}: no cluster there: {error}; start one with `ray start --head`"
        ) from error
    return ray


def knock(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for minutes, loudly."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
