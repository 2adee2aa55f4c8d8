"""The same work on many things: one after the other, in processes of this machine, or on a Ray cluster.

Processes are joblib's (loky). Ray is spoken to itself: its backend for joblib hands out nothing before
all of it is done, and knows no `ray://` addresses.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from autoscaler.errors import AutoscalerError, SettingsError
from simulations.runs.progress import Reporter

ORPHAN_POLL_S = 1.0
CONNECT_TIMEOUT_S = 5.0

Thing = TypeVar("Thing")
Made = TypeVar("Made")
Thing_contra = TypeVar("Thing_contra", contravariant=True)
Made_co = TypeVar("Made_co", covariant=True)


class Work(Protocol[Thing_contra, Made_co]):
    """A function at the top of a module, so that processes can be told its name."""

    def __call__(self, thing: Thing_contra, /, *, progress: Callable[[float], None]) -> Made_co:
        """Do it; `progress` is told the share done, 0 to 1."""


def results_of(
    work: Work[Thing, Made],
    things: Sequence[Thing],
    *,
    jobs: int,
    reporter: Reporter,
    line: Callable[[int, Made], str],
    ray_address: str | None = None,
) -> list[Made]:
    """Do the work on each; the results are in the order of the things, however they are made.

    Args:
        work: What to do.
        things: What to do it on.
        jobs: So many at a time, in processes where it is more than one.
        reporter: Is told how many are done; where one follows the other, parts included.
        line: What is said of the one of this number when it is done.
        ray_address: Of a Ray cluster that does the work instead; None: this machine does.

    Raises:
        AutoscalerError: What the work raised, or there is no cluster at the address.
    """
    if ray_address is not None:
        ended = _on_ray(work, things, ray_address)
    elif min(jobs, len(things)) > 1:
        ended = _in_processes(work, things, min(jobs, len(things)))
    else:
        ended = _one_by_one(work, things, reporter)
    results: dict[int, Made] = {}
    for number, made in ended:
        results[number] = made
        reporter.progress(len(results))
        reporter.say(line(number, made))
    return [results[number] for number in range(len(things))]


def _one_by_one(
    work: Work[Thing, Made], things: Sequence[Thing], reporter: Reporter
) -> Iterator[tuple[int, Made]]:
    for number, thing in enumerate(things):

        def note(part: float, done: int = number) -> None:
            reporter.progress(done + part)

        yield number, work(thing, progress=note)


def _in_processes(
    work: Work[Thing, Made], things: Sequence[Thing], jobs: int
) -> Iterator[tuple[int, Made]]:
    from joblib import Parallel, delayed  # noqa: PLC0415  an extra that only this needs

    # no memory maps of large arrays: the serving kernel is compiled for arrays that can be written
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, max_nbytes=None)
    call = delayed(_numbered_result)
    yield from parallel(
        call(work, number, thing, parent=os.getpid()) for number, thing in enumerate(things)
    )


def _numbered_result(
    work: Work[Thing, Made], number: int, thing: Thing, *, parent: int
) -> tuple[int, Made]:
    _end_with(parent)
    return number, work(thing, progress=_ignore)


def _ignore(_: float) -> None:
    """Progress inside another process is not reported."""


@functools.cache
def _end_with(parent: int) -> None:
    """End this worker once its parent was killed: a killed parent cannot stop its workers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _on_ray(
    work: Work[Thing, Made], things: Sequence[Thing], address: str
) -> Iterator[tuple[int, Made]]:
    """Do the work on the cluster at `address` (`auto`: the one that this machine belongs to)."""
    import ray  # noqa: PLC0415  an extra that only this needs

    try:
        check_listening(address)
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"--ray {address!r}: no cluster there: {error}; start one with `ray start --head`"
        ) from error
    try:
        task = ray.remote(num_cpus=1)(result_in)
        numbers = {task.remote(Path.cwd(), work, thing): n for n, thing in enumerate(things)}
        waiting: list[Any] = list(numbers)
        while waiting:
            (done,), waiting = ray.wait(waiting, num_returns=1)
            yield numbers[done], ray.get(done)
    except ray.exceptions.RayTaskError as error:
        # as itself, not wrapped in a remote traceback
        raise (error.cause if isinstance(error.cause, AutoscalerError) else error) from None
    finally:
        ray.shutdown()


def result_in(folder: Path, work: Work[Thing, Made], thing: Thing) -> Made:
    """Do the work where the command was given: a trace's path may be relative to it."""
    if not folder.is_dir():
        raise SettingsError(
            f"--ray: no folder {folder} on {socket.gethostname()}; "
            "workers need the traces under the same paths"
        )
    with contextlib.chdir(folder):
        return work(thing, progress=_ignore)


def check_listening(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for minutes, loudly."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
