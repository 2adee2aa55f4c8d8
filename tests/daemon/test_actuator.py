from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from autoscaler.core.contract.commands import (
    Annotate,
    Command,
    CordonNode,
    SetDeletionCost,
    SetReplicas,
)
from autoscaler.core.contract.spec import ScaleTarget
from autoscaler.daemon.actuator import Actuator, CommandEnding
from autoscaler.daemon.clock import Clock
from autoscaler.errors import ActuationError, LeadershipLost
from tests.daemon.virtual_time import run_virtual

TARGET = ScaleTarget(namespace="serving", name="llama")
OTHER = ScaleTarget(namespace="serving", name="other")


def scale(
    name: str, replicas: int, *, target=TARGET, after=None, once_ended=(), expires_at=1e9
) -> SetReplicas:
    return SetReplicas(
        once_ended=once_ended,
        id=name,
        model="serving/llama",
        expires_at=expires_at,
        after=after,
        scale_target=target,
        replicas=replicas,
    )


def annotate(name: str, *, after=None) -> Annotate:
    return Annotate(
        id=name,
        model="serving/llama",
        expires_at=1e9,
        after=after,
        scale_target=TARGET,
        key="k",
        value="v",
    )


def cordon(name: str, *, after=None, expires_at=1e9) -> CordonNode:
    return CordonNode(
        id=name, model="serving/llama", expires_at=expires_at, after=after, node="spot-1"
    )


def cost(name: str, pod: str, *, expires_at=1e9) -> SetDeletionCost:
    return SetDeletionCost(
        id=name,
        model="serving/llama",
        expires_at=expires_at,
        namespace="serving",
        pod=pod,
        cost=-1,
    )


class Stage:
    """An actuator whose writes take as long, and end, as the test says."""

    def __init__(self, **options: Any) -> None:
        self.seconds: dict[str, float] = {}
        self.errors: dict[str, Exception] = {}
        self.begun: list[tuple[str, float]] = []
        self.endings: dict[str, CommandEnding] = {}
        loop = asyncio.get_running_loop()
        clock = Clock(wall=loop.time, monotonic=loop.time)
        self.actuator = Actuator(
            perform=self._perform, clock=clock, finished=self._finished, **options
        )

    async def _perform(self, command: Command) -> None:
        self.begun.append((command.id, asyncio.get_running_loop().time()))
        await asyncio.sleep(self.seconds.get(command.id, 1.0))
        if command.id in self.errors:
            raise self.errors[command.id]

    def _finished(self, command: Command, ending: CommandEnding) -> None:
        assert command.id not in self.endings, "an end is told once"
        self.endings[command.id] = ending

    @property
    def reasons(self) -> dict[str, str]:
        return {key: ending.reason for key, ending in self.endings.items()}


def play(script: Callable[[Stage], Awaitable[None]], **options: Any) -> Stage:
    async def main() -> Stage:
        stage = Stage(**options)
        running = asyncio.create_task(stage.actuator.run())
        await asyncio.sleep(0)
        await script(stage)
        stage.actuator.close()
        await running
        return stage

    return run_virtual(main())


def elapsed(main: Coroutine[Any, Any, None]) -> None:
    run_virtual(main)


def test_a_target_is_written_in_order_and_one_at_a_time():
    async def script(stage: Stage) -> None:
        stage.actuator.submit([annotate("1.1"), scale("1.2", 3)])
        await asyncio.sleep(10)

    stage = play(script)
    assert stage.begun == [("1.1", 0.0), ("1.2", 1.0)]
    assert stage.reasons == {"1.1": "Accepted", "1.2": "Accepted"}


def test_a_slow_target_delays_no_other():
    async def script(stage: Stage) -> None:
        stage.seconds["1.1"] = 9.0
        stage.actuator.submit([scale("1.1", 3), scale("1.2", 3, target=OTHER)])
        await asyncio.sleep(20)

    stage = play(script)
    assert stage.begun == [("1.1", 0.0), ("1.2", 0.0)]


def test_a_newer_scale_replaces_the_one_that_waits_not_the_one_under_way():
    async def script(stage: Stage) -> None:
        stage.actuator.submit([scale("1.1", 3)])
        await asyncio.sleep(0.5)
        stage.actuator.submit([scale("2.1", 4)])
        stage.actuator.submit([scale("3.1", 5)])
        await asyncio.sleep(10)

    stage = play(script)
    assert [name for name, _ in stage.begun] == ["1.1", "3.1"]
    assert stage.reasons == {"1.1": "Accepted", "2.1": "Superseded", "3.1": "Accepted"}
    assert "3.1 sets 5 replicas" in stage.endings["2.1"].message


def test_a_newer_scale_leaves_annotations_that_wait():
    async def script(stage: Stage) -> None:
        stage.actuator.submit([scale("1.1", 3)])
        await asyncio.sleep(0.5)
        stage.actuator.submit([annotate("2.1"), scale("2.2", 4, after="2.1"), scale("3.1", 5)])
        await asyncio.sleep(10)

    stage = play(script)
    assert [name for name, _ in stage.begun] == ["1.1", "2.1", "3.1"]


def test_what_follows_a_command_waits_for_it_across_targets():
    async def script(stage: Stage) -> None:
        stage.seconds["1.1"] = 4.0
        stage.actuator.submit(
            [annotate("1.1"), scale("1.2", 3, after="1.1"), cordon("1.3", after="1.2")]
        )
        await asyncio.sleep(20)

    stage = play(script)
    assert stage.begun == [("1.1", 0.0), ("1.2", 4.0), ("1.3", 5.0)]


def test_a_chain_breaks_at_the_first_that_was_refused():
    async def script(stage: Stage) -> None:
        stage.errors["1.1"] = ActuationError("no", reason="Forbidden")
        stage.actuator.submit(
            [annotate("1.1"), scale("1.2", 3, after="1.1"), cordon("1.3", after="1.2")]
        )
        await asyncio.sleep(20)

    stage = play(script)
    assert [name for name, _ in stage.begun] == ["1.1"]
    assert stage.reasons == {"1.1": "Forbidden", "1.2": "Skipped", "1.3": "Skipped"}
    assert "1.1, which it follows, ended as Forbidden" in stage.endings["1.2"].message


def test_a_scale_waits_for_its_costs_however_they_end():
    async def script(stage: Stage) -> None:
        stage.seconds |= {"1.1": 2.0, "1.2": 3.0}
        stage.errors["1.2"] = ActuationError("no", reason="Forbidden")
        stage.actuator.submit(
            [cost("1.1", "a"), cost("1.2", "b"), scale("1.3", 3, once_ended=("1.1", "1.2", "0.9"))]
        )
        await asyncio.sleep(10)

    stage = play(script)
    assert stage.begun == [("1.1", 0.0), ("1.2", 0.0), ("1.3", 3.0)]
    assert stage.reasons == {"1.1": "Accepted", "1.2": "Forbidden", "1.3": "Accepted"}


def test_a_scale_that_waits_for_others_is_replaced_by_a_newer_one():
    """Found: demand that came back while a scale-down waited for its costs was asked for after it."""

    async def script(stage: Stage) -> None:
        stage.seconds["1.1"] = 8.0
        stage.actuator.submit([cost("1.1", "a"), scale("1.2", 2, once_ended=("1.1",))])
        await asyncio.sleep(5.0)
        stage.actuator.submit([scale("2.1", 8)])
        await asyncio.sleep(20.0)

    stage = play(script)
    assert stage.begun == [("1.1", 0.0), ("2.1", 5.0)]
    assert stage.reasons == {"1.1": "Accepted", "1.2": "Superseded", "2.1": "Accepted"}


def test_one_that_waits_for_an_annotation_is_replaced_too():
    async def script(stage: Stage) -> None:
        stage.seconds["1.1"] = 8.0
        stage.actuator.submit([cordon("1.1"), scale("1.2", 2, after="1.1")])
        await asyncio.sleep(5.0)
        stage.actuator.submit([scale("2.1", 8)])
        await asyncio.sleep(20.0)

    stage = play(script)
    assert stage.begun == [("1.1", 0.0), ("2.1", 5.0)]
    assert stage.reasons["1.2"] == "Superseded"


def test_costs_that_hang_hold_up_a_scale_no_longer_than_its_own_time():
    async def script(stage: Stage) -> None:
        stage.seconds["1.1"] = 9.0
        stage.actuator.submit(
            [cost("1.1", "a"), scale("1.2", 2, once_ended=("1.1",), expires_at=4.0)]
        )
        await asyncio.sleep(20.0)

    stage = play(script)
    assert stage.reasons == {"1.1": "Accepted", "1.2": "Expired"}


def test_closing_drops_a_scale_that_waits_for_its_costs():
    async def script(stage: Stage) -> None:
        stage.seconds["1.1"] = 8.0
        stage.actuator.submit([cost("1.1", "a"), scale("1.2", 2, once_ended=("1.1",))])
        await asyncio.sleep(1.0)

    stage = play(script)
    assert stage.reasons == {"1.1": "Accepted", "1.2": "Skipped"}


def test_a_command_that_follows_one_nobody_knows_is_skipped():
    async def script(stage: Stage) -> None:
        stage.actuator.submit([scale("9.2", 3, after="9.1")])
        await asyncio.sleep(1)

    assert play(script).reasons == {"9.2": "Skipped"}


def test_a_command_whose_time_is_up_is_not_begun():
    async def script(stage: Stage) -> None:
        stage.seconds["1.1"] = 9.0
        stage.actuator.submit([annotate("1.1"), scale("1.2", 3, expires_at=5.0)])
        await asyncio.sleep(20)

    stage = play(script)
    assert [name for name, _ in stage.begun] == ["1.1"]
    assert stage.reasons["1.2"] == "Expired"


def test_waiting_for_another_ends_when_its_own_time_is_up():
    async def script(stage: Stage) -> None:
        stage.seconds["1.1"] = 9.0
        stage.actuator.submit([annotate("1.1"), cordon("1.2", after="1.1", expires_at=3.0)])
        await asyncio.sleep(4)
        assert stage.reasons == {"1.2": "Expired"}
        await asyncio.sleep(10)

    assert play(script).reasons["1.1"] == "Accepted"


def test_a_write_that_hangs_is_given_up_after_ten_seconds_and_the_next_goes_on():
    async def script(stage: Stage) -> None:
        stage.seconds["1.1"] = 3600.0
        stage.actuator.submit([annotate("1.1"), scale("1.2", 3)])
        await asyncio.sleep(12)

    stage = play(script)
    assert stage.begun == [("1.1", 0.0), ("1.2", 10.0)]
    assert stage.endings["1.1"].reason == "Unavailable"
    assert stage.endings["1.1"].sent_s == 10.0


def test_a_bug_in_one_write_fails_that_write_alone():
    async def script(stage: Stage) -> None:
        stage.errors["1.1"] = ZeroDivisionError("ours")
        stage.actuator.submit([scale("1.1", 3), scale("1.2", 3, target=OTHER)])
        await asyncio.sleep(5)

    stage = play(script)
    assert stage.reasons == {"1.1": "Failed", "1.2": "Accepted"}
    assert stage.endings["1.1"].message == "ZeroDivisionError: ours"


def test_a_dry_run_takes_the_whole_path_and_withholds_the_write():
    async def script(stage: Stage) -> None:
        stage.actuator.submit([annotate("1.1"), scale("1.2", 3, after="1.1")])
        await asyncio.sleep(5)

    stage = play(script, withhold=True)
    assert stage.begun == []
    assert stage.reasons == {"1.1": "Withheld", "1.2": "Withheld"}
    assert not stage.endings["1.1"].accepted


def test_closing_finishes_the_write_under_way_and_drops_what_waits():
    async def main() -> None:
        stage = Stage()
        running = asyncio.create_task(stage.actuator.run())
        await asyncio.sleep(0)
        stage.seconds["1.1"] = 4.0
        stage.actuator.submit(
            [
                annotate("1.1"),
                scale("1.2", 3),
                cordon("1.3", after="1.2"),
                scale("1.4", 2, target=OTHER, after="1.1"),
            ]
        )
        await asyncio.sleep(1)
        stage.actuator.close()
        stage.actuator.submit([scale("2.1", 4)])
        await running
        assert asyncio.get_running_loop().time() == 4.0
        assert stage.reasons == {
            "1.1": "Accepted",
            "1.2": "Skipped",
            "1.3": "Skipped",
            "1.4": "Skipped",
            "2.1": "Skipped",
        }

    run_virtual(main())


def test_cancelling_in_the_midst_of_a_write_cancels_the_write():
    async def main() -> None:
        stage = Stage()
        running = asyncio.create_task(stage.actuator.run())
        await asyncio.sleep(0)
        stage.actuator.submit([scale("1.1", 3)])
        await asyncio.sleep(0.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()
        assert stage.endings == {}
        assert asyncio.get_running_loop().time() == 0.5

    run_virtual(main())


def test_workers_go_when_their_queue_is_empty_and_ends_are_forgotten():
    async def script(stage: Stage) -> None:
        for tick in range(42):  # all but the last of each tick are replaced before they are begun
            stage.actuator.submit([scale(f"{tick}.{number}", number) for number in range(100)])
            await asyncio.sleep(5)
        await asyncio.sleep(5)
        assert stage.actuator._waiting == {}
        assert len(stage.actuator._ends) <= 4096

    play(script)


# -- terms


class Terms:
    """The term in which this process acts, as the test says."""

    def __init__(self, now: int | None = 1) -> None:
        self.now = now

    def __call__(self) -> int | None:
        return self.now


def test_what_a_standby_decides_ends_at_once_and_is_not_sent():
    terms = Terms(None)

    async def script(stage: Stage) -> None:
        stage.actuator.submit([annotate("1.1"), scale("1.2", 3, after="1.1")], term=None)
        assert stage.reasons == {"1.1": "Standby", "1.2": "Standby"}
        terms.now = 1
        await asyncio.sleep(20)

    stage = play(script, term=terms)
    assert stage.begun == []
    assert all(ending.sent_s is None for ending in stage.endings.values())


def test_what_was_seen_before_it_acted_is_not_done_when_it_acts():
    terms = Terms(1)

    async def script(stage: Stage) -> None:
        stage.actuator.submit([scale("1.1", 3)], term=None)
        stage.actuator.submit([scale("2.1", 4)], term=1)
        await asyncio.sleep(20)

    stage = play(script, term=terms)
    assert stage.reasons == {"1.1": "Standby", "2.1": "Accepted"}


def test_what_waits_when_the_lease_is_lost_is_not_sent_nor_in_the_next_term():
    for then in (None, 2):
        terms = Terms(1)

        async def script(stage: Stage, terms: Terms = terms, then: int | None = then) -> None:
            stage.seconds["1.1"] = 5.0
            stage.actuator.submit(
                [cordon("1.1"), annotate("1.2"), scale("1.3", 3, after="1.1")], term=1
            )
            stage.actuator.submit([cordon("1.4")], term=1)
            await asyncio.sleep(2)
            terms.now = then
            await asyncio.sleep(20)

        stage = play(script, term=terms)
        assert stage.begun == [("1.1", 0.0), ("1.2", 0.0)]
        assert stage.reasons == {
            "1.1": "Accepted",
            "1.2": "Accepted",
            "1.3": "Standby",
            "1.4": "Standby",
        }


def test_a_write_that_the_fence_held_back_was_left_to_another_and_what_follows_is_skipped():
    async def script(stage: Stage) -> None:
        stage.errors["1.1"] = LeadershipLost("not sent")
        stage.actuator.submit([annotate("1.1"), scale("1.2", 3, after="1.1")])
        await asyncio.sleep(20)

    stage = play(script)
    assert stage.reasons == {"1.1": "Standby", "1.2": "Skipped"}
    assert stage.endings["1.1"].sent_s is None
    assert stage.endings["1.1"].message == "not sent"
