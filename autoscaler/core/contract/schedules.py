"""Schedules of the warm floor: from a week on a wall clock to moments.

The core has no clock and no database of time zones. What the database says of a zone is read at the edge
(`settings/time_zones.py`) and stands in the specification, so that a recording holds all that was decided on.

A schedule is in force as long as a wall clock of its zone shows a time between its two ends, and rather
longer than shorter where that clock is set: an end that the clock leaps over is the leap itself, and of a time that
it shows twice the first is a beginning and the second an end.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import NamedTuple

DAY_S = 86_400
_MONDAY = 3
"""1970-01-01 was a Thursday: three days after a Monday."""
_DAYS_KEPT = 32
"""Of a schedule's days: what a tick asks for is the same all day long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeZone:
    """What clocks of one zone show over some decades."""

    name: str
    """As the IANA database has it."""
    offsets: tuple[tuple[float, int], ...]
    """(moment, seconds ahead of UTC from then on), ascending; at least one, and the first holds before it too."""

    def offset_s(self, at: float) -> int:
        """Return how far clocks are ahead of UTC at a moment, seconds."""
        return self.offsets[max(0, bisect_right(self.offsets, (at, math.inf)) - 1)][1]

    def first_at(self, local_s: int) -> float:
        """Return the first moment at which a clock shows a time or a later one.

        Args:
            local_s: the time, in seconds since 1970-01-01T00:00:00 of that clock.
        """
        place = self._place(local_s)
        while True:
            begin = self.offsets[place][0] if place else -math.inf
            at = max(begin, float(local_s - self.offsets[place][1]))
            place += 1
            if place == len(self.offsets) or at < self.offsets[place][0]:
                return at

    def last_at(self, local_s: int) -> float:
        """Return the moment from which on no clock shows a time before this one any more."""
        place = self._place(local_s)
        at = -math.inf
        for number in range(place, len(self.offsets)):
            begin, offset_s = self.offsets[number]
            reached = float(local_s - offset_s)
            if begin - reached > 2 * DAY_S:
                break
            if number == place or begin < reached:
                last = number + 1 == len(self.offsets)
                at = reached if last else min(reached, self.offsets[number + 1][0])
        return at

    def _place(self, local_s: int) -> int:
        """Return an offset that holds before a clock can show a time: offsets differ by less than two days."""
        earliest = local_s - self.offsets[0][1] - 2 * DAY_S
        return max(0, bisect_right(self.offsets, (earliest, math.inf)) - 1)


class Span(NamedTuple):
    """One time that a schedule is in force: seconds since the epoch, the end outside."""

    begins_at: float
    ends_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorSchedule:
    """So many warm replicas at these times of the week."""

    days: tuple[int, ...]
    """On which it begins; Monday is 0. Ascending."""
    from_s: int
    """Of those days' midnight, on a clock of the zone: seconds, below a day."""
    to_s: int
    """Likewise, above `from_s` and at most a day after it: beyond a day it is the next day's."""
    time_zone: TimeZone
    replicas: int
    text: str
    """As a person reads it."""

    _spans: dict[int, Span | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """By day of the zone's clock: what was found of some of them. It changes no result."""

    def span(self, at: float, *, ahead_s: float) -> Span | None:
        """Return when it is in force now, or is next if that is within so many seconds; None: neither."""
        today = math.floor((at + self.time_zone.offset_s(at)) / DAY_S)
        for day in range(today - 1, today + 3 + math.floor(ahead_s / DAY_S)):
            span = self._of_day(day)
            if span is not None and span.ends_at > at:
                return span if span.begins_at <= at + ahead_s else None
        return None

    def _of_day(self, day: int) -> Span | None:
        """Return the span that begins on a day, counted from 1970-01-01; None: none does, or it is leapt over."""
        if day in self._spans:
            return self._spans[day]
        span = None
        if (day + _MONDAY) % 7 in self.days:
            begins_at = self.time_zone.first_at(day * DAY_S + self.from_s)
            ends_at = self.time_zone.last_at(day * DAY_S + self.to_s)
            span = Span(begins_at, ends_at) if begins_at < ends_at else None
        if len(self._spans) >= _DAYS_KEPT:
            self._spans.clear()
        self._spans[day] = span
        return span


def moved(schedule: FloorSchedule, by_s: int) -> FloorSchedule:
    """Return the same schedule for a clock on which everything is so many seconds later."""
    zone = schedule.time_zone
    offsets = tuple([(at + by_s, offset_s - by_s) for at, offset_s in zone.offsets])
    return replace(schedule, time_zone=replace(zone, offsets=offsets))
