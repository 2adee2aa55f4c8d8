"""How old a sample may be follows how often its source takes one."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest

from autoscaler.core.demand.sample_age import sample_age_s_max
from tests.builders import group, model
from tests.core.pods import Pod, columns
from tests.expect import Scenario, expect


@pytest.mark.parametrize(
    ("interval_s", "expected_s"),
    [
        pytest.param(nan, 60.0, id="we read it ourselves"),
        pytest.param(15.0, 60.0, id="more often than is asked for"),
        pytest.param(60.0, 150.0, id="every minute: one scrape may be lost"),
        pytest.param(3600.0, 300.0, id="however rarely"),
    ],
)
def test_the_limit_follows_the_interval(interval_s: float, expected_s: float):
    replicas = columns(Pod(name="a", sample_interval_s=interval_s), Pod(name="b"))
    assert sample_age_s_max(replicas, asked_s=60.0).tolist() == [expected_s, 60.0]


@pytest.mark.parametrize(
    ("interval_s", "reason"), [(20.0, None), (nan, "MetricsStale")], ids=["followed", "not known"]
)
def test_a_prometheus_that_scrapes_rarely_is_not_blind_on_one_tick_in_twelve(
    interval_s: float, reason: str | None
):
    story = Scenario(model())  # which asks for samples of 20 s
    read = group(ready=3, sample_age_s=47.0)
    rows = [replace(row, sample_interval_s=interval_s) for row in read]
    decision = story.look(0.0, rows, wants=2)
    if reason is None:
        assert decision.desired_replicas == 2
    else:
        expect(story, desired=3, reason=reason)


@pytest.mark.parametrize(
    ("age_s", "interval_s", "remedy"),
    [
        pytest.param(92.0, 15.0, "periodSeconds: 27 or more", id="a store that is a minute behind"),
        pytest.param(260.0, 30.0, "write source: Pods", id="one that no period makes up for"),
        pytest.param(92.0, nan, "", id="we read the pages ourselves"),
        pytest.param(nan, 15.0, "", id="nothing ever came"),
    ],
)
def test_what_comes_late_for_ever_is_held_with_a_remedy(
    age_s: float, interval_s: float, remedy: str
):
    """A Prometheus that is behind says every fifteen seconds what was a minute and a half ago: blind for ever."""
    story = Scenario(replace(model(), sample_age_s_max=60.0))
    rows = [
        replace(row, sample_interval_s=interval_s) for row in group(ready=3, sample_age_s=age_s)
    ]
    decision = story.look(0.0, rows, wants=2)
    expect(story, desired=3, reason="MetricsStale")
    (said,) = [each.message for each in decision.conditions if each.type == "MetricsAvailable"]
    assert ("is 92 s old" in said or "is 260 s old" in said) is bool(remedy)
    assert remedy in said
    assert ("source: Pods" in said) is bool(remedy)
