"""The same work on many things: one after the other, or side by side in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Protocol, TypeVar

POLL_S = 0.25
ORPHAN_POLL_S = 1.0

Thing = TypeVar("Thing")
Made = TypeVar("Made")
Thing_contra = TypeVar("Thing_contra", contravariant=True)
Made_co = TypeVar("Made_co", covariant=True)


class Work(Protocol[Thing_contra, Made_co]):
    """A function at the top of a module, so that processes can be told its name."""

    def __call__(self, thing: Thing_contra, /, *, progress: Callable[[float], None]) -> Made_co:
        """Do it; `progress` is told the share done, 0 to 1."""


def all_of(
    work: Work[Thing, Made],
    things: Sequence[Thing],
    *,
    jobs: int,
    share: Callable[[float], None] = lambda _: None,
    ended: Callable[[int, Made], None] = lambda _number, _made: None,
) -> list[Made]:
    """Do the work on each; the answers are in the order of the things, however they are made.

    Args:
        work: What to do.
        things: What to do it on.
        jobs: So many at a time.
        share: Is told how many are done, parts included.
        ended: Is told the number of each that is done, and what came of it.
    """
    jobs = min(jobs, len(things))
    if jobs > 1:
        return _side_by_side(work, things, jobs, share, ended)
    answers = []
    for number, thing in enumerate(things):

        def note(part: float, number: int = number) -> None:
            share(number + part)

        answers.append(work(thing, progress=note))
        ended(number, answers[-1])
    return answers


_shares: MutableSequence[float] | None = None
"""In a worker: how far each thing is, shared with the parent."""


def _begin_worker(shares: MutableSequence[float], parent: int) -> None:
    global _shares  # noqa: PLW0603  a process pool hands shared memory over in no other way
    _shares = shares
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker where whoever asked was killed: nobody waits for it, and nobody would end it."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_POLL_S)
    os._exit(1)


def _numbered(work: Work[Thing, Made], number: int, thing: Thing) -> Made:
    def note(part: float) -> None:
        if _shares is not None:
            _shares[number] = part

    made = work(thing, progress=note)
    note(1.0)
    return made


def _side_by_side(
    work: Work[Thing, Made],
    things: Sequence[Thing],
    jobs: int,
    share: Callable[[float], None],
    ended: Callable[[int, Made], None],
) -> list[Made]:
    # spawned, not forked: the parent may have threads (a progress bar, an event loop, a session's pool)
    context = multiprocessing.get_context("spawn")
    shares = context.Array("d", len(things), lock=False)
    pool = ProcessPoolExecutor(
        max_workers=jobs,
        mp_context=context,
        initializer=_begin_worker,
        initargs=(shares, os.getpid()),
    )
    with pool:
        futures: list[Future[Made]] = [
            pool.submit(_numbered, work, number, thing) for number, thing in enumerate(things)
        ]
        numbers = {future: number for number, future in enumerate(futures)}
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
                share(sum(shares))
                for future in sorted(done, key=numbers.__getitem__):
                    ended(numbers[future], future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]
