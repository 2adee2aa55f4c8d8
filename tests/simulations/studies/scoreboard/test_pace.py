"""How far the board is: shares of estimated work, and a time to go that kept parts do not falsify."""

import io

import pytest

from simulations.studies.scoreboard.pace import LINE_S, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_shares_are_weighted_and_the_rest_is_estimated_from_them():
    clock, log = Clock(), io.StringIO()
    pace = Pace(log, weights=[30.0, 70.0], clock=clock)
    assert pace.remaining_s is None
    pace.begin(0, "small")
    pace.stage(until=1.0, runs=4).progress(2.0)
    clock.now += 15.0
    assert pace.done == pytest.approx(0.15)
    assert pace.remaining_s == pytest.approx(15.0 * 85 / 15)
    pace.begin(1, "large")
    assert pace.done == pytest.approx(0.3)
    reporter = pace.stage(until=0.5, runs=10)
    reporter.progress(10.0)
    reporter.say("one of them")
    assert pace.done == pytest.approx(0.3 + 0.35)
    assert "entry 2 of 2 (large), 30.0 % of all, 0:00:15 so far, about 0:00:35 to go" in (
        log.getvalue()
    )


def test_what_was_kept_says_nothing_about_the_pace():
    clock = Clock()
    pace = Pace(io.StringIO(), weights=[50.0, 50.0], clock=clock)
    pace.begin(0, "kept")
    pace.skip(1.0)
    assert pace.remaining_s is None
    pace.begin(1, "new")
    pace.stage(until=1.0, runs=2).progress(1.0)
    clock.now += 10.0
    assert pace.done == pytest.approx(0.75)
    assert pace.remaining_s == pytest.approx(10.0)


def test_a_log_gets_a_line_now_and_then():
    clock, log = Clock(), io.StringIO()
    pace = Pace(log, weights=[1.0], clock=clock)
    with pace.bar:
        pace.begin(0, "one")
        reporter = pace.stage(until=1.0, runs=100)
        for done in range(100):
            clock.now += LINE_S / 10
            reporter.progress(float(done))
    lines = log.getvalue().splitlines()
    assert 9 <= len(lines) <= 12
    assert lines[0].startswith("entry 1 of 1 (one), 0.0 % of all")


def test_shares_never_fall():
    pace = Pace(io.StringIO(), weights=[1.0], clock=Clock())
    pace.begin(0, "one")
    reporter = pace.stage(until=1.0, runs=2)
    reporter.progress(1.0)
    reporter.progress(0.5)
    assert pace.done == 0.5
