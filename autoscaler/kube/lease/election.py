"""The election's I/O: reads and writes one Lease, as the contender says, and tells whether this process may act.

The contender decides; here are the clocks, the calls, the log, and the fence that writes pass.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import structlog

from autoscaler.foreign_text import shown
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import Json, UnreadableError, written_version
from autoscaler.kube.api.resources import LEASES
from autoscaler.kube.lease.contender import (
    Contender,
    LeaseTimes,
    PauseUntil,
    ReadLease,
    WriteEnd,
    WriteLease,
)
from autoscaler.kube.lease.record import (
    LEASE_S_MAX,
    LeaseRecord,
    annotation,
    read_record,
    write_record,
)

MARGIN_S = 0.5
"""Before another could take over a write has ended: for clocks that run apart, and for a refusal on its way."""
RELEASE_S = 4.0
"""Of a shutdown, for giving the lease back."""
STOP_ANNOTATION = "inference-autoscaler.dev/paused"
"""Of the Lease: nobody writes as long as it is there. On a resource it pauses that one."""
SILENT_S = 30.0
"""So long without an answer about the lease, nothing can be said about who acts."""

_log = structlog.get_logger(__name__)


def lease_clock() -> float:
    """Seconds on a clock that never goes back, and goes on while the machine sleeps where the system has one."""
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def own_identity() -> str:
    """A name that no other process has or had: this host's (in a pod the pod's), and a random part."""
    return f"{socket.gethostname()}_{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TermFence:
    """The fence of what was decided in one term: it lets nothing through in another."""

    election: Election
    term: int | None

    def write_s(self) -> float:
        """As `Fence`."""
        if self.term is None or self.election.term() != self.term:
            return 0.0
        return self.election.write_s()

    def note_unanswered(self) -> None:
        """As `Fence`."""
        self.election.note_unanswered()


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentFence:
    """The fence of what says how things are: it lets through whatever is sent while the lease is held.

    One that had no answer does not keep the lease from being given back: if it comes late, who acts then has said
    how things are within seconds.
    """

    election: Election

    def write_s(self) -> float:
        """As `Fence`."""
        return self.election.write_s()

    def note_unanswered(self) -> None:
        """As `Fence`."""


class Election:
    """Takes part for one process. `run` must run for it to hold the lease."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        rng: random.Random,
        identity: str | None = None,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] = lease_clock,
        wall: Callable[[], float] = time.time,
        unfit: Callable[[], str] = lambda: "",
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            client: Not a fenced one.
            namespace: Of the Lease.
            name: Of the Lease: all who may stand in for each other name the same.
            rng: For jitter.
            identity: Of this process; one of its own unless given.
            times: The usual ones unless given.
            clock: Seconds, never going back.
            wall: Seconds since the epoch, for people who read the Lease.
            unfit: Why this process should act no more though it runs; empty: it may. It then lets the lease run out.
        """
        self._client = client
        self._namespace, self._name = namespace, name
        self._clock, self._wall = clock, wall
        self._unfit = unfit
        self.identity = identity or own_identity()
        self._times = times or LeaseTimes()
        assert self._times.lease_s <= LEASE_S_MAX, "others believe no more"
        self._contender = Contender(self.identity, times=self._times, rng=rng, at=clock())
        self._found: Json | None = None
        """As it was read or written last."""
        self._told_term: int | None = None
        """What was logged."""
        self._told_holder = ""
        self._lost_why = ""
        self._answered_at = clock()
        self._unanswered_at = float("-inf")
        self._unwritten: tuple[LeaseRecord | None] | None = None
        """The record over which the last write failed; None: it did not."""
        self.problem = ""
        """Why the lease could not be read, or not be written, the last time; empty: it could."""
        self.gained_total = 0
        """Terms that began."""
        self.lost_total = 0
        """Terms that ended, however."""
        self.failures_total = 0
        """Reads and writes of the lease without an answer, or refused for another reason than somebody's write."""

    # -- what is asked

    @property
    def lease(self) -> str:
        """Which one it is, for people."""
        return f"{self._namespace}/{self._name}"

    @property
    def holder(self) -> str:
        """Who had the lease when it was last seen; empty: nobody, or it was not seen."""
        return self._contender.holder

    @property
    def stopped(self) -> str:
        """Why nobody writes, whoever holds the lease, for people; empty: its holder does.

        It is an annotation of the Lease, as all read that every few seconds anyway. What is neither empty nor `false`
        stops: who misspells it in a hurry means it.
        """
        value = annotation(self._found or {}, STOP_ANNOTATION)
        if value in {"", "false"}:
            return ""
        return f"all writes are stopped by the annotation {STOP_ANNOTATION}: {shown(value, limit=40)} of the lease {self.lease}"

    def term(self) -> int | None:
        """The number of the term in which this process acts now; None: it stands by."""
        return None if self.stopped else self._contender.term(self._clock())

    def left_s(self) -> float:
        """How long nobody else can have taken over, seconds."""
        return self._contender.left_s(self._clock())

    def write_s(self) -> float:
        """How long a write that is begun now may take, seconds; 0: none may be begun."""
        return 0.0 if self.term() is None else max(0.0, self.left_s() - MARGIN_S)

    def fence(self) -> TermFence:
        """What writes of the present term have to pass."""
        return TermFence(election=self, term=self.term())

    def note_unanswered(self) -> None:
        """Take note that a write was sent and had no answer."""
        self._unanswered_at = self._clock()

    def silence(self) -> str:
        """Why nothing can be said about who acts, for people; empty: the lease is seen."""
        silent_s = self._clock() - self._answered_at
        if silent_s < SILENT_S:
            return ""
        return f"the lease {self.lease} was last seen {silent_s:.0f} s ago: {self.problem or 'no answer'}"

    # -- what is done

    async def run(self) -> None:
        """Take part until cancelled."""
        while True:
            self._lost_why = self._unfit()
            self.look()
            if self._lost_why:
                await asyncio.sleep(self._until_s(self._times.retry_s / 4.0))
                continue
            now = self._clock()
            step = self._contender.next_step(at=now, wall_at=self._wall())
            if isinstance(step, PauseUntil):
                await asyncio.sleep(self._until_s(step.at - now))
            else:
                await self._perform(step)

    async def release(self, *, drained: bool) -> None:
        """Hold it no more, and give it back, so that another takes over at once. `run` must have been cancelled.

        Args:
            drained: Whether all writes have ended. Where one may still be on its way the lease is left to run out.
        """
        at = self._clock()
        held = self._contender.term(at) is not None
        self._contender.retire(at=at)
        if not held:
            return
        self.lost_total += 1
        self._told_term = None
        if not drained or at - self._unanswered_at < self._times.lease_s:
            _log.info(
                "lease.kept",
                lease=self.lease,
                message="a write of ours may still be on its way; another takes over when the lease has run out",
            )
            return
        try:
            async with asyncio.timeout(RELEASE_S):
                while True:
                    now = self._clock()
                    step = self._contender.next_step(at=now, wall_at=self._wall())
                    if not isinstance(step, PauseUntil):
                        await self._perform(step)
                    elif step.at == float("inf"):
                        break
                    else:
                        await asyncio.sleep(max(0.0, step.at - now))
        except TimeoutError:
            pass
        if self.holder == self.identity:
            _log.warning(
                "lease.kept",
                lease=self.lease,
                message=f"it could not be given back ({self.problem}); another takes over when it has run out",
            )
        else:
            _log.info("lease.released", lease=self.lease)

    def look(self) -> None:
        """Log and count what has become of the lease."""
        term = self.term()
        if term != self._told_term:
            if self._told_term is not None:
                self.lost_total += 1
                why = self._lost_why or self.stopped or self.problem or self._taken_text()
                _log.warning("lease.lost", lease=self.lease, message=why)
            if term is not None:
                self.gained_total += 1
                _log.info("lease.gained", lease=self.lease, identity=self.identity, term=term)
            self._told_term = term
        if term is None and self.holder not in {self._told_holder, self.identity}:
            _log.info("lease.held", lease=self.lease, holder=shown(self.holder) or "nobody")
        self._told_holder = self.holder

    # -- inside

    def _taken_text(self) -> str:
        if self.holder and self.holder != self.identity:
            return f"{shown(self.holder)} has it"
        return "it was not renewed in time: this process was stopped, or had too much to do"

    def _until_s(self, pause_s: float) -> float:
        """No longer than the hold lasts, so that its end is told when it comes."""
        left_s = self._contender.held_until - self._clock()
        return max(0.0, min(pause_s, left_s) if left_s > 0.0 else pause_s)

    async def _perform(self, step: ReadLease | WriteLease) -> None:
        sent_at = self._clock()
        if isinstance(step, ReadLease):
            await self._read(step)
            return
        end = await self._write(step)
        self._contender.was_written(end, sent_at=sent_at, at=self._clock())

    async def _read(self, step: ReadLease) -> None:
        try:
            async with asyncio.timeout(step.timeout_s):
                found = await self._client.call(
                    "get",
                    LEASES,
                    namespace=self._namespace,
                    name=self._name,
                    timeout_s=step.timeout_s,
                )
            record = read_record(found)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                self._fail(str(error))
                self._contender.failed(at=self._clock())
                return
            self._found, record = None, None
        except UnreadableError as error:
            self._fail(f"the lease {self.lease} cannot be read: {error}; delete it")
            self._contender.failed(at=self._clock())
            return
        except TimeoutError:
            self._fail(f"get the lease {self.lease}: no answer within {step.timeout_s:.1f} s")
            self._contender.failed(at=self._clock())
            return
        else:
            self._found = found
        # Reading what could not be written, unchanged, mends nothing.
        if self._unwritten != (record,):
            self._succeed()
        self._contender.was_read(record, at=self._clock())

    async def _write(self, step: WriteLease) -> WriteEnd:
        body = write_record(
            step.record,
            over=None if step.creates else self._found,
            namespace=self._namespace,
            name=self._name,
        )
        others = (
            {HTTPStatus.CONFLICT} if step.creates else {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}
        )
        try:
            async with asyncio.timeout(step.timeout_s):
                written = await self._client.call(
                    "create" if step.creates else "update",
                    LEASES,
                    namespace=self._namespace,
                    name="" if step.creates else self._name,
                    body=body,
                    timeout_s=step.timeout_s,
                )
        except ApiError as error:
            if error.status in others:
                self._succeed()
                return WriteEnd.REFUSED
            self._fail_to_write(str(error))
            return WriteEnd.UNKNOWN
        except TimeoutError:
            self._fail_to_write(
                f"write the lease {self.lease}: no answer within {step.timeout_s:.1f} s"
            )
            return WriteEnd.UNKNOWN
        if not _is_answer_to(step, written):
            self._fail_to_write(
                f"write the lease {self.lease}: what was answered is not what was written"
            )
            return WriteEnd.UNKNOWN
        self._found = written
        self._succeed()
        return WriteEnd.ACCEPTED

    def _succeed(self) -> None:
        self._unwritten = None
        self._answered_at = self._clock()
        if self.problem:
            _log.info("lease.recovered", lease=self.lease)
        self.problem = ""

    def _fail_to_write(self, problem: str) -> None:
        self._unwritten = (self._contender.record,)
        self._fail(problem)

    def _fail(self, problem: str) -> None:
        self.failures_total += 1
        if not self.problem:
            _log.warning("lease.failed", lease=self.lease, message=problem)
        self.problem = problem


def _is_answer_to(step: WriteLease, answer: Json) -> bool:
    """Whether it is the Lease that was sent: some proxies answer 200 with JSON of their own."""
    try:
        return bool(written_version(answer)) and read_record(answer) == step.record
    except UnreadableError:
        return False
