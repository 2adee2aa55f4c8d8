"""A loop in virtual time: an observer, an engine and an API server that do as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass

from autoscaler.core.contract.commands import Command, EvictPod, SetReplicas
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import Event, Observed
from autoscaler.core.contract.spec import ScaleTarget
from autoscaler.core.contract.state import Interruption
from autoscaler.core.engine import EngineSettings
from autoscaler.daemon.actuator import Actuator, CommandEnding
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.inbox import Inbox
from autoscaler.daemon.loop import Handled, Listener, Loop
from tests.builders import group, model, notice, observed, seen

SPEC = model()


class FakeEngine:
    """Remembers what it was given; its answers come from the test."""

    def __init__(self, answer: Callable[[Event], Outcome], tick_s: float) -> None:
        self.settings = EngineSettings(tick_s=tick_s)
        self.handled: list[Event] = []
        self._answer = answer

    def handle_in_steps(self, event: Event) -> Generator[None, None, Outcome]:
        self.handled.append(event)
        yield
        return self._answer(event)

    def checkpoint(self) -> dict[str, object]:
        return {"handled": len(self.handled)}


class FakeObserver:
    """One replica that is always there, and the interruptions that the test puts in."""

    def __init__(self) -> None:
        self.synced = True
        self.refreshed = 0
        self.interruptions: tuple[Interruption, ...] = ()

    def refresh(self) -> None:
        self.refreshed += 1

    def observe(self, *, number: int, at: float) -> Generator[None, None, Observed]:
        yield
        seen_now = seen(SPEC, group("on-demand", ready=1))
        event = observed(seen_now, at=at, interruptions=self.interruptions)
        return Observed(
            id=number,
            at=at,
            nodes=event.nodes,
            interruptions=event.interruptions,
            models=event.models,
            cluster_at=at,
        )


class Remembering(Listener):
    """Remembers."""

    def __init__(self) -> None:
        self.rounds = 0
        self.broken = 0
        self.told: list[tuple[Event, Outcome]] = []
        self.acts: list[bool] = []
        """Of each observation."""
        self.ended: list[tuple[Command, CommandEnding]] = []

    def alive(self) -> None:
        self.rounds += 1

    def handled(self, handled: Handled) -> None:
        assert handled.observe_s >= 0
        assert handled.decide_s >= 0
        self.told.append((handled.event, handled.outcome))
        if isinstance(handled.event, Observed):
            self.acts.append(handled.acts)

    def command_ended(self, command: Command, ending: CommandEnding) -> None:
        self.ended.append((command, ending))

    def engine_broke(self) -> None:
        self.broken += 1


@dataclass
class Performed:
    """A write that was begun."""

    command: Command
    at: float


class Stage:
    """All of it. Make it inside a running loop."""

    def __init__(
        self,
        answer: Callable[[Event], Outcome] = lambda _: Outcome(),
        *,
        tick_s: float = 5.0,
        recorder=None,
        write_s: float = 0.05,
        engine=None,
        term: Callable[[], int | None] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        clock = Clock(wall=loop.time, monotonic=loop.time)
        self.inbox = Inbox(clock)
        self.engine = engine or FakeEngine(answer, tick_s)
        self.observer = FakeObserver()
        self.listener = Remembering()
        self.performed: list[Performed] = []
        self.write_s = write_s
        self.recalled = True
        self.actuator = Actuator(
            perform=self._perform, clock=clock, finished=self._finished, term=term
        )
        self.loop = Loop(
            engine=self.engine,
            inbox=self.inbox,
            clock=clock,
            observer=self.observer,
            actuator=self.actuator,
            recorder=recorder,
            listeners=[self.listener],
            has_recalled=lambda: self.recalled,
        )

    async def run(self, seconds: float) -> None:
        """Run the loop for so long, then shut down in order."""
        actuator = asyncio.create_task(self.actuator.run())
        await asyncio.sleep(0)
        running = asyncio.create_task(self.loop.run())
        await asyncio.sleep(seconds)
        self.loop.stop()
        await running
        self.actuator.close()
        await actuator

    @property
    def cuts(self) -> list[float]:
        """When observations were cut."""
        return [round(e.at, 6) for e in self.engine.handled if isinstance(e, Observed)]

    async def _perform(self, command: Command) -> None:
        self.performed.append(Performed(command, self.now()))
        await asyncio.sleep(self.write_s)

    def _finished(self, command: Command, ending) -> None:
        self.loop.command_ended(command, ending)


def doomed(node: str = "spot-1", *, deadline_at: float = 60.0) -> Interruption:
    return notice(node, deadline_at=deadline_at)


def scale(name: str, replicas: int = 3) -> SetReplicas:
    return SetReplicas(
        id=name,
        model=SPEC.key,
        expires_at=1e9,
        scale_target=ScaleTarget(namespace="serving", name="on-demand"),
        replicas=replicas,
    )


def evict(name: str, pod: str = "p") -> EvictPod:
    return EvictPod(
        id=name, model=SPEC.key, expires_at=1e9, namespace="serving", pod=pod, grace_s=10
    )
