"""The moments of periods, in virtual time: elapsed loop time is asserted, up to what is begun in one go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.sources.collector.feeds import Read, ReadResult
from autoscaler.sources.collector.rounds import (
    FIRST_GAP_S,
    STARTS_MAX,
    WAKE_S,
    Rounds,
    moment_after,
    phase_of,
)
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
    cancelled: int = 0

    def reads(self) -> dict[str, Read]:
        return {"one": Read(self.name, self.read)}

    async def read(self, reader: object) -> list[ReadResult]:
        assert reader is None
        self.begun_at.append(asyncio.get_running_loop().time())
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


def moments(feed: FakeFeed, *, until: float, first: float = 0.0) -> list[float]:
    """A first read, and then the phase's own moments, the first of them half a period later or more."""
    found = [first]
    while found[-1] < until:
        at = found[-1] + feed.period_s / 2
        found.append(moment_after(at, period_s=feed.period_s, phase=phase_of(feed.name)))
    return found[:-1]


def close_to(moments: list[float]) -> object:
    return pytest.approx(moments, abs=WAKE_S + 3 * FIRST_GAP_S)


def test_each_feed_has_its_own_moments_and_a_slow_one_delays_nobody():
    async def story() -> None:
        quick, slow, rare = (
            FakeFeed("quick", takes_s=0.2),
            FakeFeed("slow", takes_s=7.0),
            FakeFeed("rare", period_s=15.0),
        )
        rounds = Rounds()
        rounds.set_feeds([slow, quick, rare])
        await run_for(rounds, 61.0)
        assert quick.begun_at == close_to(moments(quick, until=61.0))
        gaps = [late - early for early, late in itertools.pairwise(quick.begun_at[1:])]
        assert gaps == [pytest.approx(5.0, abs=WAKE_S)] * len(gaps)
        # Never doubled, and back at its own moment.
        assert [gap for gap in gaps_of(slow) if gap < 7.0] == []
        assert slow.begun_at[2:] == close_to(moments(slow, until=61.0)[4::2])
        assert rare.begun_at == close_to(moments(rare, until=61.0))

    run_virtual(story())


def gaps_of(feed: FakeFeed) -> list[float]:
    return [late - early for early, late in itertools.pairwise(feed.begun_at)]


def test_feeds_come_and_go_while_it_runs_and_the_others_keep_their_moments():
    async def story() -> None:
        kept, gone, new = FakeFeed("kept"), FakeFeed("gone"), FakeFeed("new")
        rounds = Rounds()
        rounds.set_feeds([kept, gone])
        async with asyncio.TaskGroup() as group:
            group.create_task(run_for(rounds, 22.0))
            await asyncio.sleep(8.0)
            rounds.set_feeds([kept, new])
        assert kept.begun_at == close_to(moments(kept, until=22.0))
        assert gone.begun_at == close_to(moments(gone, until=8.0))
        assert new.begun_at == close_to(moments(new, until=22.0, first=8.0))
        assert [report.name for report in rounds.reports()] == ["kept", "new"]

    run_virtual(story())


def test_without_feeds_it_waits_for_some():
    async def story() -> None:
        rounds, feed = Rounds(), FakeFeed("late")
        async with asyncio.TaskGroup() as group:
            group.create_task(run_for(rounds, 30.0))
            await asyncio.sleep(13.0)
            rounds.set_feeds([feed])
        assert feed.begun_at == close_to(moments(feed, until=30.0, first=13.0))

    run_virtual(story())


def test_a_stalled_loop_is_not_caught_up():
    async def story() -> None:
        feed = FakeFeed("feed")
        rounds = Rounds()
        rounds.set_feeds([feed])
        loop = asyncio.get_running_loop()

        def stall() -> None:
            loop._virtual.now += 13.0

        loop.call_at(6.0, stall)
        await run_for(rounds, 40.0)
        [late_at] = [at for at in feed.begun_at if at >= 19.0][:1]
        assert late_at == 19.0
        assert min(gaps_of(feed)) >= 2.5
        after = [at for at in feed.begun_at if at > 19.0]
        assert after == close_to(moments(feed, until=40.0, first=19.0)[1:])

    run_virtual(story())


@dataclass
class Pods(FakeFeed):
    """A feed of many targets, each read in no time."""

    uids: list[str] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=dict)

    def reads(self) -> dict[str, Read]:
        return {uid: Read(uid, partial(self.one, uid)) for uid in self.uids}

    async def one(self, uid: str, _reader: object) -> list[ReadResult]:
        self.times.setdefault(uid, []).append(asyncio.get_running_loop().time())
        return [ReadResult(target=uid, outcome=ReadOutcome.READ)]


def test_reads_are_spread_over_the_period_and_each_target_keeps_its_moment():
    async def story() -> None:
        pods = Pods("pods", uids=[f"uid-{number}" for number in range(200)])
        rounds = Rounds()
        rounds.set_feeds([pods])
        await run_for(rounds, 40.0)
        first = [times[0] for times in pods.times.values()]
        # The first reads wait for no moment, and are no burst either.
        assert max(first) <= 200 * FIRST_GAP_S + WAKE_S
        assert len({times[0] for times in pods.times.values()}) > 200 / STARTS_MAX
        for uid, times in pods.times.items():
            # Late by a little, also over the end of a period.
            late = [(at - phase_of(uid) * 5.0 + FIRST_GAP_S) % 5.0 for at in times[1:-1]]
            assert late
            assert max(late) <= WAKE_S + 4 * FIRST_GAP_S
        # No tenth of a period has twice its share of the reads.
        tenths = Counter(int(at % 5.0 / 0.5) for times in pods.times.values() for at in times[1:])
        share = sum(tenths.values()) / 10
        assert 0.5 * share < min(tenths.values()) <= max(tenths.values()) < 2 * share

    run_virtual(story())


@pytest.mark.parametrize(
    ("number_of", "period_s"), [(100, 5.0), (500, 5.0), (600, 1.0), (100, 60.0)]
)
def test_reads_that_are_due_soon_are_begun_together_and_not_too_many(
    number_of: int, period_s: float
):
    async def story() -> None:
        pods = Pods("pods", period_s=period_s, uids=[f"uid-{n}" for n in range(number_of)])
        rounds = Rounds()
        rounds.set_feeds([pods])
        await run_for(rounds, 4 * period_s)
        together = Counter(at for times in pods.times.values() for at in times[2:])
        # Of what is due at all moments of a period alike.
        mean = sum(together.values()) / len(together)
        due = 1 + 0.05 * number_of / period_s
        assert 0.7 * min(due, STARTS_MAX) <= mean <= 1.3 * min(due, STARTS_MAX)
        assert max(together.values()) <= 3 * STARTS_MAX

    run_virtual(story())


def test_a_target_that_is_new_is_read_at_once_and_one_of_the_same_name_is_another():
    async def story() -> None:
        pods, rounds = Pods("pods", uids=["a"]), Rounds()
        rounds.set_feeds([pods])
        async with asyncio.TaskGroup() as group:
            group.create_task(run_for(rounds, 20.0))
            await asyncio.sleep(11.0)
            pods.uids = ["a", "b"]
            rounds.look_again()
            await asyncio.sleep(6.0)
            pods.uids = ["b"]
            rounds.look_again()
        assert pods.times["b"][0] == pytest.approx(11.0, abs=WAKE_S)
        assert max(pods.times["a"]) < 17.0, "it is gone"

    run_virtual(story())


@given(
    at=st.floats(0, 1e6), period_s=st.floats(0.1, 600.0), phase=st.floats(0, 1, exclude_max=True)
)
def test_the_next_moment_is_within_a_period(at: float, period_s: float, phase: float):
    moment = moment_after(at, period_s=period_s, phase=phase)
    assert at < moment <= at + period_s * (1 + 1e-6)
    off = (moment / period_s - phase) % 1.0
    assert min(off, 1.0 - off) < 1e-4


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
        rounds = Rounds()
        rounds.set_feeds([feed])
        with structlog.testing.capture_logs() as logs:
            await run_for(rounds, 44.0)
        assert [(log["event"], log.get("failing")) for log in logs] == [
            ("source.failed", 1),
            ("source.failed", 2),
            ("source.late", None),  # three rounds in a row without an answer in time
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


def test_a_bug_in_one_target_is_a_word_and_the_others_go_on():
    async def story() -> None:
        class Broken(FakeFeed):
            async def read(self, reader: object) -> list[ReadResult]:
                raise ZeroDivisionError(reader)

        broken, whole = Broken("broken"), FakeFeed("whole", ends=[ended() for _ in range(9)])
        rounds = Rounds()
        rounds.set_feeds([broken, whole])
        with structlog.testing.capture_logs() as logs:
            await run_for(rounds, 28.0)
        assert whole.begun_at == close_to(moments(whole, until=28.0))
        assert rounds.outcomes["VLLM", ReadOutcome.BROKEN] == len(moments(broken, until=28.0))
        (report, _) = rounds.reports()
        assert (report.failing, report.outcome) == (("one",), ReadOutcome.BROKEN)
        assert "ZeroDivisionError" in report.message
        # The trace comes once, and not with every round.
        assert [log["event"] for log in logs] == ["source.broke", "source.failed"]

    run_virtual(story())


def test_a_target_that_hangs_delays_no_other_and_is_not_asked_twice():
    async def story() -> None:
        @dataclass
        class TwoPods(FakeFeed):
            times: dict[str, list[float]] = field(default_factory=dict)

            def reads(self) -> dict[str, Read]:
                return {
                    "quick": Read("quick", partial(self.one, "quick", 0.1)),
                    "slow": Read("slow", partial(self.one, "slow", 7.0)),
                }

            async def one(self, name: str, takes_s: float, _reader: object) -> list[ReadResult]:
                self.times.setdefault(name, []).append(asyncio.get_running_loop().time())
                await asyncio.sleep(takes_s)
                return [ReadResult(target=name, outcome=ReadOutcome.READ)]

        feed, rounds = TwoPods("pods"), Rounds()
        rounds.set_feeds([feed])
        with structlog.testing.capture_logs() as logs:
            await run_for(rounds, 43.0)
        quick, slow = feed.times["quick"], feed.times["slow"]
        assert quick == close_to(moments(FakeFeed("quick"), until=43.0))
        assert [late - early for early, late in itertools.pairwise(slow[1:])] == close_to(
            [10, 10, 10]
        )
        # What came late was used, counted, and after three times in a row it was said.
        assert rounds.outcomes["VLLM", ReadOutcome.LATE] == 4
        (report,) = rounds.reports()
        assert (report.failing, report.late) == ((), ("slow",))
        assert report.outcome == ReadOutcome.LATE
        assert "7.0 s, more than the period of 5 s" in report.message
        assert [(log["event"], log["late"]) for log in logs] == [("source.late", 1)]

    run_virtual(story())


def test_a_target_that_flaps_fills_no_log():
    async def story() -> None:
        feed = FakeFeed("pods", ends=[ended("ns/a") if n % 2 else ended() for n in range(400)])
        rounds = Rounds()
        rounds.set_feeds([feed])
        with structlog.testing.capture_logs() as logs:
            await run_for(rounds, 1801.0)
        failed = [log for log in logs if log["event"] == "source.failed"]
        assert 20 <= len(failed) <= 3 * 31
        assert sum(log["unsaid"] or 0 for log in failed) + len(failed) >= 170
        assert rounds.outcomes["VLLM", ReadOutcome.TIMED_OUT] == 180

    run_virtual(story())


def test_it_can_begin_again():
    async def story() -> None:
        feed, rounds = FakeFeed("feed", takes_s=3.0), Rounds()
        rounds.set_feeds([feed])
        await run_for(rounds, 1.0)
        assert feed.cancelled == 1
        await run_for(rounds, 12.0)
        assert feed.begun_at == close_to(moments(feed, until=12.0))

    run_virtual(story())
