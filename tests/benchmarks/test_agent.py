"""The agent's memory is held to what is promised; its CPU is printed, for a busy machine asserts nothing."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import agent


@pytest.mark.slow
@pytest.mark.parametrize("cloud", agent.CLOUDS)
def test_it_stays_under_thirty_megabytes(capsys, cloud):
    agent.main(["-o", "json", "--cloud", cloud, "--seconds", "3"])
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["marked"]
    assert row["questions"] > 2
    assert 5.0 < row["rss_mb"] <= row["rss_mb_max"] < 30.0
    assert row["cpu_percent"] >= 0.0
