"""KEDA's cron trigger as a schedule of the warm floor: two cron lines become days, a beginning and an end."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from autoscaler.settings.floor_schedules import DAYS, days_text, time_text

_FIELDS = 5
_DAYS = {
    name.lower(): number
    for number, name in enumerate(("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"))
}
_EVERY = ("*", "?")
_ALL_DAYS = frozenset(range(7))


class NoScheduleError(Exception):
    """A pair of cron lines that is no schedule of the week; why."""


class _Moment(NamedTuple):
    """When a cron line fires."""

    at_s: int
    """After midnight."""
    days: frozenset[int]
    """Of the week, Monday is 0."""


def read_schedule(start: str, end: str, *, time_zone: str, replicas: int) -> dict[str, Any]:
    """Read a cron trigger as a schedule.

    Args:
        start: The cron line with which it begins.
        end: That with which it ends.
        time_zone: Of both.
        replicas: Kept between them.

    Raises:
        NoScheduleError: It is none of the week; says why.
    """
    begin, stop = _moment(start), _moment(end)
    if begin.at_s == stop.at_s:
        raise NoScheduleError("it begins and ends at the same time of day")
    days = _days_begun(begin, stop)
    schedule: dict[str, Any] = {} if days == _ALL_DAYS else {"days": _days_value(days)}
    schedule |= {
        "from": time_text(begin.at_s),
        "to": time_text(stop.at_s) if stop.at_s else "24:00",
        "timeZone": time_zone,
        "replicas": replicas,
    }
    return schedule


def _days_begun(begin: _Moment, stop: _Moment) -> frozenset[int]:
    """Return the days on which a span begins that ends within a day."""
    over_night = stop.at_s <= begin.at_s
    ends = frozenset((day + 1) % 7 for day in begin.days) if over_night else begin.days
    if stop.days not in (ends, _ALL_DAYS):
        raise NoScheduleError("it does not end within a day of each beginning")
    return begin.days


def _days_value(days: frozenset[int]) -> str | list[str]:
    ordered = tuple(sorted(days))
    text = days_text(ordered)
    return text if "," not in text else [DAYS[day] for day in ordered]


def _moment(line: str) -> _Moment:
    fields = line.split()
    if len(fields) != _FIELDS:
        raise NoScheduleError(f"a cron line has five fields, and this one {len(fields)}")
    minute, hour, day, month, weekday = fields
    if day not in _EVERY or month not in _EVERY:
        raise NoScheduleError("it is of days of the month, or of months; schedules are of the week")
    return _Moment((_whole(hour, 23) * 60 + _whole(minute, 59)) * 60, _weekdays(weekday))


def _whole(text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) > most:
        raise NoScheduleError(f"{text!r} is no single minute or hour; a schedule begins once a day")
    return int(text)


def _weekdays(text: str) -> frozenset[int]:
    """Read `1-5`, `mon-fri`, `0,6` or `*`; Sunday is 0 and 7."""
    if text in _EVERY:
        return _ALL_DAYS
    found: set[int] = set()
    for each in text.lower().split(","):
        first, dash, last = each.partition("-")
        low = _weekday(first)
        high = _weekday(last) if dash else low
        if high < low:
            raise NoScheduleError(f"the days {each!r} go backwards")
        found |= {(day - 1) % 7 for day in range(low, high + 1)}
    return frozenset(found)


def _weekday(text: str) -> int:
    if text in _DAYS:
        return _DAYS[text]
    if not re.fullmatch(r"[0-7]", text):
        raise NoScheduleError(f"{text!r} is no day of the week")
    return int(text)
