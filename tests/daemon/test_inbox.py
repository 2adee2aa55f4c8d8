from __future__ import annotations

import asyncio

from autoscaler.core.contract.events import (
    CommandFinished,
    HistoryRead,
    KnowledgeRead,
    NoticeReceived,
    SpecChanged,
)
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.contract.state import Interruption, InterruptionKind
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.inbox import Inbox
from tests.core.history.days import Traffic
from tests.daemon.virtual_time import run_virtual

FLEET = FleetSpec(models=())


def notice(node: str = "spot-1") -> Interruption:
    return Interruption(
        node=node,
        kind=InterruptionKind.TERMINATION,
        source="rehearsal",
        noticed_at=0.0,
        deadline_at=60.0,
    )


class StoppedClock(Clock):
    def __init__(self) -> None:
        self.at = 10.0
        super().__init__(wall=lambda: 0.0, monotonic=lambda: 0.0)

    def now(self) -> float:
        return self.at


def inbox() -> tuple[Inbox, StoppedClock]:
    clock = StoppedClock()
    return Inbox(clock), clock


def test_at_equal_times_our_own_commands_come_first_then_notices_then_the_spec_then_the_past():
    box, _ = inbox()
    box.put_history("serving/llama", Traffic.of(lambda _: 1.0, seconds=120.0).history(until=120.0))
    box.put_knowledge("serving/llama", "{}")
    box.put_spec(FLEET)
    box.put_notice(notice())
    box.put_finished("1.1", accepted=True, reason="Accepted")
    kinds = [type(box.take()) for _ in range(5)]
    assert kinds == [CommandFinished, NoticeReceived, SpecChanged, KnowledgeRead, HistoryRead]
    assert box.take() is None


def test_an_earlier_event_comes_before_a_more_urgent_one():
    box, clock = inbox()
    box.put_spec(FLEET)
    clock.at += 1
    box.put_finished("1.1", accepted=True, reason="Accepted")
    assert [type(box.take()) for _ in range(2)] == [SpecChanged, CommandFinished]


def test_equal_events_keep_their_order():
    box, _ = inbox()
    for node in ("b", "a", "c"):
        box.put_notice(notice(node))
    assert [box.take().interruption.node for _ in range(3)] == ["b", "a", "c"]


def test_ids_are_given_when_an_event_is_taken_out_without_gaps():
    box, _ = inbox()
    box.put_spec(FLEET)
    box.put_notice(notice())
    assert box.next_id == 1
    assert box.take().id == 1
    assert box.take_id() == 2
    assert box.take().id == 3
    assert box.next_id == 4


def test_events_carry_the_time_at_which_they_were_put_in():
    box, clock = inbox()
    box.put_notice(notice())
    clock.at = 99.0
    assert box.take().at == 10.0


def test_waiting_ends_with_an_event_or_with_the_time():
    async def main() -> None:
        loop = asyncio.get_running_loop()
        box, _ = inbox()
        await box.wait(5.0)
        assert loop.time() == 5.0
        loop.call_later(2.0, box.put_spec, FLEET)
        await box.wait(5.0)
        assert loop.time() == 7.0
        await box.wait(5.0)  # something waits already
        assert loop.time() == 7.0
        box.take()
        loop.call_later(1.0, box.nudge)
        await box.wait(5.0)
        assert loop.time() == 8.0

    run_virtual(main())
