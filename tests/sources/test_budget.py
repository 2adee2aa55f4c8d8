"""Bytes in flight are bounded, whoever sends them, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from autoscaler.sources.collector.feeds import PodFeed
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.pages.budget import ByteBudget
from autoscaler.sources.pages.limits import POD_PAGE_BYTES_MAX
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.reader import BodyReader
from autoscaler.sources.pages.turns import SLICE_S, Steps, Turns
from tests.sources.bodies import page
from tests.sources.servers import reading, serving, target
from tests.sources.test_collector import settings

MIB = 2**20


async def test_a_feed_waits_for_its_share_and_others_do_not():
    budget = ByteBudget(bytes_max=8 * MIB)
    async with budget.place("a", MIB), budget.place("a", MIB):
        waits = asyncio.create_task(take(budget, "a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waits.done()
        async with asyncio.timeout(5):
            await take(budget, "b")
        assert budget.held_bytes == 2 * MIB
    await waits
    assert budget.held_bytes == 0


async def take(budget: ByteBudget, owner: str, size: int = MIB) -> None:
    async with budget.place(owner, size):
        assert budget.held_bytes <= 8 * MIB


async def test_all_places_are_given_in_turn_and_given_back():
    budget = ByteBudget(bytes_max=8 * MIB)
    await asyncio.gather(*(take(budget, str(number % 9)) for number in range(100)))
    assert budget.held_bytes == 0


async def test_who_is_cancelled_while_it_waits_holds_nothing():
    budget = ByteBudget(bytes_max=4 * MIB)
    async with budget.place("a", MIB):
        waits = asyncio.create_task(take(budget, "a"))
        await asyncio.sleep(0)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert budget.held_bytes == MIB
    async with asyncio.timeout(5):
        await take(budget, "a")


@pytest.mark.slow
async def test_long_pages_of_many_pods_are_read_within_the_budget():
    body = page("vllm-0.32.0-loaded") + b"# more of the same\n" * 50_000
    assert len(body) < POD_PAGE_BYTES_MAX
    most = 0

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async def look(budget: ByteBudget) -> None:
        nonlocal most
        while True:
            most = max(most, budget.held_bytes)
            await asyncio.sleep(0)

    last_values = LastValues()
    pods = [target(f"p{number}", ip=f"127.0.0.{number}") for number in range(1, 21)]
    last_values.set_targets(pods)
    addresses = {pod.ip: answer for pod in pods}
    async with serving(addresses) as port, reading() as made:
        reader = BodyReader(session=made.session, budget=ByteBudget(bytes_max=8 * MIB))
        feed = PodFeed(
            name="pods",
            settings=settings(port),
            deadline_s=60.0,
            last_values=last_values,
            now=lambda: 1.0,
        )
        looking = asyncio.create_task(look(reader.budget))
        ended = await asyncio.gather(*(read.ask(reader) for read in feed.reads().values()))
        looking.cancel()
    assert {each.outcome for (each,) in ended} == {ReadOutcome.READ}
    assert 0 < most <= 8 * MIB
    assert reader.budget.held_bytes == 0


# -- turns


async def test_bodies_that_come_together_are_parsed_a_slice_a_pass():
    turns, passes, steps_done = Turns(), 0, 0
    most = 0

    def steps() -> Steps[int]:
        nonlocal steps_done
        for _ in range(5):
            steps_done += 1
            ends_at = time.perf_counter() + SLICE_S  # a long one
            while time.perf_counter() < ends_at:
                pass
            yield
        return 7

    async def count_passes() -> None:
        nonlocal passes, most
        while True:
            before = steps_done
            await asyncio.sleep(0)
            passes += 1
            most = max(most, steps_done - before)

    counting = asyncio.create_task(count_passes())
    found = await asyncio.gather(*(turns.take(steps()) for _ in range(10)))
    counting.cancel()
    assert found == [7] * 10
    assert (steps_done, most) == (50, 1)
    assert passes >= 50


async def test_a_body_that_does_not_parse_leaves_the_turn_to_the_next():
    def broken() -> Steps[int]:
        yield
        raise ZeroDivisionError

    def sound() -> Steps[int]:
        yield
        return 1

    turns = Turns()
    failing = asyncio.create_task(turns.take(broken()))
    assert await turns.take(sound()) == 1
    with pytest.raises(ZeroDivisionError):
        await failing
