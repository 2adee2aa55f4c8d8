"""What is said of what was found: it must not flatter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.settings import load_config
from simulations.field.advise.figures import Breach, Comparison, bucket_quantile
from simulations.field.advise.output.advice import Advice
from simulations.field.advise.output.sentences import (
    breaches_text,
    comparison_text,
    next_steps,
    trust_text,
    verdict_text,
)
from simulations.field.advise.profile_choice import ProfileChoice
from simulations.field.advise.starts import MeasuredStart
from simulations.results.scorecard import Score
from simulations.serving.profiles.profiles import PROFILES
from simulations.world.cold_start import COLD_STARTS
from tests.simulations.runs.test_sweep import row


def figures(policy: str, *, cost: float, attained: float) -> Score:
    return replace(row(cost=cost, attained=attained), policy=policy)


def advice(*, now=(100.0, 0.99), ours=(80.0, 0.99), errors=(0.05,)) -> Advice:
    recorded = figures("as recorded", cost=now[0], attained=now[1])
    names = ("ttft_mean", "tpot_mean", "e2e_mean")
    return Advice(
        model_name="org/m",
        namespace="serving",
        deployment="m",
        since=1_790_000_000.0,
        until=1_790_003_600.0,
        hours=73.0,
        replayed_hours=73.0,
        extrapolated=False,
        holes_s=[],
        requests=1000,
        choice=ProfileChoice(
            profile=PROFILES["llama-3.1-8b/1xL40S"], explanation="as asked", guessed=False
        ),
        start=MeasuredStart(cold_start=COLD_STARTS["standard"], explanation="180 s"),
        notes=(),
        replicas_max=10,
        objective="ttft=2",
        attainment_ratio=0.99,
        ttft_s=1.4,
        tpot_s=0.1,
        in_flight_target=37,
        now=recorded,
        recorded=recorded,
        ours=figures("inference-aware", cost=ours[0], attained=ours[1]),
        breaches=(),
        compared=[
            Comparison(name=name, recorded=1.0, replayed=1.0 + error)
            for name, error in zip(names, errors, strict=False)
        ],
    )


@pytest.mark.parametrize(
    ("rule", "now", "ours", "said"),
    [
        ("a saving", (100, 0.99), (80, 0.99), "saves $20.00 of $100.00 (20 %; $200 a month"),
        ("a saving above what is owed", (100, 1.0), (80, 0.992), "saves $20.00"),
        ("serving less is no saving", (100, 0.99), (80, 0.9), "That is no saving"),
        ("dearer and better", (100, 0.9), (120, 0.99), "costs more: $20.00 of $100.00"),
        ("dearer and no better", (100, 0.99), (120, 0.99), "Stay with what you have"),
        ("the same", (100, 0.99), (100.5, 0.99), "Nothing to gain"),
        ("the same and better", (100, 0.9), (100.5, 0.99), "costs the same; 99.00 %"),
        ("the same and worse", (100, 0.99), (99.9, 0.9), "Stay with what you have"),
        ("no cost at all", (0, 1.0), (0, 1.0), "Nothing to gain"),
    ],
)
def test_the_verdict(rule, now, ours, said):
    assert said in verdict_text(advice(now=now, ours=ours)), rule


def test_a_saving_that_the_record_does_not_bear_out_is_one_on_paper():
    assert verdict_text(advice(errors=(-0.84,))).startswith("on paper: saves $20.00")


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((0.05, -0.1), "fair: mean latencies within 10 %"),
        ((0.05, -0.3), "rough"),
        ((0.8, 0.0), "poor: a mean latency is off by 80 %"),
        ((), "unchecked"),
    ],
)
def test_belief_follows_the_largest_error(errors, said):
    assert said in trust_text(advice(errors=errors))


def test_an_error_far_below_what_is_owed_weighs_less():
    """60 ms replayed, 150 recorded, 1.4 s owed: 90 ms of a quarter of that."""
    ttft = Comparison(name="ttft_mean", recorded=0.15, replayed=0.06)
    assert replace(advice(), compared=[ttft]).error_max == pytest.approx(0.09 / 0.35)


def test_the_way_on_is_a_document_that_the_daemon_takes(tmp_path):
    lines = next_steps([advice()], prometheus="http://p:9090")
    first = next(n for n, line in enumerate(lines) if "apiVersion: inference" in line)
    last = next(n for n, line in enumerate(lines) if "scaleTargetRef" in line)
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(line[4:] for line in lines[first : last + 1]))
    assert max(len(line) for line in lines) <= 80
    (resource,) = load_config(path).resources
    assert resource.spec.mode == "Observe"
    assert resource.spec.objective.time_to_first_token_milliseconds == 1400
    assert resource.spec.targets.in_flight_requests_per_replica == 37
    assert lines[-1].strip() == "kubectl apply -k deploy/overlays/site"


def test_a_poor_replay_is_sent_to_calibrate_first():
    lines = next_steps([advice(errors=(0.8,))], prometheus="http://p:9090")
    assert any("autoscaler calibrate --prometheus http://p:9090" in line for line in lines)


def test_breached_minutes_are_told_as_stretches_the_worst_first():
    minute = 1_790_000_040.0
    found = [
        Breach(at=minute + 60 * n, requests=10, shares=(share, 1.0))
        for n, share in ((0, 0.9), (30, 0.5), (31, 0.1), (34, 0.6))
    ]
    assert breaches_text(found, 0) == (
        "4 minutes: Mon 21 14:44 to 14:48 (40 % met), Mon 21 14:14 (90 % met)"
    )
    assert breaches_text([], 0) == "none"


def test_an_error_is_signed_and_an_empty_queue_has_none():
    ttft = Comparison(name="ttft_mean", recorded=0.25, replayed=0.2)
    assert comparison_text(ttft) == "TTFT mean 0.200 s, recorded 0.250 s (-20 %)"
    waiting = Comparison(name="waiting_mean", recorded=0.1, replayed=0.4)
    assert waiting.error is None
    assert replace(waiting, recorded=1.0).error == pytest.approx(-0.6)


@pytest.mark.parametrize(
    ("counts", "quantile"),
    [
        ([10, 0, 0], 0.5),
        ([0, 10, 0], 1.5),
        ([5, 5, 0], 1.0),
        ([0, 0, 10], None),
        ([0, 0, 0], None),
    ],
)
def test_quantiles_of_buckets_are_linear_inside_them(counts, quantile):
    bounds = np.array([1.0, 2.0, np.inf])
    assert bucket_quantile(bounds, np.array(counts, dtype=float), 0.5) == quantile
