"""Runs on a Ray cluster: the distributed engine that exists, with the same rows out.

Its workers need this package and the traces under the same paths, as Ray's runtime environments or a
shared image give them. A run is a pure function of its plan, so where it is made makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from autoscaler.errors import SettingsError
from simulations.progress import Reporter
from simulations.scorecard import Row

Work = TypeVar("Work")


def play_on_ray(
    plans: Sequence[Work], *, address: str, play: Callable[[Work], Row], reporter: Reporter
) -> list[Row]:
    """Make every run on the cluster at `address` (`auto`: the one that this machine belongs to).

    Raises:
        SettingsError: Ray is not installed, or there is no cluster at the address.
    """
    ray = _connected(address)
    try:
        task = ray.remote(num_cpus=1)(play)
        numbers = {task.remote(plan): number for number, plan in enumerate(plans)}
        rows: dict[int, Row] = {}
        waiting = list(numbers)
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1)
            for reference in done:
                row = rows[numbers[reference]] = ray.get(reference)
                reporter.end(row)
            reporter.share(len(rows))
        return [rows[number] for number in range(len(plans))]
    finally:
        ray.shutdown()


def _connected(address: str) -> Any:
    try:
        import ray  # noqa: PLC0415  an extra that only this needs
    except ModuleNotFoundError as error:
        raise SettingsError(
            "--ray: Ray is not installed; pip install 'inference-autoscaler[ray]'"
        ) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"--ray {address!r}: no cluster there: {error}; start one with `ray start --head`"
        ) from error
    return ray
