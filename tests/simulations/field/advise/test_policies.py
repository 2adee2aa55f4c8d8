"""What runs now, run in a replay: recorded replicas, an HPA and a ScaledObject as they are written."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from simulations.field.advise.parts import PartTrace
from simulations.field.advise.replays import RECORDED, ReplayPlan, play
from simulations.field.advise.scalers.manifests import scaler_of
from simulations.peers.rules.registry import BASELINES
from simulations.replay.conditions import Conditions
from simulations.replay.replay import run
from simulations.serving.profiles.profiles import PROFILES
from simulations.traces.generate import generate, recipe_of
from tests.simulations.field.advise.test_manifests import HPA, SCALED_OBJECT

PROFILE = PROFILES["llama-3.1-8b/1xL40S"]
REQUESTS = generate(recipe_of("generate:bursty,hours=1,rate=3,input=600,output=200,seed=3"))
STEADY = PartTrace(
    name="steady",
    requests=generate(recipe_of("generate:flat,hours=1,rate=4,input=600,output=200,seed=3")),
    length_ns=3600 * 10**9,
)
HOUR = PartTrace(name="hour", requests=REQUESTS, length_ns=3600 * 10**9)
CONDITIONS = Conditions(profile=PROFILE, replicas_first=2)


def replay(policy: str, **more) -> ReplayPlan:
    return ReplayPlan(model=0, part=0, policy=policy, conditions=CONDITIONS, seed=0, **more)


@pytest.mark.slow
def test_recorded_replicas_are_followed_and_their_starts_are_paid():
    """Two, then five from minute 20 to 40, then two again: 180 replica-minutes, and three starts."""
    counts = tuple([2] * 40 + [5] * 40 + [2] * 41)
    played = play(replay(RECORDED, counts=counts, step_s=30.0, trace=STEADY))
    cold_start_h = CONDITIONS.cold_start.mean_s / 3600
    hours = (20 * 2 + 20 * 5 + 20 * 2) / 60 + 3 * cold_start_h
    # the three that go finish what they have
    assert played.row.gpu_hours == pytest.approx(hours, rel=0.03)
    assert played.row.cost_usd == pytest.approx(played.row.gpu_hours * PROFILE.usd_per_hour)
    assert (played.row.replicas_max, played.row.starts) == (5, 3)
    assert played.minute_requests.sum() == len(STEADY.requests)
    assert played.gauge_means["replicas_mean"] == pytest.approx(180 / 60, rel=0.03)
    in_flight = float(played.e2e_s.sum()) / 3600
    assert played.gauge_means["running_mean"] + played.gauge_means["waiting_mean"] == pytest.approx(
        in_flight, rel=0.1
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Pods", "External"])
def test_a_written_hpa_holds_what_it_targets(kind):
    """Steady traffic, two running requests a replica wanted: as many as their mean takes, or their peak."""
    manifest = yaml.safe_load(HPA)
    target = {"type": "AverageValue", "averageValue": "2"}
    metric = {"metric": {"name": "vllm:num_requests_running"}, "target": target}
    manifest["spec"] |= {"maxReplicas": 30, "metrics": [{"type": kind, kind.lower(): metric}]}
    written = scaler_of(manifest).policy
    assert written is not None
    finished = run(STEADY, "mine", seed=0, conditions=CONDITIONS, make=written)
    results, half = finished.results, STEADY.requests.arrival_ns > 1800 * 10**9
    in_flight = float((results.finished_ns - STEADY.requests.arrival_ns)[half].sum()) / 1800e9
    # down goes what the highest of five minutes allows
    assert in_flight / 2 <= finished.ledger.sizes[-1][1] <= 1.8 * in_flight / 2


@pytest.mark.slow
def test_a_written_scaled_object_is_the_baseline_of_the_same_setting():
    manifest = yaml.safe_load(SCALED_OBJECT)
    policies = [{"type": "Percent", "value": 50, "periodSeconds": 60}]
    down = {"stabilizationWindowSeconds": 300, "policies": policies}
    manifest["spec"]["maxReplicaCount"] = CONDITIONS.replicas_max
    manifest["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] = {"scaleDown": down}
    written = scaler_of(manifest).policy
    assert written is not None
    assert "keda" in BASELINES
    ours = run(HOUR, "keda", seed=0, conditions=CONDITIONS)
    theirs = run(HOUR, "mine", seed=0, conditions=CONDITIONS, make=written)
    assert theirs.ledger.sizes == ours.ledger.sizes
    assert len(ours.ledger.sizes) > 1


@pytest.mark.slow
def test_a_scaled_object_that_goes_to_zero_gets_there_when_nothing_comes():
    manifest = yaml.safe_load(SCALED_OBJECT)
    manifest["spec"] |= {"minReplicaCount": 0, "cooldownPeriod": 60}
    manifest["spec"]["triggers"][0]["metadata"]["query"] = "sum(vllm:num_requests_running)"
    written = scaler_of(manifest).policy
    assert written is not None
    early = REQUESTS.arrival_ns < 600 * 10**9
    quiet = PartTrace(
        name="quiet",
        requests=type(REQUESTS)(
            arrival_ns=REQUESTS.arrival_ns[early],
            prompt_tokens=REQUESTS.prompt_tokens[early],
            output_tokens=REQUESTS.output_tokens[early],
        ),
        length_ns=HOUR.length_ns,
    )
    finished = run(quiet, "mine", seed=0, conditions=CONDITIONS, make=written)
    assert finished.ledger.sizes[-1][1] == 0
    assert finished.ledger.sizes[-1][0] > 600 * 10**9
    assert np.all(finished.results.finished_ns > 0)
