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
