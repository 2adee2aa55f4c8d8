from __future__ import annotations

import asyncio

import pytest

from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import CommandFinished, NoticeReceived, Observed, SpecChanged
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.errors import InvariantBroken
from tests.daemon.stages import SPEC, Stage, doomed, evict, scale
from tests.daemon.virtual_time import run_virtual

FLEET = FleetSpec(models=(SPEC,))


def kinds(stage: Stage) -> list[str]:
    return [type(event).__name__ for event in stage.engine.handled]


def test_ticks_come_on_a_grid_of_five_seconds():
    async def main() -> None:
        stage = Stage()
        await stage.run(22)
        assert stage.cuts == [0.0, 5.0, 10.0, 15.0, 20.0]
        assert stage.observer.refreshed == 5

    run_virtual(main())


def test_the_specification_is_handled_before_the_first_observation():
    async def main() -> None:
        stage = Stage()
        stage.inbox.put_spec(FLEET)
        await stage.run(1)
        assert kinds(stage) == ["SpecChanged", "Observed"]

    run_virtual(main())


def test_the_first_observation_waits_until_what_was_learnt_before_is_read():
    async def main() -> None:
        stage = Stage()
        stage.recalled = False
        stage.inbox.put_spec(FLEET)
        asyncio.get_running_loop().call_later(3.0, setattr, stage, "recalled", True)
        await stage.run(4)
        assert kinds(stage) == ["SpecChanged", "Observed"]
        assert 3.0 <= stage.cuts[0] <= 3.25

    run_virtual(main())


def test_a_notice_overtakes_the_tick_and_an_observation_that_has_it_follows_at_once():
    async def main() -> None:
        stage = Stage()

        def take_back() -> None:
            stage.observer.interruptions = (doomed(),)
            stage.inbox.put_notice(doomed())

        asyncio.get_running_loop().call_later(7.0, take_back)
        await stage.run(8.5)
        assert kinds(stage)[:4] == ["Observed", "Observed", "NoticeReceived", "Observed"]
        assert [event.at for event in stage.engine.handled[2:4]] == [7.0, 7.0]
        assert stage.engine.handled[3].interruptions == (doomed(),)
        # while it runs, a second is the grid
        assert stage.cuts == [0.0, 5.0, 7.0, 8.0]

    run_virtual(main())


def test_many_notices_at_once_cost_one_observation():
    async def main() -> None:
        stage = Stage()

        def take_back() -> None:
            for number in range(50):
                stage.inbox.put_notice(doomed(f"spot-{number}"))

        asyncio.get_running_loop().call_later(2.0, take_back)
        await stage.run(4)
        assert stage.cuts == [0.0, 2.0]

    run_virtual(main())


def test_a_trickle_of_notices_is_cut_at_most_every_tenth_of_a_second():
    async def main() -> None:
        stage = Stage()
        loop = asyncio.get_running_loop()
        for number in range(10):
            loop.call_later(2.0 + number * 0.02, stage.inbox.put_notice, doomed(f"s-{number}"))
        await stage.run(4)
        assert stage.cuts == [0.0, 2.0, 2.1, 2.2]

    run_virtual(main())


def test_after_a_step_of_a_drain_it_looks_again_soon():
    """Cordon, seen unschedulable, evict: each would else wait for a tick."""

    async def main() -> None:
        def answer(event) -> Outcome:
            first = isinstance(event, Observed) and event.interruptions and event.id == 2
            return Outcome(commands=(evict("2.1"),)) if first else Outcome()

        stage = Stage(answer)
        stage.inbox.put_notice(doomed())
        stage.observer.interruptions = (doomed(),)
        await stage.run(0.9)
        assert kinds(stage) == ["NoticeReceived", "Observed", "CommandFinished", "Observed"]
        assert stage.cuts == [0.0, 0.5]

    run_virtual(main())


def test_without_an_interruption_the_end_of_a_command_waits_for_the_grid():
    async def main() -> None:
        stage = Stage(lambda e: Outcome(commands=(scale(f"{e.id}.1"),)) if e.id == 1 else Outcome())
        await stage.run(4)
        assert kinds(stage) == ["Observed", "CommandFinished"]

    run_virtual(main())


def test_the_end_of_a_command_is_an_event_with_its_reason():
    async def main() -> None:
        stage = Stage(lambda e: Outcome(commands=(scale("1.1"),)) if e.id == 1 else Outcome())
        await stage.run(1)
        finished = stage.engine.handled[1]
        assert isinstance(finished, CommandFinished)
        assert (finished.command, finished.accepted, finished.reason) == ("1.1", True, "Accepted")
        assert finished.at == 0.05

    run_virtual(main())


def test_ids_count_what_was_handled_without_gaps_and_time_never_goes_back():
    async def main() -> None:
        def answer(event) -> Outcome:
            decides = isinstance(event, Observed)
            return Outcome(commands=(scale(f"{event.id}.1", event.id),) if decides else ())

        stage = Stage(answer)
        loop = asyncio.get_running_loop()
        for at in (0.0, 3.0, 5.0, 5.01, 9.0):
            loop.call_later(at, stage.inbox.put_notice, doomed())
            loop.call_later(at, stage.inbox.put_spec, FLEET)
        await stage.run(30)
        handled = stage.engine.handled
        assert [event.id for event in handled] == list(range(1, len(handled) + 1))
        times = [event.at for event in handled]
        assert times == sorted(times)
        assert {type(e) for e in handled} == {
            Observed,
            NoticeReceived,
            SpecChanged,
            CommandFinished,
        }

    run_virtual(main())


def test_a_slow_write_does_not_delay_the_tick():
    async def main() -> None:
        stage = Stage(
            lambda e: Outcome(commands=(scale("1.1"),)) if e.id == 1 else Outcome(), write_s=9.0
        )
        await stage.run(16)
        assert stage.cuts == [0.0, 5.0, 10.0, 15.0]

    run_virtual(main())


def test_nothing_is_observed_before_there_is_anything_to_observe():
    async def main() -> None:
        stage = Stage()
        stage.observer.synced = False
        stage.inbox.put_spec(FLEET)

        def sync() -> None:
            stage.observer.synced = True

        asyncio.get_running_loop().call_later(7.3, sync)
        await stage.run(11)
        assert kinds(stage) == ["SpecChanged", "Observed", "Observed"]
        assert stage.cuts == [7.4, 10.0]
        assert stage.listener.rounds > 30  # it came round all the while

    run_virtual(main())


@pytest.mark.parametrize("kind", [InvariantBroken, TypeError])
def test_a_bug_in_the_engine_decides_nothing_and_the_loop_goes_on(kind):
    async def main() -> None:
        def answer(event) -> Outcome:
            if event.id == 2:
                raise kind("ours")
            return Outcome()

        stage = Stage(answer)
        await stage.run(11)
        assert stage.cuts == [0.0, 5.0, 10.0]
        assert stage.listener.broken == 1
        assert [outcome for _, outcome in stage.listener.told] == [Outcome()] * 3

    run_virtual(main())


def test_stopping_ends_the_wait_and_finishes_the_write_under_way():
    async def main() -> None:
        stage = Stage(
            lambda e: Outcome(commands=(scale("1.1"),)) if e.id == 1 else Outcome(), write_s=6.0
        )
        await stage.run(2)
        assert asyncio.get_running_loop().time() == 6.0
        assert stage.cuts == [0.0]
        assert len(stage.performed) == 1

    run_virtual(main())


def test_a_bug_in_observing_skips_the_tick_and_the_loop_goes_on():
    async def main() -> None:
        stage = Stage()
        observe, broken = stage.observer.observe, [False, True, False]

        def sometimes(*, number: int, at: float) -> Observed:
            if broken.pop(0):
                raise KeyError("ours")
            return observe(number=number, at=at)

        stage.observer.observe = sometimes
        await stage.run(11)
        assert stage.cuts == [0.0, 10.0]
        assert [event.id for event in stage.engine.handled] == [1, 2]
        assert stage.listener.broken == 1

    run_virtual(main())


class FakeRecorder:
    """Wants a checkpoint before events 1 and 3."""

    def __init__(self) -> None:
        self.log: list[tuple[str, object]] = []
        self.appended = 0

    def wants_checkpoint(self) -> bool:
        return self.appended in (0, 2)

    def begin(self, memory, *, at: float, first_event: int) -> None:
        assert at >= 0
        self.log.append(("begin", (memory["handled"], first_event)))

    def append(self, event, outcome) -> None:
        assert outcome == Outcome()
        self.appended += 1
        self.log.append(("append", event.id))


def test_a_checkpoint_is_taken_before_the_event_that_opens_a_segment():
    async def main() -> None:
        recorder = FakeRecorder()
        stage = Stage(recorder=recorder)
        await stage.run(16)
        assert recorder.log == [
            ("begin", (0, 1)),
            ("append", 1),
            ("append", 2),
            ("begin", (2, 3)),
            ("append", 3),
            ("append", 4),
        ]

    run_virtual(main())


def test_what_was_seen_before_it_acted_is_left_and_the_next_tick_is_done():
    terms: list[int | None] = [None]

    def decide(event) -> Outcome:
        if not isinstance(event, Observed):
            return Outcome()
        terms.append(1)  # the lease is gained in the middle of the first tick
        return Outcome(commands=(scale(f"{event.id}.1"),))

    async def main() -> None:
        stage = Stage(decide, term=lambda: terms[-1])
        await stage.run(7)
        assert [each.at for each in stage.performed] == [5.0]
        assert stage.listener.acts == [False, True]
        ends = [
            event.reason for event in stage.engine.handled if isinstance(event, CommandFinished)
        ]
        assert ends == ["Standby", "Accepted"]

    run_virtual(main())


def test_what_another_daemon_does_to_a_doomed_node_is_no_reason_to_look_at_once():
    async def main() -> None:
        stage = Stage(
            lambda event: (
                Outcome(commands=(evict(f"{event.id}.1"),))
                if isinstance(event, Observed)
                else Outcome()
            ),
            term=lambda: None,
        )
        stage.observer.interruptions = (doomed(),)
        await stage.run(3.5)
        assert stage.cuts == [0.0, 1.0, 2.0, 3.0]
        assert stage.performed == []

    run_virtual(main())
