"""One who takes part in the election: a state machine without I/O and without a clock.

It is asked what to do next, told what came of it, and says whether it holds the lease. Every `at` is seconds on
its own monotonic clock; clocks of others are never compared, and nothing that they wrote is read as a moment.

Two can never hold it at once, whatever is late or lost on the way:

- The holder counts from *before* it sent the write that was accepted, and stops `renew_s` after that. Everybody
  else counts from *after* they saw the record as it is, and takes it `lease_s` after that, which is longer.
- Every write names the version that was read, so of two that want the same place one is refused.
- A lease that is not there may have been deleted while somebody held it. To make it anew is not to hold it: then
  too it is taken once it has not changed for `lease_s`, by whoever is first. One that bears our own name while we
  do not hold it is a write of ours that had been given up and came late: nothing else follows from it.
- One that was given back (its holder is empty) is taken at once: only who held it does that, after having stopped.

That rests on clocks which run at the same rate, to a third: `lease_s` is 10 and `renew_s` 6.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeAlias

from autoscaler.kube.lease.record import LeaseRecord, micro_time

_NEVER = float("-inf")
_END = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """All in seconds."""

    lease_s: float = 10.0
    """Without a change for so long, a lease may be taken."""
    renew_s: float = 6.0
    """A holder that could not renew it for so long stops: less than `lease_s`, for clocks and for what is sent."""
    retry_s: float = 2.0
    """Between two looks of who stands by, and between two renewals; at least four fifths of it."""
    call_s: float = 5.0
    """Of one read or write; a holder gives one less, so that there is time for another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseUntil:
    """There is nothing to do before this moment."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLease:
    """The Lease is to be read: then `was_read` or `failed`."""

    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLease:
    """The Lease is to be written: then `was_written`."""

    record: LeaseRecord
    creates: bool
    """Whether it is made anew; else it replaces what was read last."""
    timeout_s: float


ElectionStep: TypeAlias = PauseUntil | ReadLease | WriteLease


class WriteEnd(Enum):
    """How a write of the Lease ended."""

    ACCEPTED = auto()
    REFUSED = auto()
    """Somebody else was quicker, or it is gone: it stands otherwise than it was read."""
    UNKNOWN = auto()
    """No answer, or another refusal: it may have been written, now or later."""


class Contender:
    """Of one process."""

    def __init__(self, identity: str, *, times: LeaseTimes, rng: random.Random, at: float) -> None:
        """Begin without having seen anything.

        Args:
            identity: No other process has, or had, the same.
            times: The same for all who take part.
            rng: For jitter.
            at: Now.
        """
        self._identity = identity
        self._times = times
        self._rng = rng
        self._record: LeaseRecord | None = None
        """As it was last seen; None: it was not there, or not read yet."""
        self._changed_at = at
        """When it was first seen as it is now."""
        self._fresh = False
        """Whether nothing has happened since it was read: only then it may be written over."""
        self._next_at = at
        self._held_until = _NEVER
        self._sent: LeaseRecord | None = None
        self._renewed_us = 0
        self._refusals = 0
        """In a row."""
        self._term = 0
        self._retired = False
        self._gives_back = False
        """Whether it is still to be given back: one that ran out may be another's by now."""

    # -- what is asked

    def term(self, at: float) -> int | None:
        """The number of the term in which the lease is held, from 1 on in this process; None: it is not."""
        return self._term if at < self._held_until else None

    def left_s(self, at: float) -> float:
        """How long from now nobody else can have taken it, seconds; 0 where it is not held now."""
        if at >= self._held_until:
            return 0.0
        return self._held_until - at + self._times.lease_s - self._times.renew_s

    @property
    def held_until(self) -> float:
        """When the hold ends unless it is renewed; long ago: it is not held."""
        return self._held_until

    @property
    def record(self) -> LeaseRecord | None:
        """As it was last seen; None: it was not there, or not read yet."""
        return self._record

    @property
    def holder(self) -> str:
        """Who holds it, as it was last seen; empty: nobody, or nothing was seen."""
        return self._record.holder if self._record is not None else ""

    def next_step(self, *, at: float, wall_at: float) -> ElectionStep:
        """Return what to do now.

        Args:
            at: Now.
            wall_at: The same in seconds since the epoch, for people who read the Lease.
        """
        if self._retired and not self._gives_back:
            return PauseUntil(at=_END)
        if at < self._next_at:
            return PauseUntil(at=self._next_at)
        if not self._fresh:
            return ReadLease(timeout_s=self._timeout_s(at))
        if self._gives_back and self.holder != self._identity:
            self._gives_back = False
            return PauseUntil(at=_END)
        if at < self._held_until or self._gives_back or at >= self._taken_at():
            return self._write(at=at, wall_at=wall_at)
        # Not a moment later than it may be taken, and by what is read then.
        self._fresh = False
        self._next_at = min(self._taken_at(), at + self._pause_s())
        return PauseUntil(at=self._next_at)

    def retire(self, *, at: float) -> None:
        """Hold it no more from now on. Who held it gives it back: `next_step` says how, to the pause without end."""
        self._retired = True
        self._gives_back = at < self._held_until
        self._held_until = _NEVER
        self._next_at = at

    # -- what is told

    def was_read(self, record: LeaseRecord | None, *, at: float) -> None:
        """It stands so; None: it is not there."""
        if record != self._record:
            self._record = record
            self._changed_at = at
        self._fresh = True
        if record is not None and record.holder != self._identity:
            self._held_until = _NEVER  # whoever wrote that by hand means it

    def was_written(self, end: WriteEnd, *, sent_at: float, at: float) -> None:
        """The write of the last step ended.

        Args:
            end: How.
            sent_at: Before it was sent.
            at: Now.
        """
        assert self._sent is not None, "a write was asked for"
        sent, self._sent = self._sent, None
        if end is not WriteEnd.ACCEPTED:
            self._fresh = False
            self._refusals += 1
            # Read at once what it is now; not again and again where something refuses whatever is sent.
            known = end is WriteEnd.REFUSED and self._refusals == 1
            self._next_at = at if known else at + self._after_failure_s(at)
            return
        self._refusals = 0
        created = self._record is None
        self._record, self._changed_at = sent, at
        if self._retired:
            self._gives_back = False
            return
        if created:
            self._next_at = at
            return
        if at >= self._held_until:
            self._term += 1
        self._held_until = max(self._held_until, sent_at + self._times.renew_s)
        self._next_at = max(at, sent_at + self._pause_s())

    def failed(self, *, at: float) -> None:
        """It could not be read."""
        self._fresh = False
        self._next_at = at + self._after_failure_s(at)

    # -- inside

    def _taken_at(self) -> float:
        """From when on it may be taken, as it stands; or made, which is no harm."""
        if self._record is None or not self._record.holder:
            return _NEVER
        return self._changed_at + max(self._times.lease_s, self._record.lease_s)

    def _write(self, *, at: float, wall_at: float) -> WriteLease:
        # A clock that stands still, or goes back, must not make a renewal look like none.
        self._renewed_us = max(int(wall_at * 1e6), self._renewed_us + 1)
        now = micro_time(self._renewed_us)
        before = self._record
        lease_s = max(1, round(self._times.lease_s))
        if before is None or before.holder != self._identity:
            record = LeaseRecord(
                holder=self._identity,
                lease_s=lease_s,
                acquired=now,
                renewed=now,
                transitions=0 if before is None else before.transitions + 1,
            )
        else:
            record = replace(before, renewed=now, lease_s=lease_s)
        if self._gives_back:
            record = replace(record, holder="")
        self._sent = record
        return WriteLease(record=record, creates=before is None, timeout_s=self._timeout_s(at))

    def _timeout_s(self, at: float) -> float:
        """A holder gives a call half of the time that it has left, so that one more can be tried."""
        left_s = self._held_until - at
        if left_s <= 0.0:
            return self._times.call_s
        return min(self._times.call_s, max(self._times.retry_s / 2.0, left_s / 2.0))

    def _pause_s(self) -> float:
        return self._times.retry_s * self._rng.uniform(0.8, 1.0)

    def _after_failure_s(self, at: float) -> float:
        """Who holds it tries again soon: time runs out."""
        holding = at < self._held_until or self._gives_back
        return self._pause_s() / 4.0 if holding else self._pause_s()
