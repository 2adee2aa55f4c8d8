"""The warm floor as users write it: what is valid, what becomes of it, and what is said of the rest."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from autoscaler.core.contract.schedules import DAY_S
from autoscaler.core.contract.spec import RampMode
from autoscaler.settings import load_config, read_config, to_core
from autoscaler.settings.floor_schedules import read_days
from tests.test_settings import document, one_model, problems, write

HOUR_S = 3600


def schedule(**changes: Any) -> dict[str, Any]:
    """One that is valid, with changes; a value of None takes a field away."""
    whole = {
        "days": "Mon-Fri",
        "from": "08:00",
        "to": "20:00",
        "timeZone": "Europe/Berlin",
        "replicas": 4,
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def test_a_schedule_is_times_of_a_week_and_its_zone_as_data(tmp_path):
    floor = one_model(tmp_path, warmFloor={"replicas": 1, "schedules": [schedule()]}).warm_floor
    assert (floor.replicas, floor.ramp) == (1, RampMode.OFF)
    (made,) = floor.schedules
    assert made.days == (0, 1, 2, 3, 4)
    assert (made.from_s, made.to_s, made.replicas) == (8 * HOUR_S, 20 * HOUR_S, 4)
    assert made.time_zone.name == "Europe/Berlin"
    assert {offset for _, offset in made.time_zone.offsets} == {HOUR_S, 2 * HOUR_S}
    assert made.text == "Mon-Fri 08:00-20:00 Europe/Berlin"


def test_what_is_not_given_is_every_day_in_utc(tmp_path):
    least = schedule(days=None, timeZone=None)
    (made,) = one_model(tmp_path, warmFloor={"schedules": [least]}).warm_floor.schedules
    assert made.days == (0, 1, 2, 3, 4, 5, 6)
    assert [offset for _, offset in made.time_zone.offsets] == [0]
    assert made.text == "daily 08:00-20:00 UTC"


@pytest.mark.parametrize(
    ("begin", "end", "from_s", "to_s"),
    [
        ("22:00", "06:00", 22 * HOUR_S, 30 * HOUR_S),
        ("00:00", "24:00", 0, DAY_S),
        ("22:30", "00:00", 22 * HOUR_S + 1800, DAY_S),
    ],
)
def test_an_end_that_is_not_after_the_beginning_is_the_next_days(
    tmp_path, begin, end, from_s, to_s
):
    made = schedule(**{"from": begin, "to": end})
    (made,) = one_model(tmp_path, warmFloor={"schedules": [made]}).warm_floor.schedules
    assert (made.from_s, made.to_s) == (from_s, to_s)


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("Mon", (0,)),
        ("Mon-Fri", (0, 1, 2, 3, 4)),
        (["Mon", "Tue"], (0, 1)),
        (["Mon-Thu", "Sat", "Mon"], (0, 1, 2, 3, 5)),
        ("Sat-Mon", (0, 5, 6)),
        ("Tue-Mon", (0, 1, 2, 3, 4, 5, 6)),
    ],
)
def test_days_are_ranges_or_lists(written, days):
    assert read_days(written) == days


def test_times_need_no_quotes_where_yaml_is_read_as_we_do(tmp_path):
    text = yaml.safe_dump(document()) + (
        "  warmFloor: {ramp: Auto, schedules: [{from: 08:00, to: 20:00, replicas: 2}]}\n"
    )
    (resource,) = load_config(write(tmp_path, text)).resources
    floor = to_core(resource).warm_floor
    assert floor.ramp is RampMode.AUTO
    assert floor.schedules[0].to_s == 20 * HOUR_S


SCHEDULE_MISTAKES = [
    pytest.param({"timeZone": "Europe/Berln"}, "timeZone", '"Europe/Berln"', "write Europe/Berlin", id="a zone that is misspelt"),
    pytest.param({"timeZone": "CEST"}, "timeZone", '"CEST"', "IANA|CET|EST", id="an abbreviation"),
    pytest.param({"timeZone": "localtime"}, "timeZone", '"localtime"', "write", id="the machine's own"),
    pytest.param({"timeZone": "../../etc/passwd"}, "timeZone", "passwd", "write", id="a path"),
    pytest.param({"timeZone": "right/Europe/Berlin"}, "timeZone", "right", "write Europe/Berlin", id="leap seconds"),
    pytest.param({"timeZone": 1}, "timeZone", "1", "name of a time zone", id="a number for a zone"),
    pytest.param({"days": "Mon-Fr"}, "days", '"Mon-Fr"', "Mon-Fri", id="a day that is none"),
    pytest.param({"days": ["Mon", "Mardi"]}, "days", "a list", "Mardi", id="one of a list"),
    pytest.param({"days": []}, "days", "an empty list", "at least one day", id="no day"),
    pytest.param({"from": "8:00"}, "from", '"8:00"', '"00:00" to "24:00"', id="an hour of one digit"),
    pytest.param({"from": 800}, "from", "800", "in quotes", id="a number for a time"),
    pytest.param({"from": "24:00"}, "from", '"24:00"', '"00:00"', id="a beginning at the end"),
    pytest.param({"from": None}, "from", "nothing", "write it", id="no beginning"),
    pytest.param({"to": "24:30"}, "to", '"24:30"', '"24:00"', id="an end after the day"),
    pytest.param({"to": "08:00"}, "to", "also where it begins", "whole day", id="an end at its beginning"),
    pytest.param({"replicas": 11}, "replicas", "11, above maxReplicas 10", "at most 10", id="above the maximum"),
    pytest.param({"replicas": 0}, "replicas", "0", "at least 1", id="none"),
    pytest.param({"replicas": None}, "replicas", "nothing", "write it", id="not said how many"),
    pytest.param({"timezone": "UTC"}, "timezone", "not known", "write timeZone", id="a field that is misspelt"),
]  # fmt: skip
"""One in a schedule each: its changes, and the field, what was found and what to write of its problem."""


@pytest.mark.parametrize(("changes", "field", "found", "remedy"), SCHEDULE_MISTAKES)
def test_a_mistake_is_told_with_its_place_and_what_to_write(
    tmp_path, changes, field, found, remedy
):
    made = document(warmFloor={"schedules": [schedule(), schedule(**changes)]})
    ((where, what, how),) = problems(tmp_path, made)
    assert where == f"spec.warmFloor.schedules[1].{field}"
    assert found in what
    assert any(each in how for each in remedy.split("|"))


def test_a_ramp_needs_a_forecast(tmp_path):
    made = document(warmFloor={"ramp": "Auto"}, forecast={"mode": "Off"})
    ((where, _, how),) = problems(tmp_path, made)
    assert where == "spec.warmFloor.ramp"
    assert "forecast: {mode: Auto}" in how


def test_more_schedules_than_anybody_needs_are_refused(tmp_path):
    made = document(warmFloor={"schedules": [schedule()] * 33})
    ((where, _, how),) = problems(tmp_path, made)
    assert (where, how) == ("spec.warmFloor.schedules", "write at most 32 entries")


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, [1], [{}], [[]], True, 1.5], ids=repr)
@pytest.mark.parametrize(
    "field", ["schedules", "days", "from", "to", "timeZone", "replicas", "ramp"]
)
def test_any_type_anywhere_is_a_problem_of_its_own_and_no_bug(tmp_path, field, value):
    floor: dict[str, Any] = {"schedules": [schedule()]}
    if field in {"schedules", "ramp"}:
        floor[field] = value
    else:
        floor["schedules"][0][field] = value
    config = read_config(write(tmp_path, document(warmFloor=floor)))
    assert not [each for each in config.problems if "this is a bug" in each.remedy]


@pytest.mark.slow
def test_without_any_database_it_says_what_is_missing():
    """In a process of its own, whose search path of zones is empty and in which the package is not there."""
    program = (
        "import sys, zoneinfo\n"
        "zoneinfo.reset_tzpath(to=[])\n"
        "sys.modules['tzdata'] = None\n"
        "from autoscaler.settings.time_zones import NoTimeZoneError, read_time_zone\n"
        "print(read_time_zone('UTC').name)\n"
        "try:\n"
        "    read_time_zone('Europe/Berlin')\n"
        "except NoTimeZoneError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "UTC"
    assert "no database of time zones is installed here" in done.stdout


@pytest.mark.slow
def test_the_database_is_a_dependency():
    """A container of the daemon need not have the system's: the package is found then."""
    program = (
        "import zoneinfo\n"
        "zoneinfo.reset_tzpath(to=[])\n"
        "from autoscaler.settings.time_zones import read_time_zone\n"
        "print(len(read_time_zone('Europe/Berlin').offsets))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 50
