"""Days, times of day and time zones as users write them in a schedule of the warm floor."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from autoscaler.core.contract.schedules import DAY_S
from autoscaler.foreign_text import quoted
from autoscaler.settings.time_zones import NoTimeZoneError, read_time_zone

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAYS = re.compile(rf"({'|'.join(DAYS)})(?:-({'|'.join(DAYS)}))?")
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")


def read_days(value: Any) -> tuple[int, ...]:
    """Read `Mon-Fri`, `[Mon, Wed]` or `[Mon-Thu, Sat]`: days of the week, Monday is 0.

    A range may go over the end of a week: `Sat-Mon` is three days.

    Raises:
        PydanticCustomError: It is none of these; says what to write.
    """
    written = value if isinstance(value, list | tuple) else [value]
    found: set[int] = set()
    for each in written:
        match = _DAYS.fullmatch(each) if isinstance(each, str) else None
        if match is None:
            raise PydanticCustomError(
                "days",
                "write days such as Mon-Fri, or a list such as [Mon, Wed, Sat-Sun], in place of {found}",
                {"found": quoted(each, limit=40)},
            )
        first = DAYS.index(match[1])
        last = first if match[2] is None else DAYS.index(match[2])
        found |= {(first + number) % 7 for number in range((last - first) % 7 + 1)}
    if not found:
        raise PydanticCustomError("days", "write at least one day, or leave it out for every day")
    return tuple(sorted(found))


def read_time_of_day(value: Any) -> int:
    """Read `"08:00"` as seconds after midnight, at most `"24:00"`.

    Raises:
        PydanticCustomError: It is no such time; says what to write.
    """
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    seconds = DAY_S + 1 if match is None else (int(match[1]) * 60 + int(match[2])) * 60
    if seconds > DAY_S:
        raise PydanticCustomError(
            "time_of_day", 'write hours and minutes in quotes, from "00:00" to "24:00"'
        )
    return seconds


def read_zone_name(value: Any) -> str:
    """Read the name of a time zone that the database has.

    Raises:
        PydanticCustomError: It has none of this name; says what to write.
    """
    if not isinstance(value, str):
        raise PydanticCustomError(
            "time_zone", "write the name of a time zone, such as Europe/Berlin"
        )
    try:
        read_time_zone(value)
    except NoTimeZoneError as error:
        raise PydanticCustomError("time_zone", "{remedy}", {"remedy": str(error)}) from error
    return value


def days_text(days: tuple[int, ...]) -> str:
    """Write days as `Mon-Fri` or `Mon, Wed`; every day is `daily`."""
    if len(days) == len(DAYS):
        return "daily"
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return ", ".join(DAYS[day] for day in days)


def time_text(seconds: int) -> str:
    """Write a time of day as `08:00`."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}"


_DAY = rf"({'|'.join(DAYS)})"
Days = Annotated[
    tuple[int, ...],
    BeforeValidator(read_days),
    WithJsonSchema(
        {"x-kubernetes-preserve-unknown-fields": True, "pattern": f"^{_DAY}(-{_DAY})?$"}
    ),
]
"""Days of the week, Monday is 0; written as `Mon-Fri` or a list: two types, so that a schema holds only the first to
its form."""
TimeOfDay = Annotated[
    int,
    BeforeValidator(read_time_of_day),
    WithJsonSchema({"type": "string", "maxLength": 5}),
]
"""Seconds after midnight, written as `"08:00"`."""
ZoneName = Annotated[
    str, BeforeValidator(read_zone_name), WithJsonSchema({"type": "string", "maxLength": 64})
]
"""Of the IANA time zone database, whose longest name has 32 characters."""
