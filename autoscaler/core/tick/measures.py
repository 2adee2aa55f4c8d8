"""The numbers that a decision rests on, written down."""

from __future__ import annotations

from autoscaler.core.contract.decision import Measures
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import ModelObservation
from autoscaler.core.demand.demand import Demand
from autoscaler.core.forecast import scores
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.floor import FloorNow
from autoscaler.core.supply.at_risk import requests_at_risk
from autoscaler.core.tick.facts import TickFacts
from autoscaler.core.tick.learning import Learnt


def carried(replicas: float | None, demand: Demand) -> float | None:
    """Return replicas as they were seen to carry, from replicas of the whole target."""
    return None if replicas is None else replicas / demand.carried_ratio


def measure(
    facts: TickFacts,
    spec: ModelSpec,
    observation: ModelObservation,
    learnt: Learnt,
    *,
    floor: FloorNow,
    memory: ModelMemory,
) -> Measures:
    """Write down the numbers that the decision rests on."""
    demand, ahead, quality = learnt.demand, learnt.forecast, scores(memory.forecast)
    played = learnt.played
    rule = None if played is None else played.standing
    runner_up = None if played is None else played.runner_up_standing
    return Measures(
        demand_replicas=carried(demand.replicas, demand),
        offered_replicas=carried(demand.offered_replicas, demand),
        carried_ratio=demand.carried_ratio,
        carried_sureness_ratio=None if played is None else played.sureness_ratio,
        rule_replicas=None if rule is None else rule.replicas,
        rule_attained_ratio=None if rule is None else rule.attained_ratio,
        runner_up_replicas=None if runner_up is None else runner_up.replicas,
        runner_up_attained_ratio=None if runner_up is None else runner_up.attained_ratio,
        waiting_requests=demand.waiting_requests,
        running_requests=demand.running_requests,
        kv_usage_ratio=demand.kv_usage_ratio,
        forecast_replicas=None if ahead is None else carried(ahead.mean_replicas, demand),
        forecast_low_replicas=None if ahead is None else carried(ahead.low_replicas, demand),
        forecast_high_replicas=None if ahead is None else carried(ahead.high_replicas, demand),
        forecast_error_ratio=quality.error_ratio,
        forecast_pinball_loss_replicas=quality.pinball_loss_replicas,
        forecast_coverage_ratio=quality.coverage_ratio,
        forecast_bias_ratio=quality.bias_ratio,
        forecast_high_coverage_ratio=quality.high_coverage_ratio,
        cold_start_s=learnt.cold_start_s,
        requests_at_risk=requests_at_risk(
            at=facts.at,
            replicas=observation.replicas,
            doom=facts.doom,
            service_s=memory.demand.service_time.measured_s,
            margin_s=spec.spot.drain_margin_s,
        ),
        warm_floor_replicas=floor.replicas,
        warm_floor_usd_per_hour=floor.usd_per_hour,
        observation_age_s=learnt.sample_age_s,
    )
