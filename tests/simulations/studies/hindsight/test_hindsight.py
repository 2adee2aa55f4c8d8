"""Hindsight of a generated day against the replay of the same day under the rules themselves."""

from __future__ import annotations

import json

import pytest

from simulations.replay.conditions import (
    ConditionsRequest,
    conditions_of,
    load_tested,
    with_maximum,
)
from simulations.studies.hindsight.__main__ import cells, main
from simulations.studies.hindsight.study import HindsightRow, study
from simulations.traces.trace import read_trace
from tests.extent import sample

COST_RATIO = 0.1
POINTS = 0.025
"""What is asked of ordinary traffic; the figures of each trace are in design 9."""


DAYS = (
    "generate:diurnal,hours=24,rate=2,input=1000,output=600,seed=1",
    "generate:bursty,hours=24,rate=2,input=1000,output=300,seed=2",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", sample(DAYS, day=DAYS[:1]))
def test_of_a_day_hindsight_says_what_the_replay_of_each_rule_says(name: str):
    trace = read_trace(name)
    asked = ConditionsRequest(objective="ttft=2,tpot=0.1")
    conditions = with_maximum(load_tested(conditions_of(asked), trace), trace)
    rows = {row.policy: row for row in study(trace, conditions)}
    assert list(rows) == ["inference-aware", "hpa", "keda", "static"]
    for row in rows.values():
        assert row.covered_ratio > 0.98
        assert abs(row.cost_error_ratio) < COST_RATIO, row
        assert abs(row.attained_error or 0.0) < POINTS, row
    keda, static = rows["keda"], rows["static"]
    assert keda.replayed_attained < 0.9, "else nothing would be told apart"
    assert static.replicas == static.size
    assert static.replayed_size is not None
    assert static.size in {static.replayed_size, static.replayed_size + 1}


def test_a_row_in_words():
    row = HindsightRow(
        trace="day",
        policy="static",
        replicas=3.0,
        replayed_replicas=2.5,
        attained=None,
        replayed_attained=0.99,
        covered_ratio=0.99,
        size=3,
        replayed_size=None,
    )
    assert cells(row) == ("day", "static 3 (none)", "3.00", "2.50", "+20.0 %", "-", "99.00", "-")


def test_a_short_trace_from_the_command(capsys):
    """Six minutes: too short to be told anything of a fleet that was never seen to finish a request."""
    assert main(["generate:flat,hours=0.1,rate=4,input=200,output=50", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["policy"] for row in rows} <= {"inference-aware", "hpa", "keda", "static"}
    assert main(["nowhere.csv"]) == 2
    assert "nowhere.csv" in capsys.readouterr().err
