"""From one model's observation to a proposal and the facts that the guards look at.

Here all of the model's memory learns, once a tick.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.decision import Measures, Step
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.spec import EngineSettings, ForecastMode, ModelSpec, Pause
from autoscaler.core.contract.state import BoolArray, FloatArray, ModelObservation
from autoscaler.core.demand.demand import Demand
from autoscaler.core.forecast import Forecast
from autoscaler.core.guards.stabilization import down_window_s
from autoscaler.core.memory import ModelMemory
from autoscaler.core.policy import PolicyInput, Proposal
from autoscaler.core.policy.replica_value import steps_ahead
from autoscaler.core.pools.layout import Layout
from autoscaler.core.pools.placement import standing_in
from autoscaler.core.pools.situation import (
    Situation,
    Wanted,
    assess_pools,
    count_floor_ready,
    is_quiet,
)
from autoscaler.core.supply.cold_starts import ColdStartMemory
from autoscaler.core.supply.doomed import Doom
from autoscaler.core.supply.free_gpus import FreeGpus
from autoscaler.core.supply.stock import Stock, take_stock
from autoscaler.core.tick.parts import Parts
from autoscaler.core.tuning import TUNING


@dataclass(slots=True, kw_only=True)
class Draft:
    """A decision in the making."""

    situation: Situation
    wanted: Wanted
    trail: list[Step]
    proposal: Proposal
    measures: Measures


@dataclass(slots=True, kw_only=True)
class Assessment:
    """One model at one tick; used once, by `draft`."""

    spec: ModelSpec
    observation: ModelObservation
    at: float
    event: Observed
    settings: EngineSettings
    layout: Layout
    memory: ModelMemory
    doom: Doom | None
    gpus: FreeGpus
    parts: Parts

    def draft(self) -> Draft:
        """Learn from the observation, take stock, and let the policy propose."""
        at, spec, memory, parts = self.at, self.spec, self.memory, self.parts
        replicas = self.observation.replicas
        expected_s = self._learn_cold_starts()
        ages_s = at - replicas.sampled_at
        fresh: BoolArray = ages_s <= spec.sample_age_s_max  # NaN, never sampled, is not
        demand = parts.measure_demand(
            memory.demand, at=at, replicas=replicas, fresh=fresh, targets=spec.targets
        )
        stock = take_stock(
            memory.stock,
            at=at,
            spec=spec,
            observation=self.observation,
            doom=self.doom,
            cold_starts_s=expected_s,
            gpus=self.gpus,
            watch=parts.watch_loading,
        )
        answering, age_s = self._listen(demand, ready=stock.ready, fresh=fresh, ages_s=ages_s)
        preferred = spec.pools[self.layout.preferred].name
        cold_start_s = parts.cold_start_s(
            memory.cold_starts[preferred], prior_s=spec.cold_start_prior_s
        )
        forecast = self._look_ahead(demand, cold_start_s=cold_start_s)
        situation = self._situate(stock, answering=answering, cold_start_s=cold_start_s)
        proposal = self._propose(situation, demand=demand, forecast=forecast)
        situation.proposal = proposal.replicas
        asked = situation.level if proposal.replicas is None else proposal.replicas
        before = sum([pool.current for pool in situation.pools])
        step = Step(
            by="policy",
            before=before,
            after=asked,
            reason=proposal.reason,
            message=proposal.message,
        )
        return Draft(
            situation=situation,
            wanted=Wanted(asked, asked),
            trail=[step],
            proposal=proposal,
            measures=self._measure(
                demand, forecast, cold_start_s=cold_start_s, observation_age_s=age_s
            ),
        )

    def _listen(
        self, demand: Demand, *, ready: BoolArray, fresh: BoolArray, ages_s: FloatArray
    ) -> tuple[int, float | None]:
        """Return how many ready, not doomed replicas answer, and the age of their oldest sample."""
        if self.doom is None and demand.answering == len(ages_s):
            # every replica there is: almost every tick
            return demand.answering, float(np.maximum.reduce(ages_s)) if demand.answering else None
        replicas = self.observation.replicas
        # A page that has no such series is fresh and says nothing: NaN is not >= 0.
        in_flight = replicas.waiting_requests + replicas.running_requests
        used: BoolArray = ready & fresh & (in_flight >= 0.0)
        answering = int(np.count_nonzero(used))
        return answering, float(np.maximum.reduce(ages_s[used])) if answering else None

    def _learn_cold_starts(self) -> list[float]:
        """Return, by pool, what a start is expected to take by those that are finished."""
        parts, kept_by_pool = self.parts, self.memory.cold_starts
        expected = []
        for index, pool in enumerate(self.spec.pools):
            kept = kept_by_pool.get(pool.name)
            if kept is None:
                kept = kept_by_pool[pool.name] = ColdStartMemory()
            parts.observe_starts(kept, at=self.at, replicas=self.observation.replicas, pool=index)
            expected.append(parts.finished_cold_start_s(kept, prior_s=self.spec.cold_start_prior_s))
        return expected

    def _look_ahead(self, demand: Demand, *, cold_start_s: float) -> Forecast | None:
        if self.spec.forecast_mode is ForecastMode.OFF or self.settings.policy == "reactive":
            return None
        memory = self.memory.forecast
        steps = steps_ahead(cold_start_s=cold_start_s, tick_s=self.settings.tick_s)
        self.parts.learn(
            memory,
            at=self.at,
            offered_replicas=demand.offered_replicas,
            mean_s=TUNING.mean_steps * steps.step_s,
        )
        return self.parts.forecast(memory, at=self.at, cold_start_s=cold_start_s)

    def _recently_offered(self, demand: Demand) -> float | None:
        """Return the mean offered load of the last third of a cold start, where it is remembered."""
        memory = self.memory.forecast
        if demand.offered_replicas is None or memory.history.slot < 0:
            return None
        return memory.history.mean(memory.mean_slots)

    def _situate(self, stock: Stock, *, answering: int, cold_start_s: float) -> Situation:
        """Put the facts together, all but the policy's proposal."""
        spec, layout, memory = self.spec, self.layout, self.memory
        promised = 0
        if layout.fallback is not None:
            promises = self.observation.pools[layout.fallback].promises
            promised = sum([promise.replicas for promise in promises])
        pools = assess_pools(
            at=self.at,
            spec=spec,
            layout=layout,
            observation=self.observation,
            stock=stock,
            placed=memory.placed,
            promised=promised,
            interrupted=self.doom is not None,
        )
        current = sum([pool.current - pool.fallback for pool in pools])
        standing = standing_in(pools, preferred=layout.preferred, remembered=memory.standing)
        level = current - standing
        blind, blind_message = self._find_blindness(ready=stock.supply.ready, answering=answering)
        settled = self._settle(level=level, cold_start_s=cold_start_s)
        return Situation(
            at=self.at,
            spec=spec,
            layout=layout,
            observation=self.observation,
            doom=self.doom,
            stock=stock,
            pools=pools,
            standing=standing,
            hpa=memory.hpa,
            cold_start_s=cold_start_s,
            current=current,
            level=level,
            promised=promised,
            blind=blind,
            blind_message=blind_message,
            may_shrink=settled and not blind and spec.pause is Pause.NO,
            pinned=any(pool.pinned for pool in pools),
            quiet=is_quiet(pools, layout=layout, promised=promised, doom=self.doom),
            floor_ready=count_floor_ready(
                spec=spec, observation=self.observation, nodes=self.event.nodes, stock=stock
            ),
        )

    def _find_blindness(self, *, ready: int, answering: int) -> tuple[str, str]:
        """Return why nothing may be scaled down: a reason and a message, empty where we can see."""
        age_s, limit_s = self.at - self.event.cluster_at, self.settings.cluster_age_s_max
        if not age_s <= limit_s:  # NaN is not either
            message = (
                f"the cluster was last in step {age_s:.0f} s ago, more than the {limit_s:.0f} s "
                "that are allowed"
            )
            return "ClusterStale", message
        if answering < ready:
            message = (
                f"{ready - answering} of {ready} ready replicas have not said for "
                f"{self.spec.sample_age_s_max:.0f} s what they hold"
            )
            return "MetricsStale", message
        return "", ""

    def _settle(self, *, level: int, cold_start_s: float) -> bool:
        """Tell whether a whole window has been watched; at first sight, remember what is there.

        That first entry is HPA's own way not to forget into a scale-down: what was asked for counts
        as proposed once.
        """
        memory, without = self.memory, self.settings.start_without_windows
        if memory.first_at is None:
            memory.first_at = self.at
            if not without:
                memory.hpa.recommendations.append((self.at, level))
        window_s = down_window_s(self.spec, cold_start_s=cold_start_s)
        return without or self.at - memory.first_at >= window_s

    def _propose(self, s: Situation, *, demand: Demand, forecast: Forecast | None) -> Proposal:
        """Let the policy propose a level; it sees no more supply than the level that is asked for."""
        spec, settings = self.spec, self.settings
        name = "reactive" if spec.forecast_mode is ForecastMode.OFF else settings.policy
        proposal = self.parts.policies[name](
            PolicyInput(
                self.at,
                demand,
                forecast,
                self._recently_offered(demand),
                s.stock.supply.within(s.level),
                s.cold_start_s,
                max(spec.min_replicas, spec.warm_floor.replicas),
                spec.max_replicas,
                spec.objective.attainment_ratio,
                settings.tick_s,
                self.memory.proposed,
            )
        )
        self.memory.proposed = proposal.replicas
        return proposal

    def _measure(
        self,
        demand: Demand,
        forecast: Forecast | None,
        *,
        cold_start_s: float,
        observation_age_s: float | None,
    ) -> Measures:
        scores = self.parts.scores(self.memory.forecast)
        return Measures(
            demand_replicas=demand.replicas,
            offered_replicas=demand.offered_replicas,
            waiting_requests=demand.waiting_requests,
            running_requests=demand.running_requests,
            kv_usage_ratio=demand.kv_usage_ratio,
            forecast_replicas=None if forecast is None else forecast.mean_replicas,
            forecast_low_replicas=None if forecast is None else forecast.low_replicas,
            forecast_high_replicas=None if forecast is None else forecast.high_replicas,
            forecast_error_ratio=scores.error_ratio,
            forecast_pinball_loss_replicas=scores.pinball_loss_replicas,
            forecast_coverage_ratio=scores.coverage_ratio,
            cold_start_s=cold_start_s,
            warm_floor_replicas=self.spec.warm_floor.replicas,
            observation_age_s=observation_age_s,
        )
