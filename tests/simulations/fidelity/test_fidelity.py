"""The serving model against recorded runs of a real vLLM."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from autoscaler.errors import SettingsError, TraceError
from simulations.fidelity.__main__ import fidelity
from simulations.fidelity.fit import ARITHMETIC, Speed, fit, speed_of
from simulations.fidelity.runs import read_run, read_runs
from tests.require import fixtures_folder


@pytest.fixture(scope="module")
def runs():
    return read_runs(fixtures_folder() / "vllm-runs")


@pytest.mark.slow
def test_told_the_machines_speed_the_model_is_right(runs):
    """Medians of 8 % (mean TTFT), 3 % (mean TPOT) and 5 % (mean E2E); no run over 10 % in E2E."""
    rows = [row for row in fidelity(runs, [r for r in runs if r.calibration]) if row.mode == "told"]
    assert len(rows) == len(runs)

    def median(key):
        return np.median([abs(getattr(row, key)) for row in rows])

    assert median("ttft_mean_error") <= 0.08
    assert median("tpot_mean_error") <= 0.03
    assert median("e2e_mean_error") <= 0.05
    assert max(abs(row.e2e_mean_error) for row in rows) <= 0.10
    by_name = {row.run: row for row in rows}
    assert abs(by_name["kvscarce-1"].preemptions_error) <= 0.15
    assert abs(by_name["prefix-1"].prefix_hit_tokens_error) <= 0.01


def test_the_fit_is_above_what_the_hardware_allows(runs):
    calibrations = [run for run in runs if run.calibration and "103.8" not in run.model]
    by_model = {
        run.model: [c for c in runs if c.calibration and c.model == run.model]
        for run in calibrations
    }
    for model, parts in by_model.items():
        fitted = fit(parts)
        assert fitted.step_s >= parts[0].weight_bytes / 4e11, model
        assert fitted.kv_token_s >= parts[0].kv_bytes_per_token / 4e11, model
        assert 1 <= fitted.flat_tokens <= 16


def test_a_calibration_at_its_own_speed_is_told_about_one(runs):
    run = next(r for r in runs if r.name == "cal-small-16x256")
    speed = speed_of(run, fit([run]))
    assert speed.reading == pytest.approx(1, abs=0.02)
    assert speed.arithmetic == pytest.approx(1, abs=0.02)
    assert speed.pause == pytest.approx(1, abs=0.02)
    assert Speed() == Speed(reading=1.0, arithmetic=1.0, pause=1.0)
    assert ARITHMETIC.sum() == 3


def test_no_calibration_says_what_to_do():
    with pytest.raises(SettingsError, match="no calibration run"):
        fit([])


def test_a_folder_that_holds_no_run_says_so(tmp_path):
    with pytest.raises(TraceError, match="no runs there"):
        read_runs(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(TraceError, match="KeyError"):
        read_run(tmp_path)


@pytest.mark.slow
def test_the_command_prints_json_of_each_run():
    folder = fixtures_folder() / "vllm-runs" / "open40"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "simulations.fidelity",
            str(folder),
            "-o",
            "json",
            "--calibration",
            str(folder.parent),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["mode"] for row in rows] == ["blind", "told"]
    assert rows[0]["run"] == "open40"
    assert {"ttft_mean_error", "ttft_p95_error", "tpot_mean_error", "e2e_mean_error"} <= set(
        rows[0]
    )
