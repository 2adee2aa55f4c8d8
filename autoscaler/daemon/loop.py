"""The loop: next event, engine, recorder, actuator. It decides nothing and waits for nothing else.

    event = next of the inbox, else an observation when one is due
    outcome = engine.handle(event)
    recorder.append(event, outcome)
    actuator.submit(outcome.commands)      # only enqueues

A notice overtakes the tick: it is handled when it comes and an observation with it is made at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from autoscaler.core.contract.commands import Command, SetReplicas
from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.contract.events import Event, NoticeReceived, Observed
from autoscaler.core.contract.state import Interruption
from autoscaler.core.engine import Engine
from autoscaler.daemon.actuator import Actuator, CommandEnding
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.inbox import Inbox
from autoscaler.daemon.observer import FleetObserver
from autoscaler.daemon.recording.recorder import Recorder
from autoscaler.daemon.schedule import NOTICE_GAP_S, STEP_GAP_S, Schedule
from autoscaler.daemon.slices import in_slices

_IDLE_S = 0.2
"""While nothing can be observed yet, it is looked again this often."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """One event, and what came of it."""

    event: Event
    outcome: Outcome
    observe_s: float
    """How long the observation took to make; 0: the event is none."""
    decide_s: float
    """How long the engine took."""
    acts: bool = True
    """Whether what it led to is done; else another daemon acts, and this is only what it would have done."""


class Listener:
    """Told of what the loop does; overrides what it wants to know. Must not wait."""

    def alive(self) -> None:
        """The loop came round."""

    def handled(self, handled: Handled) -> None:
        """One event was handled."""

    def decided(self, handled: Handled, decision: Decision) -> None:
        """One decision of an observation, after `handled`; between two of them others have their turn."""

    def command_ended(self, command: Command, ending: CommandEnding) -> None:
        """One command came to its end."""

    def engine_broke(self) -> None:
        """The engine, or the making of an observation, raised; nothing was decided."""


class Loop:
    """One engine, driven."""

    def __init__(
        self,
        *,
        engine: Engine,
        inbox: Inbox,
        clock: Clock,
        observer: FleetObserver,
        actuator: Actuator,
        recorder: Recorder | None,
        listeners: Sequence[Listener],
        monotonic: Callable[[], float] = time.monotonic,
        has_recalled: Callable[[], bool] = lambda: True,
    ) -> None:
        """Put it together; `run` drives it.

        Args:
            engine: Nobody else may touch it.
            inbox: Events that are not observations.
            clock: Of the events.
            observer: Asked for an observation when one is due.
            actuator: Performs commands.
            recorder: None: nothing is recorded.
            listeners: Told of what was handled, in this order.
            monotonic: Measures how long `handle` takes.
            has_recalled: Whether what an earlier process had learnt was read; the first observation waits for it.
        """
        self._engine = engine
        self._inbox = inbox
        self._clock = clock
        self._observer = observer
        self._actuator = actuator
        self._recorder = recorder
        self._listeners = tuple(listeners)
        self._monotonic = monotonic
        self._has_recalled = has_recalled
        self._schedule = Schedule(tick_s=engine.settings.tick_s, at=clock.now())
        self._interruptions: tuple[Interruption, ...] = ()
        self._stopping = False

    async def run(self) -> None:
        """Handle events until `stop`."""
        while not self._stopping:
            await self._step()

    def stop(self) -> None:
        """Take no more events."""
        self._stopping = True
        self._inbox.nudge()

    def command_ended(self, command: Command, ending: CommandEnding) -> None:
        """A command came to its end: an event, and perhaps a reason to look at once."""
        self._inbox.put_finished(
            command.id, accepted=ending.accepted, reason=ending.reason, message=ending.message
        )
        drains = self._interruptions and not isinstance(command, SetReplicas)
        if drains and not ending.stood_by:
            # The next step of a drain hangs on what this one has led to.
            self._schedule.hasten(at=self._clock.now() + NOTICE_GAP_S, gap_s=STEP_GAP_S)
        self._tell(lambda listener: listener.command_ended(command, ending))

    async def _step(self) -> None:
        self._tell(lambda listener: listener.alive())
        # Before anything is looked at: what is decided is acted on only if all of it was seen while in charge.
        term = self._actuator.term()
        event: Event | None = self._inbox.take()
        observe_s = 0.0
        if event is None:
            if not (self._observer.synced and self._has_recalled()):
                await self._inbox.wait(_IDLE_S)
                return
            left_s = self._schedule.due_at - self._clock.now()
            if left_s > 0:
                await self._inbox.wait(left_s)
                return
            began = self._monotonic()
            event = await self._observe()
            observe_s = self._monotonic() - began
            if event is None:
                return
            # Others have their turn between the steps: each takes its milliseconds for thousands of
            # replicas, and together they would be a stall.
            await asyncio.sleep(0)
        await self._handle(event, observe_s=observe_s, term=term)
        await asyncio.sleep(0)
        if isinstance(event, Observed):
            self._observer.refresh()
            await asyncio.sleep(0)

    async def _observe(self) -> Observed | None:
        """Make an observation; None: that failed, and nothing is decided on this tick."""
        gained_s = self._clock.re_anchor()
        if gained_s:
            _log.warning("clock.jumped", gained_s=round(gained_s, 3))
        at = self._clock.now()
        try:
            event = await in_slices(self._observer.observe(number=self._inbox.next_id, at=at))
        except Exception:  # noqa: BLE001  a bug of ours: logged and counted; everything holds
            _log.exception("observation.broke")
            self._engine_broke()
            self._schedule.note_observation(at=at, interruptions=())
            return None
        self._inbox.take_id()
        self._interruptions = event.interruptions
        self._schedule.note_observation(at=at, interruptions=event.interruptions)
        return event

    async def _handle(self, event: Event, *, observe_s: float, term: int | None) -> None:
        recorder = self._recorder
        if recorder is not None and recorder.wants_checkpoint():
            recorder.begin(self._engine.checkpoint(), at=event.at, first_event=event.id)
        began = self._monotonic()
        try:
            outcome = await in_slices(self._engine.handle_in_steps(event))
        except Exception:  # noqa: BLE001  a bug of ours: logged and counted; everything holds
            _log.exception("engine.broke", tick=event.id)
            self._engine_broke()
            outcome = Outcome()
        decide_s = self._monotonic() - began
        if recorder is not None:
            recorder.append(event, outcome)
        self._actuator.submit(outcome.commands, term=term)
        if isinstance(event, NoticeReceived):
            self._schedule.hasten(at=event.at, gap_s=NOTICE_GAP_S)
        handled = Handled(
            event=event,
            outcome=outcome,
            observe_s=observe_s,
            decide_s=decide_s,
            acts=term is not None,
        )
        for listener in self._listeners:
            await in_slices(tellings(listener, handled))
            await asyncio.sleep(0)

    def _engine_broke(self) -> None:
        self._tell(lambda listener: listener.engine_broke())

    def _tell(self, tell: Callable[[Listener], None]) -> None:
        """Tell each listener; one that breaks must not keep the others, or the loop, from their work."""
        for listener in self._listeners:
            try:
                tell(listener)
            except Exception:  # noqa: BLE001  a bug of ours: logged; what it counts is wrong, no more
                _log.exception("listener.broke", listener=type(listener).__name__)


def tellings(listener: Listener, handled: Handled) -> Generator[None, None, None]:
    """Tell one listener of an event, and then of each decision; yields between them."""
    tells: list[Callable[[], None]] = [partial(listener.handled, handled)]
    tells += [partial(listener.decided, handled, each) for each in handled.outcome.decisions]
    for tell in tells:
        try:
            tell()
        except Exception:  # noqa: BLE001  a bug of ours: logged; what it counts is wrong, no more
            _log.exception("listener.broke", listener=type(listener).__name__)
        yield
