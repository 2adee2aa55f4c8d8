"""The election as a machine: what it does next, when it holds, and that two never do."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.kube.lease.contender import (
    Contender,
    LeaseTimes,
    PauseUntil,
    ReadLease,
    WriteEnd,
    WriteLease,
)
from autoscaler.kube.lease.record import LeaseRecord
from tests.extent import examples

TIMES = LeaseTimes()
OTHER = LeaseRecord(holder="other", lease_s=10, renewed="then", transitions=3)


class Scene:
    """One contender, by hand: time goes where the test says."""

    def __init__(self, *, at: float = 100.0) -> None:
        self.at = at
        self.wall_at = 1e9
        self.contender = Contender("us", times=TIMES, rng=random.Random(1), at=at)

    def step(self):
        return self.contender.next_step(at=self.at, wall_at=self.wall_at)

    def read(self, record: LeaseRecord | None) -> None:
        assert isinstance(self.step(), ReadLease)
        self.contender.was_read(record, at=self.at)

    def write(self, end: WriteEnd = WriteEnd.ACCEPTED, *, takes_s: float = 0.0) -> WriteLease:
        step = self.step()
        assert isinstance(step, WriteLease), step
        sent_at = self.at
        self.at += takes_s
        self.contender.was_written(end, sent_at=sent_at, at=self.at)
        return step

    def pause(self) -> float:
        """Go to the end of the pause; returns how long it was."""
        step = self.step()
        assert isinstance(step, PauseUntil), step
        before, self.at = self.at, step.at
        return step.at - before

    def take(self) -> None:
        """From somebody who gave it back."""
        self.read(replace(OTHER, holder=""))
        self.write()
        assert self.term == 1

    @property
    def term(self) -> int | None:
        return self.contender.term(self.at)


def test_one_that_was_given_back_is_taken_at_once():
    scene = Scene()
    scene.read(replace(OTHER, holder=""))
    step = scene.write()
    assert scene.term == 1
    assert not step.creates
    assert (step.record.holder, step.record.transitions) == ("us", 4)
    assert step.record.lease_s == 10
    assert step.record.acquired == step.record.renewed == "2001-09-09T01:46:40.000000Z"


def test_one_that_is_held_is_taken_once_it_has_not_changed_for_ten_seconds_and_then_at_once():
    scene = Scene()
    began = scene.at
    while not isinstance(scene.step(), WriteLease):
        if isinstance(scene.step(), ReadLease):
            scene.read(OTHER)
        else:
            assert scene.pause() <= TIMES.retry_s
        assert scene.term is None
    assert scene.at == began + TIMES.lease_s
    scene.write()
    assert scene.term == 1


def test_each_change_that_is_seen_begins_the_wait_anew():
    scene = Scene()
    for renewal in range(20):
        record = replace(OTHER, renewed=str(renewal))
        scene.read(record)
        for _ in range(3):
            scene.pause()
            if isinstance(scene.step(), ReadLease):
                scene.read(record)
        scene.pause()
        assert not isinstance(scene.step(), WriteLease)


def test_one_whose_holder_gives_it_longer_is_waited_for_as_long():
    scene = Scene()
    scene.read(replace(OTHER, lease_s=30))
    scene.at += 29.9
    assert isinstance(scene.step(), PauseUntil)
    scene.at += 0.2
    scene.read(replace(OTHER, lease_s=30))
    assert isinstance(scene.step(), WriteLease)


def test_to_make_it_is_not_to_hold_it():
    """It may have been deleted under somebody who holds it still."""
    scene = Scene()
    scene.read(None)
    step = scene.write()
    assert step.creates
    assert step.record.transitions == 0
    assert scene.term is None
    scene.at += TIMES.lease_s - 0.01
    assert isinstance(scene.step(), PauseUntil)
    scene.at += 0.02
    scene.read(step.record)
    scene.write()
    assert scene.term == 1


def test_a_hold_counts_from_before_the_write_was_sent():
    scene = Scene()
    scene.read(replace(OTHER, holder=""))
    scene.write(takes_s=4.0)
    assert scene.term == 1
    assert scene.contender.left_s(scene.at) == 6.0
    scene.at += 1.9
    assert scene.term == 1
    scene.at += 0.1
    assert scene.term is None
    assert scene.contender.left_s(scene.at) == 0.0


def test_an_answer_that_comes_too_late_is_no_hold():
    scene = Scene()
    scene.read(replace(OTHER, holder=""))
    scene.write(takes_s=6.0)
    assert scene.term is None


def test_a_renewal_comes_every_two_seconds_at_most_without_reading_first():
    scene = Scene()
    scene.take()
    for _ in range(20):
        assert 1.6 <= scene.pause() <= 2.0
        step = scene.write()
        assert step.record.transitions == 4
        assert scene.term == 1


def test_a_renewal_changes_the_record_though_the_wall_clock_stands_still_or_goes_back():
    scene = Scene()
    scene.take()
    renewals = []
    for step_s in (0.0, -3600.0, *(0.0 for _ in range(100)), 7200.0, -7200.0):
        scene.wall_at += step_s
        scene.pause()
        renewals.append(scene.write().record.renewed)
    assert len(set(renewals)) == len(renewals)


def test_renewals_that_fail_end_the_hold_after_six_seconds_and_are_tried_until_then():
    scene = Scene()
    scene.take()
    took_at, tries = scene.at, 0
    while scene.term is not None:
        step = scene.step()
        if isinstance(step, PauseUntil):
            scene.pause()
            continue
        tries += 1
        assert 1.0 <= step.timeout_s <= 2.2
        scene.at += min(step.timeout_s, 0.2)
        if isinstance(step, ReadLease):
            scene.contender.failed(at=scene.at)
        else:
            scene.contender.was_written(WriteEnd.UNKNOWN, sent_at=scene.at - 0.2, at=scene.at)
    assert scene.at - took_at < TIMES.renew_s + 1.0
    assert tries >= 4


def test_after_a_hang_there_is_time_for_another_try():
    scene = Scene()
    scene.take()
    scene.pause()
    sent_at = scene.at
    step = scene.step()
    scene.at += step.timeout_s
    scene.contender.was_written(WriteEnd.UNKNOWN, sent_at=sent_at, at=scene.at)
    scene.pause()
    scene.read(step.record)  # it had been written, only the answer was lost
    scene.write()
    assert scene.term == 1


def test_who_lost_it_waits_as_everybody_does_and_its_next_term_is_another():
    scene = Scene()
    scene.take()
    scene.at += 7.0
    assert scene.term is None
    held = LeaseRecord(holder="us", lease_s=10, renewed="x")
    assert isinstance(scene.step(), PauseUntil)
    scene.pause()
    scene.read(held)  # not as it was written last: a write came late
    assert isinstance(scene.step(), PauseUntil)
    scene.at += 10.0
    scene.read(held)
    scene.write()
    assert scene.term == 2


def test_one_that_reads_that_another_has_it_stops_at_once():
    scene = Scene()
    scene.take()
    scene.pause()
    scene.write(WriteEnd.REFUSED)
    assert scene.term == 1, "somebody may have put an annotation on it"
    scene.read(OTHER)
    assert scene.term is None


def test_one_that_was_deleted_under_its_holder_is_made_again_and_held_on():
    scene = Scene()
    scene.take()
    scene.pause()
    scene.write(WriteEnd.REFUSED)
    scene.read(None)
    assert scene.write().creates
    assert not scene.write().creates
    assert scene.term == 1


def test_what_refuses_everything_is_not_asked_without_a_pause():
    scene = Scene()
    scene.take()
    scene.pause()
    asked = 0
    while scene.term is not None:
        step = scene.step()
        if isinstance(step, PauseUntil):
            scene.pause()
        elif isinstance(step, ReadLease):
            scene.read(LeaseRecord(holder="us", lease_s=10, renewed="x"))
        else:
            scene.write(WriteEnd.REFUSED)
            asked += 1
    assert 4 <= asked <= 20


def test_who_retires_gives_it_back_and_does_nothing_more():
    scene = Scene()
    scene.take()
    scene.contender.retire(at=scene.at)
    assert scene.term is None, "before it is written"
    step = scene.write()
    assert step.record.holder == ""
    assert step.record.transitions == 4
    assert scene.step() == PauseUntil(at=float("inf"))


def test_a_renewal_that_came_late_does_not_keep_it_from_being_given_back():
    scene = Scene()
    scene.take()
    scene.contender.retire(at=scene.at)
    scene.write(WriteEnd.REFUSED)
    scene.read(LeaseRecord(holder="us", lease_s=10, renewed="late"))
    assert scene.write().record.holder == ""
    assert scene.step() == PauseUntil(at=float("inf"))


@pytest.mark.parametrize("record", [None, OTHER, LeaseRecord(holder="us", lease_s=10)])
def test_who_does_not_hold_it_gives_nothing_back(record):
    scene = Scene()
    scene.read(record)
    scene.contender.retire(at=scene.at)
    assert scene.step() == PauseUntil(at=float("inf"))


def test_who_lost_it_meanwhile_gives_nothing_back():
    scene = Scene()
    scene.take()
    scene.contender.retire(at=scene.at)
    scene.write(WriteEnd.REFUSED)
    scene.read(OTHER)
    assert scene.step() == PauseUntil(at=float("inf"))


# -- several of them, one Lease, and a network that does what it likes


@dataclass
class Server:
    """One Lease with its versions, as the API server guards it."""

    record: LeaseRecord | None = None
    version: int = 0
    number: int = 0
    """Of the object: one that is made anew is another."""

    def read(self) -> tuple[LeaseRecord | None, tuple[int, int]]:
        return self.record, (self.number, self.version)

    def write(self, record: LeaseRecord, over: tuple[int, int] | None) -> bool:
        if over is None:
            if self.record is not None:
                return False
            self.number += 1
        elif self.record is None or over != (self.number, self.version):
            return False
        self.record = record
        self.version += 1
        return True

    def delete(self) -> None:
        self.record = None
        self.version += 1

    def touch(self) -> None:
        """Somebody annotates it."""
        if self.record is not None:
            self.version += 1


@dataclass
class Process:
    """A contender with its own clocks, driven as `Election` drives it."""

    name: str
    contender: Contender
    offset_s: float
    wall_s: float = 0.0
    over: tuple[int, int] = (0, 0)
    stopped_until: float = 0.0
    calls: int = 0
    ended: bool = False

    def clock(self, now: float) -> float:
        return now + self.offset_s


@dataclass
class Network:
    """Delays and losses, each call its own; events in the order of their moments."""

    rng: random.Random
    loss: float
    slow: float
    now: float = 0.0
    agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    number: itertools.count[int] = field(default_factory=itertools.count)

    def at(self, moment: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.agenda, (max(moment, self.now), next(self.number), act))

    def lost(self) -> bool:
        return self.rng.random() < self.loss

    def delay_s(self) -> float:
        if self.rng.random() < self.slow:
            return self.rng.choice([1.0, 3.0, 6.0, 10.0, 15.0, 40.0]) * self.rng.random()
        return self.rng.uniform(0.001, 0.05)


class World:
    """Processes, one server, and who holds at any moment."""

    def __init__(self, rng: random.Random, *, processes: int, loss: float, slow: float) -> None:
        self.rng = rng
        self.server = Server()
        self.network = Network(rng, loss, slow)
        self.writes_until: dict[str, float] = {}
        """By process: when the last write that it could begin has ended. One that gave the lease back has ended all."""
        self.processes = [self._process(number) for number in range(processes)]
        for each in self.processes:
            self.network.at(rng.uniform(0.0, 5.0), lambda each=each: self.turn(each))

    def _process(self, number: int) -> Process:
        offset_s = self.rng.uniform(0.0, 1e6)
        contender = Contender(
            f"p{number}", times=TIMES, rng=random.Random(self.rng.random()), at=offset_s
        )
        return Process(name=f"p{number}", contender=contender, offset_s=offset_s, wall_s=1e9)

    def turn(self, process: Process) -> None:
        """What `Election.run` does between two waits."""
        network, now = self.network, self.network.now
        if process.ended:
            return
        if now < process.stopped_until:
            network.at(process.stopped_until, lambda: self.turn(process))
            return
        at = process.clock(now)
        step = process.contender.next_step(at=at, wall_at=process.wall_s + now)
        if isinstance(step, PauseUntil):
            if step.at < float("inf"):
                network.at(step.at - process.offset_s, lambda: self.turn(process))
            return
        process.calls += 1
        self._call(process, step, number=process.calls, sent_at=at)

    def _call(self, process: Process, step, *, number: int, sent_at: float) -> None:  # noqa: C901
        """One call: it may be lost on the way there or back, or be given up before it arrives."""
        network = self.network
        over = process.over

        def alive(act: Callable[[], None]) -> Callable[[], None]:
            def unless_stopped() -> None:
                if process.ended:
                    return
                if network.now < process.stopped_until:
                    network.at(process.stopped_until, unless_stopped)
                elif process.calls == number:
                    process.calls += 1  # what comes after this is the answer of nobody
                    act()
                    self.turn(process)

            return unless_stopped

        def give_up() -> None:
            at = process.clock(network.now)
            if isinstance(step, ReadLease):
                process.contender.failed(at=at)
            else:
                process.contender.was_written(WriteEnd.UNKNOWN, sent_at=sent_at, at=at)

        def arrive() -> None:
            if isinstance(step, ReadLease):
                answer = self.server.read()
            else:
                accepted = self.server.write(step.record, None if step.creates else over)
                answer = (accepted, (self.server.number, self.server.version))
            if not network.lost():
                network.at(network.now + network.delay_s(), alive(lambda: take(answer)))

        def take(answer) -> None:
            at = process.clock(network.now)
            found, version = answer
            if isinstance(step, ReadLease):
                process.over = version
                process.contender.was_read(found, at=at)
                return
            if found:
                process.over = version
            end = WriteEnd.ACCEPTED if found else WriteEnd.REFUSED
            process.contender.was_written(end, sent_at=sent_at, at=at)

        network.at(network.now + step.timeout_s, alive(give_up))
        if not network.lost():
            network.at(network.now + network.delay_s(), arrive)

    def holders(self) -> list[str]:
        now = self.network.now
        return [p.name for p in self.processes if p.contender.term(p.clock(now)) is not None]

    def run(self, until: float) -> None:
        network = self.network
        while network.agenda and network.agenda[0][0] <= until:
            moment, _, act = heapq.heappop(network.agenda)
            network.now = moment
            act()
            self._judge()
        network.now = until

    def _judge(self) -> None:
        """After each event, for a hold begins with one and ends by itself."""
        now = self.network.now
        holders = self.holders()
        assert len(holders) <= 1, f"{holders} at {now:.3f}"
        for process in self.processes:
            if process.name in holders:
                # As long as this a write that is begun now may take.
                left_s = process.contender.left_s(process.clock(now))
                self.writes_until[process.name] = now + left_s
            elif holders:
                until = self.writes_until.get(process.name, 0.0)
                assert now >= until, (
                    f"{holders} at {now:.3f}, {process.name} writes until {until:.3f}"
                )


TROUBLES = st.lists(
    st.tuples(
        st.sampled_from(["stop", "kill", "retire", "delete", "touch", "wall", "partition"]),
        st.floats(0.5, 30.0),
        st.integers(0, 3),
        st.floats(0.1, 40.0),
    ),
    max_size=14,
)


@pytest.mark.slow
@settings(max_examples=examples(day=200, night=2000), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    processes=st.integers(1, 4),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    slow=st.sampled_from([0.0, 0.1, 0.5]),
    troubles=TROUBLES,
)
def test_two_never_hold_it(seed, processes, loss, slow, troubles):
    world = World(random.Random(seed), processes=processes, loss=loss, slow=slow)
    now = 0.0
    for kind, after_s, which, how_s in troubles:
        now += after_s
        world.run(now)
        process = world.processes[which % processes]
        trouble(world, kind, process, how_s)
    world.run(now + 60.0)


def trouble(world: World, kind: str, process: Process, how_s: float) -> None:
    """Something happens to one of them, or to the Lease."""
    now = world.network.now
    match kind:
        case "stop":
            process.stopped_until = now + how_s
        case "kill":
            process.ended = True
        case "retire":
            if now >= process.stopped_until and not process.ended:
                process.contender.retire(at=process.clock(now))
                process.calls += 1  # `release` ends what `run` was doing
                world.writes_until.pop(process.name, None)
                world.turn(process)
        case "delete":
            world.server.delete()
        case "touch":
            world.server.touch()
        case "wall":
            process.wall_s += (how_s - 20.0) * 3600.0
        case _:
            world.network.loss = min(0.9, how_s / 40.0)


@pytest.mark.slow
@settings(max_examples=examples(day=40, night=1000), deadline=None)
@given(seed=st.integers(0, 2**32), processes=st.integers(2, 4), killed_at=st.floats(30.0, 60.0))
def test_a_network_that_is_well_has_a_holder_and_another_within_twelve_seconds(
    seed, processes, killed_at
):
    world = World(random.Random(seed), processes=processes, loss=0.0, slow=0.0)
    world.run(killed_at)
    (name,) = world.holders()
    (holder,) = (each for each in world.processes if each.name == name)
    assert holder.contender.term(holder.clock(killed_at)) == 1, "it never lost it"
    before = world.server.record
    trouble(world, "kill", holder, 0.0)
    world.run(killed_at + 12.2)
    (successor,) = world.holders()
    assert successor != name
    assert before is not None
    assert world.server.record is not None
    assert world.server.record.transitions == before.transitions + 1


@pytest.mark.slow
@settings(max_examples=examples(day=40, night=1000), deadline=None)
@given(seed=st.integers(0, 2**32), processes=st.integers(2, 4), retires_at=st.floats(30.0, 60.0))
def test_who_retires_is_followed_within_a_look(seed, processes, retires_at):
    world = World(random.Random(seed), processes=processes, loss=0.0, slow=0.0)
    world.run(retires_at)
    (name,) = world.holders()
    (holder,) = (each for each in world.processes if each.name == name)
    trouble(world, "retire", holder, 0.0)
    world.run(retires_at + 2.5)
    (successor,) = world.holders()
    assert successor != name
