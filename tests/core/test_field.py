"""What people reported of other autoscalers, and what was seen over a real vLLM, as stories of the core.

Each is one of a kind; the ones beside it are siblings that were not reported.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from autoscaler.core.contract.spec import Targets
from tests.builders import model
from tests.core.serving import Serving

HOUR_S = 3600.0
FROZEN = {
    "sample_age_s": 0.0,
    "waiting": 15.0,
    "running": 40.0,
    "kv_usage": 0.904,
    "finished": 1255.0,
    "tokens": 4e5,
}
"""Gauges that stand after their requests are gone (vllm #22545, #29928)."""


def world(
    *,
    replicas: int,
    says: dict[str, float] | None,
    seed: int = 1,
    of_them: int | None = None,
    minimum: int = 1,
) -> Serving:
    """Let some replicas, all by default, say the same whatever happens."""
    spec = model(minimum=minimum, maximum=10, warm=0, cold_start_s=60.0)
    serving = Serving(spec=spec, seed=seed, begin_with=replicas, cold_start_s=(50.0, 60.0))
    for replica in serving.replicas[:of_them]:
        replica.says = says
    return serving


def changes(serving: Serving, *, since: float) -> int:
    """Count how often another number of replicas was asked for."""
    asked = [decision.desired_replicas for at, decision in serving.decisions if at >= since]
    return sum(before != after for before, after in pairwise(asked))


@pytest.mark.slow
@pytest.mark.parametrize(
    "frozen",
    [
        pytest.param(FROZEN, id="as reported"),
        pytest.param(FROZEN | {"waiting": 0.0}, id="nothing waits"),
        pytest.param(FROZEN | {"running": 0.0}, id="nothing runs"),
        pytest.param(FROZEN | {"running": 0.0, "waiting": 0.0}, id="KV blocks alone"),
        pytest.param(FROZEN | {"tokens": math.nan}, id="tokens are not counted"),
    ],
)
def test_gauges_that_outlive_their_cause_are_no_demand(frozen):
    """Four replicas grew to the maximum of ten, and stayed ten hours."""
    serving = world(replicas=4, says=frozen)
    serving.play([(2 * HOUR_S, 0.0)])
    assert serving.decisions[-1][1].desired_replicas == 1
    assert changes(serving, since=HOUR_S) == 0


@pytest.mark.slow
def test_one_replica_that_stands_still_makes_no_cycle():
    """It made 2 <-> 3 all day: 173 starts."""
    serving = world(replicas=2, says=FROZEN, of_them=1, minimum=2)
    serving.play([(4 * HOUR_S, 0.02)])
    assert changes(serving, since=HOUR_S) <= 2
    said = {
        (condition.type, condition.reason)
        for _, decision in serving.decisions
        for condition in decision.conditions
    }
    assert ("MetricsAvailable", "ReplicasStandStill") in said


@pytest.mark.slow
def test_a_replica_that_goes_on_is_not_one_that_stands_still():
    """Nor one that has just been given its first request after hours of none."""
    serving = world(replicas=1, says=None)
    serving.play([(HOUR_S, 0.0), (HOUR_S, 0.5), (HOUR_S, 0.0), (60.0, 0.5)])
    said = {
        condition.reason for _, decision in serving.decisions for condition in decision.conditions
    }
    assert "ReplicasStandStill" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mute", "replicas"),
    [pytest.param(1, {1, 2}, id="one of eight"), pytest.param(8, {8}, id="all of them")],
)
def test_a_replica_that_is_mute_for_ever_does_not_hold_a_fleet_for_ever(mute, replicas):
    """One page that never answers kept all: it is taken to be full, and the others go. All mute: hold."""
    serving = world(replicas=8, says={}, of_them=mute)
    serving.play([(HOUR_S, 0.02)])
    last = serving.decisions[-1][1]
    assert last.desired_replicas in replicas
    early = [decision.desired_replicas for at, decision in serving.decisions if at < 600.0]
    assert min(early) == 8, "until it is certain, unknown is not less than what is there"


@pytest.mark.slow
@pytest.mark.parametrize("nothing_s", [60.0, 400.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_load_that_rose_out_of_nothing_does_not_keep_its_replicas(nothing_s, seed):
    """Nine streams for two minutes, then one: the other replicas stayed for more than half an hour."""
    spec = replace(
        model(minimum=1, maximum=4, cold_start_s=60.0), targets=Targets(in_flight_requests=4.0)
    )
    serving = Serving(spec=spec, seed=seed, service_s=10.0, cold_start_s=(54.0, 60.0))
    serving.play([(nothing_s, 0.0), (120.0, 0.9)])
    fell_at = serving.now
    serving.play([(600.0, 0.1)])
    last = [d.desired_replicas for at, d in serving.decisions if at >= fell_at]
    assert max(last) >= 3
    assert min(last) == 1
