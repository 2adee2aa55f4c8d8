"""KEDA's loop and its answers, worked by hand."""

import math

import pytest

from autoscaler.errors import SettingsError
from simulations.peers.keda.operator import KedaOperator
from simulations.peers.keda.scaled_object import Fallback, ScaledObject, scaled_object, value_of

TO_ZERO = ScaledObject(threshold=5.0, activation_threshold=3.0, cooldown_s=60.0)


def test_values_go_to_the_hpa_with_three_decimals():
    assert KedaOperator(TO_ZERO).answer(3.83049).milli == 3830


@pytest.mark.parametrize("served", [None, math.nan, math.inf, -math.inf])
def test_no_value_is_zero_unless_it_is_to_be_an_error(served: float | None):
    assert value_of(served, ignore_null_values=True) == 0.0
    assert value_of(served, ignore_null_values=False) is None


def test_the_loop_owns_zero_and_one():
    keda = KedaOperator(TO_ZERO)
    assert keda.poll(3.0, at=0.0, replicas=0) is None  # equal is not above
    assert keda.poll(3.1, at=10.0, replicas=0) == 1
    assert keda.poll(3.1, at=20.0, replicas=1) is None
    assert keda.poll(0.0, at=80.0, replicas=1) is None  # 60 s since it was active
    assert keda.poll(0.0, at=80.1, replicas=1) == 0
    assert keda.poll(0.0, at=90.0, replicas=0) is None


def test_with_a_minimum_the_rest_is_left_to_the_hpa():
    keda = KedaOperator(ScaledObject(threshold=5.0, min_replicas=1))
    assert keda.poll(0.0, at=1e6, replicas=4) is None
    assert not keda.scaled.polls


def test_an_idle_count_takes_an_inactive_target_below_its_minimum():
    keda = KedaOperator(ScaledObject(threshold=5.0, min_replicas=2, idle_replicas=0, cooldown_s=60))
    assert keda.poll(9.0, at=0.0, replicas=0) == 2
    assert keda.poll(0.0, at=61.0, replicas=2) == 0


def test_failures_hold_then_the_fallback_answers():
    scaled = ScaledObject(threshold=5.0, fallback=Fallback(failure_threshold=2, replicas=3))
    keda = KedaOperator(scaled)
    assert [keda.answer(None).milli for _ in range(3)] == [None, None, 15_000]
    assert keda.poll(None, at=0.0, replicas=0) == 1
    assert keda.answer(1.0).milli == 1000
    assert keda.failures == 0


def test_errors_without_a_fallback_change_nothing():
    keda = KedaOperator(TO_ZERO)
    keda.poll(9.0, at=0.0, replicas=0)
    assert keda.poll(None, at=1000.0, replicas=1) is None


def test_defaults_are_kedas():
    read = scaled_object({"triggers": [{"type": "prometheus", "metadata": {"threshold": "5"}}]})
    assert (read.polling_s, read.cooldown_s, read.min_replicas, read.max_replicas) == (
        30,
        300,
        0,
        100,
    )
    assert read.ignore_null_values
    assert read.polls


@pytest.mark.parametrize(
    "spec",
    [
        {"triggers": []},
        {"triggers": [{"type": "cron", "metadata": {}}]},
        {
            "triggers": [
                {"type": "prometheus", "metricType": "Value", "metadata": {"threshold": "5"}}
            ]
        },
        {
            "triggers": [{"type": "prometheus", "metadata": {"threshold": "5"}}],
            "initialCooldownPeriod": 120,
        },
        {
            "triggers": [{"type": "prometheus", "metadata": {"threshold": "5"}}],
            "fallback": {"failureThreshold": 1, "replicas": 1, "behavior": "currentReplicas"},
        },
    ],
)
def test_what_is_not_modelled_is_said(spec: dict[str, object]):
    with pytest.raises(SettingsError, match="modelled"):
        scaled_object(spec)
