"""`python -m simulations.studies.benchmark`: what others script against."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from simulations.studies.benchmark.__main__ import main
from simulations.studies.benchmark.traffic import FAMILIES, SHARED_BLOCKS, conversations

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


def rows_of(*arguments: str) -> list[dict[str, float]]:
    result = CliRunner().invoke(main, [*arguments, "-o", "json"])
    assert result.exit_code == 0, result.output
    rows: list[dict[str, float]] = json.loads(result.stdout)["rows"]
    return rows


def test_a_tick_is_measured_in_parts_and_beside_a_yardstick() -> None:
    rows = rows_of("ticks", "--replicas", "2,4", "--ticks", "20", "--repetitions", "1")
    assert [(row["replicas"], row["ticks"]) for row in rows] == [(2, 20), (4, 20)]
    for row in rows:
        # the traffic is what the text says: three a second to each replica, ticks of five seconds
        assert row["requests_per_tick"] == pytest.approx(15 * row["replicas"], rel=0.3)
        for part in ("engine", "world", "serving"):
            assert 0 < row[f"{part}_s_per_tick"] < 0.1
        for part in ("engine", "world"):
            assert row[f"{part}_in_yardsticks"] == pytest.approx(
                row[f"{part}_s_per_tick"] / row["yardstick_s"]
            )


def test_a_whole_trace_is_measured_from_the_first_byte_to_the_row() -> None:
    made_up = "generate:flat,hours=0.1,rate=2"
    (row,) = rows_of("trace", made_up, "--policy", "hpa", "--scale", "2")
    assert row["requests"] == pytest.approx(2 * 2 * 360, rel=0.3)
    parts = ("start_s", "read_s", "prepare_s", "run_s", "score_s")
    assert sum(row[part] for part in parts) == pytest.approx(row["cpu_s"])
    assert row["us_per_tick"] == pytest.approx(row["run_s"] / (row["days"] * 17_280) * 1e6)


def test_a_trace_that_is_not_there_is_an_error_in_words() -> None:
    result = CliRunner().invoke(main, ["trace", "no-such-file.csv"])
    assert result.exit_code == 2
    assert "no-such-file.csv: cannot be read" in result.output


def test_memory_is_measured_with_prefixes_and_without() -> None:
    without, with_ = rows_of("memory", "--requests", "200000")
    assert (without["prefixes"], with_["prefixes"]) == (False, True)
    for row in (without, with_):
        assert row["state_rss_bytes_per_million"] == pytest.approx(row["state_rss_bytes"] * 5)
        assert row["peak_rss_bytes"] >= row["base_rss_bytes"] + row["state_rss_bytes"]
        assert row["read_rss_bytes"] > 0
    assert with_["state_rss_bytes"] > without["state_rss_bytes"]
