"""Coefficients from a log of requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.errors import SettingsError
from simulations.field.calibrate.log_fit import Fit, fit_log
from simulations.field.calibrate.request_log import ServedRequests
from simulations.serving.columns import RequestColumns
from simulations.serving.profiles.hardware import Roofline
from simulations.studies.fidelity.runs import latency_figures, read_run
from tests.require import fixtures_folder
from tests.simulations.field.calibrate.engines import BASE, FLOORS, TRUTH, served_by, with_noise

pytestmark = pytest.mark.slow
RATES = (0.5, 2.0, 3.5)
"""Idle, busy, nearly full."""


def logs(*, ratio: float = 0.0) -> list[ServedRequests]:
    return [
        with_noise(served_by(TRUTH, requests=400, requests_per_s=rate, seed=seed), ratio=ratio)
        for seed, rate in enumerate(RATES)
    ]


@pytest.mark.parametrize("ratio", [0.0, 0.1])
def test_a_known_engine_is_found_again(ratio: float) -> None:
    found = fit_log(logs(ratio=ratio), BASE, FLOORS)
    made = found.profile
    assert made.step_ns == pytest.approx(TRUTH.step_ns, rel=0.05)
    assert made.token_ns == pytest.approx(TRUTH.token_ns, rel=0.05)
    around = TRUTH.before_ns + TRUTH.after_ns
    assert made.before_ns + made.after_ns == pytest.approx(around, rel=0.25)
    assert found.samples == 1200
    assert found.at_roofline == ()
    assert found.residual_ratio < 0.01 + ratio
    for error in (found.ttft_mean_error, found.tpot_mean_error, found.e2e_mean_error):
        assert error is not None
        assert abs(error) < 0.03


def test_it_predicts_a_load_that_it_has_not_seen() -> None:
    made = fit_log(logs(ratio=0.05), BASE, FLOORS).profile
    truth = served_by(TRUTH, requests=600, requests_per_s=3.0, seed=9)
    told = served_by(made, requests=600, requests_per_s=3.0, seed=9)
    assert told.ttft_s.mean() == pytest.approx(truth.ttft_s.mean(), rel=0.05)
    assert np.nanmean(told.tpot_s) == pytest.approx(np.nanmean(truth.tpot_s), rel=0.03)


def test_no_coefficient_beats_the_hardware() -> None:
    """A log with times that the GPU cannot do ends at the roofline, and the residual says so."""
    impossible = replace(BASE, step_ns=5_000_000, token_ns=9_000, flat_tokens=100, kv_token_ns=20)
    found = fit_log([served_by(impossible, requests=200, requests_per_s=1.0, seed=1)], BASE, FLOORS)
    assert found.profile.step_ns >= FLOORS.step_ns
    assert found.profile.token_ns >= FLOORS.token_ns
    assert found.profile.kv_token_ns >= FLOORS.kv_token_ns
    assert found.profile.attention_ps >= FLOORS.attention_ps
    assert found.residual_ratio > 0.5
    assert {"step_ns", "token_ns"} <= set(found.at_roofline)


def test_a_handful_of_requests_is_no_log() -> None:
    few = served_by(TRUTH, requests=20, requests_per_s=1.0, seed=1)
    with pytest.raises(SettingsError, match="the log has 20 requests; a fit needs at least 50"):
        fit_log([few], BASE, FLOORS)


def test_a_real_vllm_on_another_day() -> None:
    """Fitted on what clients saw of the calibration runs, without the engine's step log.

    The machine's own two passes differ by up to 12 % in the mean time to the first token and 3 % in the
    time between tokens; its speed between the calibration and `open90` by more.
    """
    folder = fixtures_folder() / "vllm-runs"
    fit = fit_recorded(["cal-slow-16x512", "cal-slow-16x512-b"])
    assert fit.residual_ratio < 0.15
    assert abs(fit.tpot_mean_error or 1) < 0.05
    run = read_run(folder / "open40")
    told = predicted(fit, run.columns)
    assert told.ttft_s.mean() == pytest.approx(run.ttft_s.mean(), rel=0.3)
    assert np.nanmean(told.tpot_s) == pytest.approx(
        latency_figures(run.ttft_s, run.e2e_s, run.columns.output_tokens)["tpot_mean"], rel=0.25
    )


def fit_recorded(names: list[str]) -> Fit:
    runs = [read_run(fixtures_folder() / "vllm-runs" / name) for name in names]
    first = runs[0]
    base = replace(
        BASE,
        step_ns=30_000_000,
        token_ns=1_500_000,
        flat_tokens=4,
        kv_token_ns=3_000,
        pause_decode_ns=100_000,
        kv_blocks=first.kv_blocks,
        block_tokens=first.block_tokens,
        requests_max=first.requests_max,
        step_tokens_max=first.step_tokens_max,
        prefix_caching=False,
    )
    # 400 GB/s and 1 Tflop/s: more than two cores have
    floors = Roofline(
        step_ns=round(first.weight_bytes / 400),
        token_ns=208_000,
        kv_token_ns=82,
        attention_ps=33_000,
        kv_blocks=first.kv_blocks,
    )
    parts = [
        ServedRequests(columns=run.columns, ttft_s=run.ttft_s, e2e_s=run.e2e_s) for run in runs
    ]
    return fit_log(parts, base, floors)


def predicted(fit: Fit, columns: RequestColumns) -> ServedRequests:
    from simulations.serving.fleet import ServingFleet

    fleet = ServingFleet(fit.profile, columns, timeout_ns=10**15)
    fleet.add_replica(0, 0)
    fleet.run_until(10**15)
    return ServedRequests(
        columns=columns,
        ttft_s=(fleet.results.first_token_ns - columns.arrival_ns) / 1e9,
        e2e_s=(fleet.results.finished_ns - columns.arrival_ns) / 1e9,
    )
