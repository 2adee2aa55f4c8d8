"""Schedules of the warm floor: which moments a week on a wall clock means."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.contract.schedules import DAY_S, FloorSchedule, Span, TimeZone, moved
from autoscaler.settings.time_zones import read_time_zone
from tests.extent import examples

BERLIN = read_time_zone("Europe/Berlin")
UTC_ZONE = read_time_zone("UTC")
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)
WEEKDAYS = EVERY_DAY[:5]
HOUR_S = 3600


def schedule(
    begin: str,
    end: str,
    *,
    days: tuple[int, ...] = EVERY_DAY,
    zone: TimeZone = BERLIN,
) -> FloorSchedule:
    """Times as `08:00`; an end that is not after the beginning is the next day's."""
    from_s, to_s = (int(text[:2]) * HOUR_S + int(text[3:]) * 60 for text in (begin, end))
    return FloorSchedule(
        days=days,
        from_s=from_s,
        to_s=to_s if to_s > from_s else to_s + DAY_S,
        time_zone=zone,
        replicas=4,
        text="",
    )


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def spans(asked: FloorSchedule, since: str, until: str) -> list[str]:
    """Every span of a time, as `begin/end` in UTC, found by asking again at each end."""
    at, end = utc(since), utc(until)
    found = []
    while (span := asked.span(at, ahead_s=8.0 * DAY_S)) and span.begins_at < end:
        texts = (datetime.fromtimestamp(each, UTC).isoformat()[:16] for each in span)
        found.append("/".join(texts))
        at = span.ends_at
    return found


def test_an_ordinary_week():
    """2026-11-30 is a Monday."""
    assert spans(schedule("08:00", "20:00", days=WEEKDAYS), "2026-11-28T00:00", "2026-12-08T00:00") == [
        *(f"2026-{day}T07:00/2026-{day}T19:00" for day in ("11-30", "12-01", "12-02", "12-03", "12-04")),
        "2026-12-07T07:00/2026-12-07T19:00",
    ]  # fmt: skip


def test_a_span_is_in_force_from_its_beginning_to_before_its_end():
    asked = schedule("08:00", "20:00")
    begin, end = utc("2026-11-30T07:00"), utc("2026-11-30T19:00")
    assert asked.span(begin - 1.0, ahead_s=0.0) is None
    assert asked.span(begin, ahead_s=0.0) == Span(begin, end)
    assert asked.span(end - 1.0, ahead_s=0.0) == Span(begin, end)
    assert asked.span(end, ahead_s=0.0) is None


def test_it_is_seen_ahead_as_far_as_asked():
    asked = schedule("08:00", "20:00")
    begin, end = utc("2026-11-30T07:00"), utc("2026-11-30T19:00")
    assert asked.span(begin - 180.5, ahead_s=180.0) is None
    assert asked.span(begin - 180.0, ahead_s=180.0) == Span(begin, end)


def test_across_midnight_it_is_of_the_day_on_which_it_begins():
    assert spans(schedule("22:00", "06:00", days=(4,)), "2026-12-01T00:00", "2026-12-15T00:00") == [
        "2026-12-04T21:00/2026-12-05T05:00",
        "2026-12-11T21:00/2026-12-12T05:00",
    ]  # fmt: skip


def test_midnight_itself_ends_and_begins_a_day():
    assert spans(schedule("00:00", "24:00", days=(6,)), "2026-12-01T00:00", "2026-12-10T00:00") == [
        "2026-12-05T23:00/2026-12-06T23:00"
    ]
    assert spans(schedule("22:00", "00:00", days=(6,)), "2026-12-01T00:00", "2026-12-10T00:00") == [
        "2026-12-06T21:00/2026-12-06T23:00"
    ]


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        # 2026-03-29: at 02:00 clocks leap to 03:00, which is 01:00 UTC
        pytest.param("08:00", "20:00", "06:00/18:00", id="the clock's time is what counts"),
        pytest.param("01:30", "03:30", "00:30/01:30", id="over the leap: an hour shorter"),
        pytest.param("02:30", "04:00", "01:00/02:00", id="a beginning that is leapt over is the leap"),
        pytest.param("01:00", "02:30", "00:00/01:00", id="an end that is leapt over is the leap"),
    ],
)  # fmt: skip
def test_the_day_on_which_clocks_leap_ahead(begin, end, expected):
    asked = schedule(begin, end, days=(6,))
    (found,) = spans(asked, "2026-03-28T12:00", "2026-03-30T00:00")
    assert found.replace("2026-03-29T", "") == expected


def test_what_is_leapt_over_whole_is_not_in_force():
    assert (
        spans(schedule("02:10", "02:50", days=(6,)), "2026-03-28T12:00", "2026-03-30T00:00") == []
    )


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        # 2026-10-25: at 03:00 clocks are set back to 02:00, which is 01:00 UTC
        pytest.param("08:00", "20:00", "07:00/19:00", id="the clock's time is what counts"),
        pytest.param("01:30", "03:30", "23:30/02:30", id="over the hour twice: an hour longer"),
        pytest.param("02:30", "03:30", "00:30/02:30", id="begins the first time"),
        pytest.param("01:30", "02:30", "23:30/01:30", id="ends the second time"),
        pytest.param("02:10", "02:40", "00:10/01:40", id="within the hour: through both"),
    ],
)
def test_the_day_on_which_clocks_are_set_back(begin, end, expected):
    asked = schedule(begin, end, days=(6,))
    (found,) = spans(asked, "2026-10-24T12:00", "2026-10-26T00:00")
    assert "/".join(each[-5:] for each in found.split("/")) == expected


def test_a_zone_without_summer_time_and_with_odd_minutes():
    kathmandu = read_time_zone("Asia/Kathmandu")
    assert kathmandu.offsets[0][1] == 5 * HOUR_S + 45 * 60
    assert len(kathmandu.offsets) == 1
    assert spans(
        schedule("00:00", "01:00", zone=kathmandu, days=(0,)), "2026-11-29T00:00", "2026-12-01T00:00"
    ) == ["2026-11-29T18:15/2026-11-29T19:15"]  # fmt: skip


def test_beyond_the_years_that_are_known_the_last_offset_holds():
    assert len(spans(schedule("08:00", "20:00"), "2060-06-01T00:00", "2060-06-04T00:00")) == 3


def test_a_schedule_can_be_moved_to_another_date():
    """A trace's zero is one moment for the replay and another one for the schedule."""
    asked = schedule("08:00", "20:00", days=WEEKDAYS)
    by_s = round(utc("2026-01-01T00:00") - utc("2025-03-28T06:00"))  # to the day before a leap
    told = moved(asked, by_s)
    at = utc("2025-03-28T06:00")
    for _ in range(4):
        span = asked.span(at, ahead_s=8.0 * DAY_S)
        assert told.span(at + by_s, ahead_s=8.0 * DAY_S) == Span(
            span.begins_at + by_s, span.ends_at + by_s
        )
        at = span.ends_at


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC", "Asia/Kolkata")  # fmt: skip


@pytest.mark.slow
@given(
    zone=st.sampled_from(ZONES),
    day=st.dates(min_value=date(2021, 1, 1), max_value=date(2040, 1, 1)),
    near_a_change=st.integers(0, 40),
    minute=st.integers(0, 24 * 60 - 1),
)
@settings(max_examples=examples(day=60, night=2_000), deadline=None)
def test_a_time_of_the_clock_is_what_the_database_says(zone, day, near_a_change, minute):
    """Held against `zoneinfo` minute by minute, on days on which clocks are set as often as on others."""
    read, database = read_time_zone(zone), ZoneInfo(zone)
    if near_a_change and len(read.offsets) > near_a_change:
        day = datetime.fromtimestamp(read.offsets[near_a_change][0], UTC).date()
    local = datetime.combine(day, time(minute // 60, minute % 60))
    local_s = round(local.replace(tzinfo=UTC).timestamp())
    first = datetime.fromtimestamp(read.first_at(local_s), UTC)
    last = datetime.fromtimestamp(read.last_at(local_s), UTC)
    assert _shown(first, database) >= local
    assert _shown(first - timedelta(minutes=1), database) < local
    assert _shown(last, database) >= local
    assert _shown(last - timedelta(minutes=1), database) < local
    minutes = range(-180, 181)  # clocks are set by at most an hour
    shown = [_shown(first + timedelta(minutes=each), database) for each in minutes]
    assert not any(each >= local for each in shown[:180])
    shown = [_shown(last + timedelta(minutes=each), database) for each in minutes]
    assert not any(each < local for each in shown[180:])


def _shown(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)
