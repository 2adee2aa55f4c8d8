"""`python -m simulations.field.calibrate`, from a log to a profile that can be used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from autoscaler.cli import cli
from autoscaler.errors import AutoscalerError, SettingsError
from simulations.serving.profiles.profile_files import find_profile
from tests.simulations.field.calibrate.engines import TRUTH, served_by

pytestmark = pytest.mark.slow
NAME = "llama-3.1-8b/1xL40S"


def log(folder: Path) -> Path:
    path = folder / "requests.csv"
    lines = ["t_s,input_tokens,output_tokens,ttft_s,e2e_s,replica"]
    for replica, rate in enumerate((0.5, 3.0)):
        part = served_by(TRUTH, requests=150, requests_per_s=rate, seed=replica)
        rows = zip(
            part.columns.arrival_ns,
            part.columns.prompt_tokens,
            part.columns.output_tokens,
            part.ttft_s,
            part.e2e_s,
            strict=True,
        )
        lines += [f"{a / 1e9},{p},{o},{t:.4f},{e:.4f},{replica}" for a, p, o, t, e in rows]
    path.write_text("\n".join(lines))
    return path


def test_from_a_log_to_a_profile(tmp_path: Path) -> None:
    written = tmp_path / "mine.json"
    arguments = ["--log", str(log(tmp_path)), "--profile", NAME, "--write", str(written)]
    arguments += ["--name", "mine", "--max-num-seqs", "64", "-o", "json"]
    result = CliRunner().invoke(cli, ["calibrate", *arguments])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["samples"] == 300
    assert told["residual_ratio"] < 0.02
    profile = find_profile(str(written))
    assert profile.name == "mine"
    assert profile.requests_max == 64
    assert profile.step_ns == told["profile"]["step_ns"] == pytest.approx(TRUTH.step_ns, rel=0.05)
    assert 1 <= profile.in_flight_target <= 64
    assert profile.usd_per_hour > 0
    # a profile of one's own can be calibrated further
    again = CliRunner().invoke(
        cli, ["calibrate", "--log", str(tmp_path / "requests.csv"), "--profile", str(written)]
    )
    assert again.exit_code == 0, again.output
    assert "median residual" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give either --log FILE or --prometheus URL"),
        (["--log", "nothing.csv"], "nothing.csv: cannot be read: No such file"),
        (["--prometheus", "http://127.0.0.1:9", "--header", "abc"], "--header 'abc': no '=' in it"),
        (["--log", "x", "--max-num-batched-tokens", "16"], "must not be below --max-num-seqs"),
    ],
)
def test_mistakes_are_told(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(cli, ["calibrate", "--profile", NAME, *arguments])
    assert isinstance(result.exception, AutoscalerError)
    assert says in str(result.exception)


def test_by_itself(tmp_path: Path) -> None:
    arguments = ["--profile", NAME, "--log", str(tmp_path / "nothing.csv")]
    command = [sys.executable, "-m", "simulations.field.calibrate", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "nothing.csv: cannot be read" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_names_and_files_of_profiles(tmp_path: Path) -> None:
    assert find_profile(NAME).name == NAME
    with pytest.raises(SettingsError, match="no such profile and no such file"):
        find_profile("llama-9/1xT4")
    with pytest.raises(SettingsError, match="reading the profile"):
        find_profile(str(tmp_path / "missing.json"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "else"}, "its schema is not"),
        ({"profile": 5}, "name must be a text"),
        ({"step_ns": 1.5}, "step_ns must be a whole number"),
        ({"step_ns": 0}, "step_ns must be positive"),
        ({"token_ns": -1}, "no time may be negative"),
        ({"gpu": "T4"}, "gpu must be one of L40S, A100-80, H100"),
        ({"kv_blocks": 1}, "kv_blocks must be at least 2"),
        ({"step_tokens_max": 4}, "requests_max <= step_tokens_max"),
        ({"block_tokens": 0}, "must be positive"),
    ],
)
def test_a_broken_profile_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    from simulations.serving.profiles.profile_files import read_profile, write_profile

    path = tmp_path / "profile.json"
    write_profile(path, find_profile(NAME), about={})
    assert read_profile(path) == find_profile(NAME)
    content = json.loads(path.read_text())
    for key, value in change.items():
        if key in content:
            content[key] = value
        else:
            content["profile"][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(SettingsError) as caught:
        read_profile(path)
    assert says in str(caught.value)
