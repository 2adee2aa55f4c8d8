"""An event loop whose time is simulated, and whose order is the same in every run.

Nothing waits: when nothing is ready the clock goes to the next timer. There are no threads and no sockets:
what is handed to a thread runs at once, in its turn; connections are in `network`. A task's hash is its
number, so that sets of tasks (a TaskGroup's, `asyncio.wait`'s) have one order, whatever the addresses are.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from typing import Any, TypeVar

import aiohttp.connector

T = TypeVar("T")

ROUNDS_MAX = 200_000
"""Rounds of the loop within one simulated instant: beyond, something spins."""


class SimulatedTask(asyncio.Task[T]):
    """A task that is told from others by its number."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], *, number: int, **more: Any) -> None:
        self._number = number
        super().__init__(coroutine, **more)

    def __hash__(self) -> int:
        return self._number


class SpinningError(Exception):
    """Time does not go on."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module. `time` begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._rounds = 0
        self._selector = self  # asked by BaseEventLoop to wait for sockets or a timer
        self._clock_resolution = 1e-9
        numbers = itertools.count(1)

        def make(
            _: asyncio.AbstractEventLoop,
            coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
            **more: Any,
        ) -> SimulatedTask[T]:
            return SimulatedTask(coroutine, number=next(numbers), loop=self, **more)

        self.set_task_factory(make)

    def time(self) -> float:
        return self._now

    def run_in_executor(
        self, _executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """A thread's work, done at once: its result comes with the next round."""
        future: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the caller's
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    # -- what BaseEventLoop leaves to its children

    def select(self, timeout: float | None) -> list[Any]:
        """Go to the next timer."""
        if timeout is None:
            raise SpinningError("everything waits for something that will never come")
        if timeout > 0:
            self._now += timeout
            self._rounds = 0
        else:
            self._rounds += 1
            if self._rounds > ROUNDS_MAX:
                raise SpinningError(f"{ROUNDS_MAX} rounds of the loop at {self._now:.3f} s")
        return []

    def _process_events(self, _events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def run_simulated(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in simulated time, from 0."""
    loop = SimulatedLoop()
    real, aiohttp.connector.monotonic = aiohttp.connector.monotonic, loop.time  # of its keep-alive
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main)
    finally:
        aiohttp.connector.monotonic = real
