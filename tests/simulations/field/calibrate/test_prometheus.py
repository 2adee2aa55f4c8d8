"""`autoscaler calibrate --prometheus` against a real one that scraped servers whose coefficients we know."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from autoscaler.cli import cli
from autoscaler.errors import SettingsError
from simulations.field.calibrate import command
from simulations.serving.profiles.profile_files import find_profile
from tests.require import require
from tests.simulations.field.calibrate.engines import BASE, FLOORS, TRUTH
from tests.simulations.field.calibrate.recorded_servers import SCRAPE_S, recorded, write_history
from tests.simulations.real_prometheus import fill, prometheus

pytestmark = [pytest.mark.slow, pytest.mark.prometheus, pytest.mark.timeout(400)]
SPAN_S = 900
END = int(time.time()) // SCRAPE_S * SCRAPE_S
"""The last scrape, in seconds since 1970."""
LOADS = (0.8, 2.0, 3.2)
"""Requests per second of three pods: what differs between them can be told apart."""
IMPOSSIBLE = replace(BASE, step_ns=9_000_000, token_ns=9_000, flat_tokens=90, kv_token_ns=10)
"""Half the time that an L40S takes to read the weights."""
ASKED_S = (0.0, 5.0, 11.0, 20.0, 60.0, 120.0)
"""How long after the last scrape somebody asks. Where in the history the windows fall moves a fit by some
per cent, so each is tried; the clock of the machine would try one of them, another one each time."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    present = shutil.which("prometheus") and shutil.which("promtool")
    require("prometheus", present, "not installed")
    folder = tmp_path_factory.mktemp("prometheus")
    pods = [
        (
            "llama",
            f"llama-{number}",
            recorded(TRUTH, requests_per_s=rate, span_s=SPAN_S, seed=number),
        )
        for number, rate in enumerate(LOADS)
    ]
    pods.append(("fast", "fast-0", recorded(IMPOSSIBLE, requests_per_s=3.0, span_s=420, seed=9)))
    pods.append(("idle", "idle-0", recorded(TRUTH, requests_per_s=0.02, span_s=420, seed=8)))
    start = END - SPAN_S
    write_history(folder / "history.txt", pods, start=start)
    fill(folder, (folder / "history.txt").read_text())
    with prometheus(folder) as address:
        yield address


@pytest.fixture(autouse=True)
def now(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the calibration is asked for: where a test says nothing, at the last scrape."""
    moment = END + getattr(request, "param", 0.0)
    monkeypatch.setattr(command, "time", SimpleNamespace(time=lambda: moment))


def calibrate(url: str, *arguments: str) -> Result:
    given = ["--prometheus", url, "--profile", BASE.name, "--since", "15m", *arguments]
    return CliRunner().invoke(cli, ["calibrate", *given])


@pytest.mark.parametrize("now", ASKED_S, indirect=True)
def test_what_the_servers_were_is_found_again_and_can_be_replayed(url: str, tmp_path: Path) -> None:
    written = tmp_path / "mine.json"
    result = calibrate(url, "--model", "llama", "--write", str(written), "-o", "json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    made = find_profile(str(written))
    assert told["samples"] > 60
    assert told["residual_ratio"] < 0.05
    assert abs(told["tpot_mean_error"]) < 0.04
    assert told["at_roofline"] == []
    assert made.step_ns == pytest.approx(TRUTH.step_ns, rel=0.1)
    assert made.token_ns == pytest.approx(TRUTH.token_ns, rel=0.25)
    around = TRUTH.before_ns + TRUTH.after_ns
    assert made.before_ns + made.after_ns == pytest.approx(around, rel=0.5)
    trace = "generate:flat,hours=0.1,rate=2,input=500,output=100,seed=1"
    given = [trace, "--profile", str(written), "--policy", "static-mean", "--seeds", "1"]
    replayed = CliRunner().invoke(cli, ["simulate", *given, "-o", "json"])
    assert replayed.exit_code == 0, replayed.output
    assert json.loads(replayed.stdout)["rows"][0]["requests"] > 500


def test_what_no_gpu_can_do_ends_at_the_roofline_and_is_said(url: str) -> None:
    result = calibrate(url, "--model", "fast", "--step", "15", "-o", "json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert {"step_ns", "token_ns"} <= set(told["at_roofline"])
    assert told["profile"]["step_ns"] >= FLOORS.step_ns
    assert told["profile"]["token_ns"] >= FLOORS.token_ns
    assert told["residual_ratio"] > 0.2
    table = calibrate(url, "--model", "fast", "--step", "15")
    assert "held at the roofline of llama-3.1-8b fp16 on 1xL40S: a step" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "idle"], "windows had a busy engine and all of its metrics; a fit needs 20"),
        (
            ["--model", "gone"],
            "0 models match, one is wanted; there are: serving/fast, serving/idle, serving/llama",
        ),
        ([], "3 models match, one is wanted; there are: serving/fast, serving/idle"),
    ],
)
def test_what_cannot_be_fitted_is_said(url: str, arguments: list[str], says: str) -> None:
    result = calibrate(url, *arguments)
    assert isinstance(result.exception, SettingsError)
    assert says in str(result.exception)
