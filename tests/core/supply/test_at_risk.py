"""Requests at risk: how many a doomed node will cut."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.contract.state import InterruptionKind
from autoscaler.core.supply.at_risk import drain_margin_s, requests_at_risk
from autoscaler.core.supply.doomed import find_doomed
from tests.builders import UNKNOWN, group, lost, model, notice, observed, on_demand, seen, spot

SPEC = model(pools=[on_demand(), spot()])


def at_risk(*rows, at: float = 100.0, marks, service_s: float | None = 40.0) -> float | None:
    event = observed(seen(SPEC, *rows), at=at, interruptions=marks)
    return requests_at_risk(
        at=at,
        replicas=event.models[0].replicas,
        doom=find_doomed(event.nodes, event.interruptions, at=at),
        service_s=service_s,
        margin_s=10.0,
    )


def doomed(*, deadline_at: float = 131.0, noticed_at: float = 100.0):
    return [notice("s1", deadline_at=deadline_at, noticed_at=noticed_at)]


def on(running: float, **what):
    return group("spot", ready=1, node="s1", running=running, **what)


def test_of_streams_of_40_s_a_quarter_is_cut_by_30_s():
    assert at_risk(on(40.0), on(20.0, name="y"), marks=doomed()) == pytest.approx(15.0)


def test_the_figure_stays_as_the_replica_drains():
    for closed_s, left in [(0.0, 40.0), (10.0, 30.0), (20.0, 20.0), (29.0, 11.0)]:
        rows = [
            replace(row, deleting=True, deleting_age_s=closed_s, sample_age_s=0.0)
            for row in on(left)
        ]
        told = at_risk(rows, at=100.0 + closed_s, marks=doomed())
        assert told == pytest.approx(10.0), closed_s


def test_what_a_replica_said_is_true_of_when_it_said_it():
    """It stopped to take requests 10 s ago, and said five seconds later that it held 35."""
    rows = [replace(row, deleting=True, deleting_age_s=10.0, sample_age_s=5.0) for row in on(35.0)]
    assert at_risk(rows, at=110.0, marks=doomed()) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        pytest.param({"waiting": 4.0}, 14.0, id="what waits has all of it to go"),
        pytest.param({"waiting": 4.0, "service_s": 29.0}, 0.0, id="short requests all end in time"),
        pytest.param({"running": UNKNOWN}, None, id="what it holds is unknown"),
        pytest.param({"service_s": None}, None, id="nobody knows how long they take"),
        pytest.param({"running": 0.0, "service_s": None}, 0.0, id="it holds nothing"),
    ],
)
def test_what_is_told_of_a_replica(what, expected):
    service_s = what.pop("service_s", 40.0)
    rows = on(what.pop("running", 40.0), **what)
    assert at_risk(rows, marks=doomed(), service_s=service_s) == expected


def test_nothing_is_at_risk_elsewhere():
    assert at_risk(on(40.0), marks=()) == 0.0
    assert at_risk(group(ready=3, running=9.0), on(0.0), marks=doomed()) == 0.0
    assert at_risk(on(40.0), marks=[lost("s1")]) == 0.0  # that is lost already
    risk = [replace(doomed()[0], kind=InterruptionKind.RISK)]
    assert at_risk(on(40.0), marks=risk) == 0.0


def test_of_a_long_notice_the_margin_is_kept_and_of_a_short_one_a_second():
    assert drain_margin_s(10.0, noticed_at=0.0, deadline_at=120.0) == 10.0
    assert drain_margin_s(10.0, noticed_at=0.0, deadline_at=30.0) == 1.0
    assert drain_margin_s(0.0, noticed_at=0.0, deadline_at=30.0) == 0.0
