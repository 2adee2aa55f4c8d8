"""What a task that nobody foresaw to fail does to itself and to others, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from autoscaler.supervision import CALM_S, PAUSE_S_MAX, Supervisor
from tests.daemon.virtual_time import run_virtual


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    with capture_logs() as logs:
        yield logs


def test_what_returns_is_not_begun_again():
    async def story() -> int:
        lives = 0

        async def task() -> None:
            nonlocal lives
            lives += 1

        supervisor = Supervisor()
        await supervisor.keep("task", task)
        assert supervisor.problems() == ()
        assert supervisor.failures["task"] == 0
        return lives

    assert run_virtual(story()) == 1


@pytest.mark.parametrize("error", [ValueError("9" * 9999), RecursionError(), MemoryError()])
def test_whatever_is_raised_the_task_is_begun_again_and_the_pause_grows(
    error: Exception, logged: list[Any]
):
    async def story() -> list[float]:
        begun: list[float] = []
        others = 0
        loop = asyncio.get_running_loop()

        async def task() -> None:
            begun.append(loop.time())
            raise error

        async def other() -> None:
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(1)

        supervisor = Supervisor()
        async with asyncio.TaskGroup() as group:
            kept = [
                group.create_task(supervisor.keep("task", task, which="a")),
                group.create_task(supervisor.keep("other", other)),
            ]
            await asyncio.sleep(300)
            assert others == 300, "the other knows nothing of it"
            (problem,) = supervisor.problems()
            assert problem.startswith("task task (a) broke ")
            assert type(error).__name__ in problem
            assert len(problem) < 500
            assert supervisor.failures == {"task": len(begun)}
            for each in kept:
                each.cancel()
        return begun

    begun = run_virtual(story())
    assert {each["event"] for each in logged} == {"task.broke"}
    assert len(logged) == len(begun)
    pauses = [after - before for before, after in pairwise(begun)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(pauses) == PAUSE_S_MAX
    assert len(begun) == 7 + int((300 - 31.5) // PAUSE_S_MAX)


def test_one_that_was_calm_for_a_while_begins_with_the_first_pause():
    async def story() -> list[float]:
        begun: list[float] = []
        loop = asyncio.get_running_loop()

        async def task() -> None:
            begun.append(loop.time())
            await asyncio.sleep(CALM_S)
            raise ValueError("now")

        supervisor = Supervisor()
        kept = asyncio.create_task(supervisor.keep("task", task))
        await asyncio.sleep(200)
        kept.cancel()
        return begun

    assert run_virtual(story()) == [0.0, 60.5, 121.0, 181.5]


def test_a_problem_is_said_for_a_minute_and_the_count_stays():
    async def story() -> None:
        lives = 0

        async def task() -> None:
            nonlocal lives
            lives += 1
            if lives == 1:
                raise ValueError("once")
            await asyncio.Event().wait()

        supervisor = Supervisor()
        kept = asyncio.create_task(supervisor.keep("task", task))
        await asyncio.sleep(1)
        assert len(supervisor.problems()) == 1
        await asyncio.sleep(CALM_S)
        assert supervisor.problems() == ()
        assert supervisor.failures["task"] == 1
        kept.cancel()

    run_virtual(story())


def test_cancelling_ends_it_and_closing_does_not_wait_out_a_pause():
    async def story(end: Callable[[Supervisor, asyncio.Task[None]], object]) -> float:
        async def task() -> Awaitable[None]:
            raise ValueError("always")

        loop = asyncio.get_running_loop()
        supervisor = Supervisor()
        kept = asyncio.create_task(supervisor.keep("task", task))
        await asyncio.sleep(100)
        end(supervisor, kept)
        await asyncio.wait([kept])
        return loop.time()

    assert run_virtual(story(lambda _, kept: kept.cancel())) == 100.0
    assert run_virtual(story(lambda supervisor, _: supervisor.close())) == 100.0
