"""What the IANA database says of a time zone, as the core takes it: as data.

The machine's own database is read, or that of the package `tzdata`, as `zoneinfo` finds it. A zone is read
once in a process: a changed database counts from the next start.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from autoscaler.core.contract.schedules import DAY_S, TimeZone

FIRST_YEAR, LAST_YEAR = 2020, 2045
"""Of which offsets are read. What was before is no floor any more, and what comes after is not decided: the last offset
holds. Recordings hold all of it, some fifty changes of a zone that has a summer time."""
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
"""Files of the database that name no zone."""
_OTHER_TREES = ("posix/", "right/")
"""The same zones again, and those that count leap seconds."""


class NoTimeZoneError(Exception):
    """A name that the database does not have; what to write instead."""


@cache
def read_time_zone(name: str) -> TimeZone:
    """Read a zone of the database.

    Args:
        name: Of the IANA database, such as `Europe/Berlin`, or `UTC`.

    Raises:
        NoTimeZoneError: It does not have it; says what to write.
    """
    if name == "UTC":
        return TimeZone(name=name, offsets=((_moment(FIRST_YEAR), 0),))
    if name in _NO_ZONES or name.startswith(_OTHER_TREES):
        raise NoTimeZoneError(_remedy(name))
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a folder is an OSError
        raise NoTimeZoneError(_remedy(name)) from error
    return TimeZone(name=name, offsets=tuple(_offsets(zone)))


def _moment(year: int) -> float:
    return datetime(year, 1, 1, tzinfo=UTC).timestamp()


def _offset_s(zone: ZoneInfo, at: float) -> int:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    assert offset is not None, "a ZoneInfo knows its offset at every moment"
    return round(offset.total_seconds())


def _offsets(zone: ZoneInfo) -> list[tuple[float, int]]:
    """Look at every day, and where two differ for the second between them."""
    at, end = _moment(FIRST_YEAR), _moment(LAST_YEAR + 1)
    found = [(at, _offset_s(zone, at))]
    while at < end:
        before, after = at, at + DAY_S
        if _offset_s(zone, after) != found[-1][1]:
            while after - before > 1:
                middle = (before + after) // 2
                if _offset_s(zone, middle) == found[-1][1]:
                    before = middle
                else:
                    after = middle
            found.append((after, _offset_s(zone, after)))
        at += DAY_S
    return found


def _remedy(name: str) -> str:
    """Say what to write, or what is missing here."""
    known = available_timezones() - _NO_ZONES
    if not known:
        return (
            "write UTC: no database of time zones is installed here; Debian's package tzdata is one, and "
            "PyPI's package of the same name"
        )
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return (
        f"write {close[0]}"
        if close
        else "write a name of the IANA time zone database, such as Europe/Berlin, or UTC"
    )
