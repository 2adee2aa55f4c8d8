"""Performs commands: one worker for each target, so that a slow one holds up nobody else.

Within a target commands are performed in order, and a newer SetReplicas replaces one that still waits.
A command that follows another (`after`) waits for it, and is skipped when that was not accepted; a scale
waits for the deletion costs before it (`once_ended`) however they end. A newer scale replaces one that
waits for others, too.
A command belongs to the term in which it was decided: it is begun only while this process still acts in that term
(`kube.lease`), and what is sent for it passes the term's fence. What a standby decides ends at once as `Standby`.
How each ends is put in the inbox; what it led to is read from the next observation. Nothing is tried
again here: the engine decides anew on every tick, and that is the retry.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from autoscaler.core.contract.commands import COMMAND_TIMEOUT_S, Command, SetReplicas
from autoscaler.daemon.clock import Clock
from autoscaler.errors import ActuationError, LeadershipLost
from autoscaler.foreign_text import shown

ALONE = 0
"""The term of a daemon that has no lease: it always acts."""
_REMEMBERED_MAX = 4096
"""Ends of commands that are kept for those that follow them."""

_log = structlog.get_logger(__name__)

Perform = Callable[[Command], Awaitable[None]]
"""Perform one command; raises ActuationError with its reason, or LeadershipLost where nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnding:
    """How one command ended."""

    accepted: bool
    reason: str
    """Of the closed list in `core.events.CommandFinished`."""
    message: str = ""
    sent_s: float | None = None
    """How long the write took; None: it was not sent."""

    @property
    def lets_follow(self) -> bool:
        """Whether what comes after it is performed; in a dry run the chain is shown whole."""
        return self.accepted or self.reason == "Withheld"

    @property
    def stood_by(self) -> bool:
        """Whether it was left to another daemon."""
        return self.reason == "Standby"


Finished = Callable[[Command, CommandEnding], None]
"""Told how each command ended, once; must not wait."""


class Actuator:
    """The workers. `run` must run for commands to be performed."""

    def __init__(
        self,
        *,
        perform: Perform,
        clock: Clock,
        finished: Finished,
        withhold: bool = False,
        term: Callable[[], int | None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            perform: Does one write.
            clock: The clock that `expires_at` is on.
            finished: Told of each end.
            withhold: Do everything but the write (dry run).
            term: Returns the number of the term in which this process acts now, None while it stands by; not
                given: there is no lease, and it always acts.
        """
        self._perform = perform
        self._clock = clock
        self._finished = finished
        self._withhold = withhold
        self.term: Callable[[], int | None] = term or _alone
        self._terms: dict[str, int | None] = {}
        """By command that has not ended: the term in which it was decided."""
        self._waiting: dict[str, deque[Command]] = {}
        """By target that has a worker."""
        self._ends: dict[str, asyncio.Future[CommandEnding]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Perform what is submitted until `close`; then end what is under way, and return."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._closing.wait()
            self._group = None

    def close(self) -> None:
        """Begin nothing more: what waits is skipped, what is under way is finished."""
        self._closing.set()
        for waiting in self._waiting.values():
            while waiting:
                self._end(waiting.popleft(), _SHUTTING_DOWN)

    def submit(self, commands: Iterable[Command], *, term: int | None = ALONE) -> None:
        """Enqueue; never waits.

        Args:
            commands: In order.
            term: In which this process acted when what they were decided on was seen; None: it stood by.
        """
        for command in commands:
            self._ends[command.id] = asyncio.get_running_loop().create_future()
            self._terms[command.id] = term
            if not self._acts_for(command):
                self._end(command, _STANDBY)
                continue
            if self._group is None or self._closing.is_set():
                self._end(command, _SHUTTING_DOWN)
                continue
            waiting = self._waiting.get(command.target)
            if waiting is None:
                waiting = self._waiting[command.target] = deque()
                self._group.create_task(self._work(command.target, waiting))
            if isinstance(command, SetReplicas):
                self._supersede(waiting, command)
            waiting.append(command)
        self._forget()

    def _supersede(self, waiting: deque[Command], newer: SetReplicas) -> None:
        older = [command for command in waiting if isinstance(command, SetReplicas)]
        for command in older:
            waiting.remove(command)
            message = (
                f"{newer.id} sets {newer.replicas} replicas and was there before this was begun"
            )
            self._end(command, CommandEnding(accepted=False, reason="Superseded", message=message))

    async def _work(self, target: str, waiting: deque[Command]) -> None:
        """Perform the commands of one target until none waits."""
        try:
            while waiting:
                command = waiting[0]
                refused = await self._wait_for_others(command)
                if not waiting or waiting[0] is not command:
                    continue  # it was replaced, or dropped, while it waited for others
                waiting.popleft()
                ending = refused or await self._ending_of(command)
                try:
                    self._end(command, ending)
                except Exception:  # noqa: BLE001  a bug of ours in who is told; the other targets go on
                    _log.exception("command.broke", command=command.id, target=command.target)
        finally:
            del self._waiting[target]

    async def _wait_for_others(self, command: Command) -> CommandEnding | None:
        """Wait for those that a command comes after; its ending if it is not to be performed."""
        if isinstance(command, SetReplicas):
            ends = [self._ends[each] for each in command.once_ended if each in self._ends]
            await self._wait_until_ended(command, ends)
        return None if command.after is None else await self._wait_for(command, command.after)

    async def _wait_until_ended(
        self, command: Command, ends: Iterable[asyncio.Future[CommandEnding]]
    ) -> None:
        """Wait until all these have ended, the command itself has, or its time is up."""
        own = self._ends[command.id]
        left_s = max(0.0, command.expires_at - self._clock.now())
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                for end in ends:
                    await asyncio.wait((end, own), return_when=asyncio.FIRST_COMPLETED)
                    if own.done():
                        return

    def _acts_for(self, command: Command) -> bool:
        """Whether this process acts, in the very term in which a command was decided."""
        term = self._terms[command.id]
        return term is not None and term == self.term()

    async def _ending_of(self, command: Command) -> CommandEnding:
        if not self._acts_for(command):
            return _STANDBY
        if command.expires_at <= self._clock.now():
            return CommandEnding(
                accepted=False, reason="Expired", message="its time was up before it was begun"
            )
        if self._withhold:
            return CommandEnding(accepted=False, reason="Withheld", message="dry run")
        return await self._write(command)

    async def _wait_for(self, command: Command, followed: str) -> CommandEnding | None:
        """Wait for the command that this one follows; its ending if it is not to be performed."""
        end = self._ends.get(followed)
        if end is None:
            return _skipped_ending(f"{followed}, which it follows, is not known here")
        await self._wait_until_ended(command, (end,))
        if not end.done():
            message = f"{followed}, which it follows, had not ended when its time was up"
            return CommandEnding(accepted=False, reason="Expired", message=message)
        if end.result().lets_follow:
            return None
        return _skipped_ending(f"{followed}, which it follows, ended as {end.result().reason}")

    async def _write(self, command: Command) -> CommandEnding:
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await self._perform(command)
        except LeadershipLost as error:
            return CommandEnding(accepted=False, reason="Standby", message=str(error))
        except ActuationError as error:
            reason, message = error.reason, str(error)
        except TimeoutError:
            reason, message = "Unavailable", f"no answer within {COMMAND_TIMEOUT_S:g} s"
        except Exception as error:  # noqa: BLE001  a bug of ours: logged; the other targets go on
            _log.exception("command.broke", command=command.id, target=command.target)
            reason, message = "Failed", f"{type(error).__name__}: {shown(error)}"
        else:
            return CommandEnding(accepted=True, reason="Accepted", sent_s=loop.time() - began_at)
        sent_s = loop.time() - began_at
        return CommandEnding(accepted=False, reason=reason, message=message, sent_s=sent_s)

    def _end(self, command: Command, ending: CommandEnding) -> None:
        self._terms.pop(command.id, None)
        self._ends[command.id].set_result(ending)
        self._finished(command, ending)

    def _forget(self) -> None:
        """Drop the oldest ends that nobody will ask for any more."""
        excess = len(self._ends) - _REMEMBERED_MAX
        if excess > 0:
            oldest = [key for key, end in self._ends.items() if end.done()][:excess]
            for key in oldest:
                del self._ends[key]


def _alone() -> int | None:
    return ALONE


def _skipped_ending(message: str) -> CommandEnding:
    return CommandEnding(accepted=False, reason="Skipped", message=message)


_STANDBY = CommandEnding(
    accepted=False, reason="Standby", message="another daemon acts, or all are stopped"
)
_SHUTTING_DOWN = _skipped_ending("the daemon is shutting down")
