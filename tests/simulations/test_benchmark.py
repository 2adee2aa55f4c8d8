"""`python -m simulations.benchmark`: what others script against."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from simulations.benchmark import FAMILIES, SHARED_BLOCKS, conversations, main

pytestmark = pytest.mark.slow


def test_rows_of_the_kernel_in_json() -> None:
    result = CliRunner().invoke(
        main,
        ["kernel", "--replicas", "1,4", "--requests", "300", "--repetitions", "1", "-o", "json"],
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["replicas"] for row in rows] == [1, 4]
    for row in rows:
        assert set(row) == {
            "replicas",
            "requests",
            "cpu_s",
            "requests_per_cpu_s",
            "naive_requests_per_cpu_s",
            "rss_bytes",
        }
        assert row["requests"] == 300
        assert row["requests_per_cpu_s"] == pytest.approx(300 / row["cpu_s"])
        assert row["naive_requests_per_cpu_s"] > 0
        assert row["rss_bytes"] > 10_000_000


def test_the_requests_are_those_that_the_text_says() -> None:
    columns = conversations(20_000, requests_per_s=24.0)
    assert columns.prompt_tokens.mean() == pytest.approx(1155, rel=0.05)
    assert columns.output_tokens.mean() == pytest.approx(211, rel=0.05)
    assert columns.arrival_ns[-1] / 1e9 == pytest.approx(20_000 / 24.0, rel=0.05)
    assert columns.blocks is not None
    # families share their first two blocks, and nothing behind them
    names, counts = np.unique(columns.blocks, return_counts=True)
    assert set(counts[names >= FAMILIES * SHARED_BLOCKS]) == {1}
    assert counts[names < FAMILIES * SHARED_BLOCKS].mean() > 2
