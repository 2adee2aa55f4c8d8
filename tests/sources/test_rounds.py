"""The grid of periods, in virtual time: elapsed loop time is asserted exactly."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest
import structlog

from autoscaler.sources.collector.feeds import ReadResult
from autoscaler.sources.collector.rounds import Rounds
from autoscaler.sources.pages.outcome import ReadOutcome
from tests.daemon.virtual_time import run_virtual


@dataclass
class FakeFeed:
    """Notes when it was read; takes as long as it is told."""

    name: str
    period_s: float = 5.0
    takes_s: float = 0.0
    source: str = "VLLM"
    model: str = "ns/m"
    ends: list[list[ReadResult]] = field(default_factory=list)
    begun_at: list[float] = field(default_factory=list)
    deadlines_s: list[float] = field(default_factory=list)
    cancelled: int = 0

    async def read(self, session: object, *, deadline_s: float) -> list[ReadResult]:
        assert session is None
        self.begun_at.append(asyncio.get_running_loop().time())
        self.deadlines_s.append(deadline_s)
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.ends.pop(0) if self.ends else []


async def run_for(rounds: Rounds, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await rounds.run(None)  # type: ignore[arg-type]  # no feed here uses it


def test_each_feed_has_its_own_grid_and_a_slow_one_delays_nobody():
    async def story() -> None:
        quick, slow, rare = (
            FakeFeed("quick", takes_s=0.2),
            FakeFeed("slow", takes_s=7.0),
            FakeFeed("rare", period_s=15.0),
        )
        rounds = Rounds(deadline_s=1.0)
        rounds.set_feeds([slow, quick, rare])
        await run_for(rounds, 31.0)
        assert quick.begun_at == [0, 5, 10, 15, 20, 25, 30]
        assert slow.begun_at == [0, 10, 20, 30]  # never doubled; back on its grid
        assert rare.begun_at == [0, 15, 30]
        assert slow.cancelled == 1  # the round that was under way

    run_virtual(story())


def test_the_deadline_is_never_longer_than_the_period():
    async def story() -> None:
        feed = FakeFeed("brisk", period_s=0.5)
        rounds = Rounds(deadline_s=1.0)
        rounds.set_feeds([feed])
        await run_for(rounds, 0.1)
        assert feed.deadlines_s == [0.5]

    run_virtual(story())


def test_feeds_come_and_go_while_it_runs_and_the_others_keep_their_grid():
    async def story() -> None:
        kept, gone, new = FakeFeed("kept"), FakeFeed("gone"), FakeFeed("new")
        rounds = Rounds(deadline_s=1.0)
        rounds.set_feeds([kept, gone])
        async with asyncio.TaskGroup() as group:
            group.create_task(run_for(rounds, 12.0))
            await asyncio.sleep(6.0)
            rounds.set_feeds([kept, new])
        assert kept.begun_at == [0, 5, 10]
        assert gone.begun_at == [0, 5]
        assert new.begun_at == [6, 11]
        assert [report.name for report in rounds.reports()] == ["kept", "new"]

    run_virtual(story())


def test_without_feeds_it_waits_for_some():
    async def story() -> None:
        rounds, feed = Rounds(deadline_s=1.0), FakeFeed("late")
        async with asyncio.TaskGroup() as group:
            group.create_task(run_for(rounds, 20.0))
            await asyncio.sleep(13.0)
            rounds.set_feeds([feed])
        assert feed.begun_at == [13, 18]

    run_virtual(story())


def test_a_stalled_loop_is_not_caught_up():
    async def story() -> None:
        feed = FakeFeed("feed")
        rounds = Rounds(deadline_s=1.0)
        rounds.set_feeds([feed])
        loop = asyncio.get_running_loop()

        def stall() -> None:
            loop._virtual.now += 13.0

        loop.call_at(6.0, stall)
        await run_for(rounds, 30.0)
        assert feed.begun_at == [0, 5, 19, 20, 25]

    run_virtual(story())


def ended(*failing: str, ok: int = 1, warnings: tuple[str, ...] = ()) -> list[ReadResult]:
    fine = [
        ReadResult(target=f"ns/ok-{index}", outcome=ReadOutcome.READ, warnings=warnings)
        for index in range(ok)
    ]
    broken = [
        ReadResult(target=target, outcome=ReadOutcome.TIMED_OUT, message=f"{target} is slow")
        for target in failing
    ]
    return fine + broken


def test_changes_are_told_once_and_counted_always():
    async def story() -> None:
        loading = [ReadResult(target="ns/new", outcome=ReadOutcome.NOT_READY, message="refused")]
        feed = FakeFeed(
            "pods",
            ends=[
                ended(),
                loading,  # no error
                ended("ns/a"),
                ended("ns/a"),
                ended("ns/a", "ns/b"),
                ended("ns/b"),
                ended(),
                ended(warnings=("partial",)),
                ended(warnings=("partial",)),
            ],
        )
        rounds = Rounds(deadline_s=1.0)
        rounds.set_feeds([feed])
        with structlog.testing.capture_logs() as logs:
            await run_for(rounds, 41.0)
        assert [(log["event"], log.get("failing")) for log in logs] == [
            ("source.failed", 1),
            ("source.failed", 2),
            ("source.recovered", None),
            ("source.warned", None),
        ]
        assert logs[0]["message"] == "ns/a is slow"
        assert logs[0]["outcome"] == "TimedOut"
        assert logs[0]["model"] == "ns/m"
        assert rounds.outcomes == {
            ("VLLM", ReadOutcome.READ): 8,
            ("VLLM", ReadOutcome.NOT_READY): 1,
            ("VLLM", ReadOutcome.TIMED_OUT): 5,
        }
        (report,) = rounds.reports()
        assert (report.targets, report.failing, report.warnings) == (1, (), ("partial",))

    run_virtual(story())


def test_a_bug_in_a_feed_is_not_swallowed():
    async def story() -> None:
        class Broken(FakeFeed):
            async def read(self, session: object, *, deadline_s: float) -> list[ReadResult]:
                raise ZeroDivisionError(session, deadline_s)

        rounds = Rounds(deadline_s=1.0)
        rounds.set_feeds([Broken("broken")])
        with pytest.raises(ExceptionGroup) as caught:
            await rounds.run(None)  # type: ignore[arg-type]  # as above
        assert caught.group_contains(ZeroDivisionError)

    run_virtual(story())
