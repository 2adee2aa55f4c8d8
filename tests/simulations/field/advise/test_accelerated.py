"""Advice on an hour that servers really served and a Prometheus really scraped, against what they did."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest

from simulations.serving.profiles.profile_files import write_profile
from simulations.serving.profiles.profiles import PROFILES
from tests.simulations.field.advise.accelerated import (
    HOUR_S,
    MODEL,
    PROFILE,
    SCRAPE_S,
    SEQS_MAX,
    accelerated_hour,
)
from tests.simulations.field.advise.command import advise

USD_PER_HOUR = PROFILES[PROFILE].usd_per_hour


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.prometheus
@pytest.mark.timeout(400)
def test_the_figures_are_what_the_servers_did(tmp_path):
    """Goal: counts and costs exact to a scrape, latencies as close as a replay can be.

    Method: the servers' own counters and our own watch of them against the command's JSON. What is
    recorded has to be near the truth, whatever the replay; what is replayed near the record.
    """
    profile = replace(PROFILES[PROFILE], requests_max=SEQS_MAX, prefix_caching=False)
    write_profile(tmp_path / "profile.json", profile, about={})
    with contextlib.ExitStack() as stack:
        truth = accelerated_hour(tmp_path, stack)
        more = ("--profile", str(tmp_path / "profile.json"), "-o", "json")
        code, out, err = advise(truth.url, *more, until=truth.end, since="1h")
    assert code == 0, err
    (model,) = json.loads(out)["models"]
    assert (model["namespace"], model["model"]) == ("serving", MODEL)
    assert model["deployment"] == "llama"
    assert truth.finished == truth.sent

    # the first and the last scrape of an hour are not at its edges
    lost_ratio = 3 * SCRAPE_S / HOUR_S
    assert model["requests"] == pytest.approx(truth.finished, rel=lost_ratio)
    recorded, replayed = model["recorded"], model["replayed"]
    assert recorded["ttft_mean"] == pytest.approx(truth.ttft_mean_s, rel=0.08)
    assert recorded["e2e_mean"] == pytest.approx(truth.e2e_mean_s, rel=0.03)
    assert recorded["tpot_mean"] == pytest.approx(truth.tpot_mean_s, rel=0.02)
    prompt, output = truth.prompt_tokens / truth.sent, truth.output_tokens / truth.sent
    assert recorded["prompt_tokens_mean"] == pytest.approx(prompt, rel=0.02)
    assert recorded["output_tokens_mean"] == pytest.approx(output, rel=0.02)
    assert replayed["prompt_tokens_mean"] == pytest.approx(prompt, rel=0.05)
    assert replayed["output_tokens_mean"] == pytest.approx(output, rel=0.05)

    # a start is paid for: the third server's, from its process to its first page
    start_s = truth.spans[2][0] - truth.asked_s
    assert "median of 1 recorded" in model["cold_start"]["why"]
    # as it is seen: a step of the grid, a scrape, and one that a busy machine loses
    assert model["cold_start"]["mean_s"] == pytest.approx(start_s, abs=3 * SCRAPE_S)
    paid_h = (truth.replica_s + start_s) / 3600 * model["hours"]
    then = model["as_recorded"]
    assert then["gpu_hours"] == pytest.approx(paid_h, rel=0.04)
    assert then["cost_usd"] == pytest.approx(then["gpu_hours"] * USD_PER_HOUR, rel=1e-4)
    assert then["replicas"]["max"] == truth.most == 3
    assert (then["completed"], then["lost"]) == (then["requests"], 0)

    # the replay of the recorded replicas against the record; the queue of a busy machine is rough
    errors = model["replay_error"]
    assert abs(errors["requests"]) < 0.01
    assert abs(errors["replicas_mean"]) < 0.03
    assert abs(errors["tpot_mean"]) < 0.05
    assert abs(errors["e2e_mean"]) < 0.10
    assert abs(errors["ttft_mean"]) < 0.50
    # a hundred samples of two or three requests
    assert abs(errors["running_mean"]) < 0.35
