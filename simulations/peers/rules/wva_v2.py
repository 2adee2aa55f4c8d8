"""llm-d's Workload Variant Autoscaler, V2: tokens asked for against tokens that fit.

Every 60 s. A replica's demand is the KV tokens in use plus the prompts of its queue; its capacity the
smaller of 80 % of its KV cache and what it computed with when its queue was last full (a mean of ten
such moments; before there is one, a formula of its batch limits). Up where demand over 0.85 exceeds
what is there *and on its way*, down by what exceeds demand over 0.70. An HPA with its defaults carries
it out at AverageValue 1. The default of its last version, v0.9.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.hpa.spec import HpaSpec
from simulations.peers.hpa.target import SYNC_S, TargetHpa, external, total
from simulations.peers.sliding import TokenAverages
from simulations.serving.columns import Gauges

OPTIMIZE_S = 60.0
KV_SHARE = 0.80
QUEUE_FULL = 5
UP_SHARE = 0.85
DOWN_SHARE = 0.70
LENGTHS_WINDOW_S = 300.0
OUTPUT_BUCKETS = (100, 500)


class WvaV2:
    """The controller, and the HPA that follows it."""

    sync_s = SYNC_S

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        up_share: float = UP_SHARE,
        down_share: float = DOWN_SHARE,
    ) -> None:
        """With the thresholds of its ConfigMap."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        self._shares = (up_share, down_share)
        profile = setting.profile
        self._kv_tokens = profile.kv_blocks * profile.block_tokens
        self._lengths = TokenAverages(LENGTHS_WINDOW_S)
        self._full: dict[int, deque[float]] = {}
        """By bucket of output length: tokens in use at the moments when the queue was full."""
        self._desired = setting.replicas_initial
        self._optimized_at = float("-inf")
        self._hpa = TargetHpa(
            HpaSpec(
                min_replicas=setting.replicas_min,
                max_replicas=setting.replicas_max,
                metrics=(external(1.0),),
            )
        )

    def sync(self, view: TargetView) -> int:
        """One sync of the HPA, each fourth after an optimization."""
        self._lengths.add(view.at, view.samples)
        if view.at - self._optimized_at >= OPTIMIZE_S:
            self._optimized_at = view.at
            self._desired = self._optimize(view)
        return self._hpa.sync(view, total(float(self._desired)))

    def _optimize(self, view: TargetView) -> int:
        pages = [view.samples[pod.name] for pod in view.ready if pod.name in view.samples]
        if not pages:
            return self._desired
        prompt = self._lengths.prompt_tokens or 0.0
        demand = sum(self._in_use(page) + page.waiting_requests * prompt for page in pages)
        capacity = statistics.median(self._capacity(page, prompt) for page in pages)
        now, ready = view.spec_replicas, len(view.ready)
        up_share, down_share = self._shares
        required = demand / up_share - now * capacity  # ready ones and those on their way
        spare = ready * capacity - demand / down_share
        desired = now
        if required > 0:
            desired = now + math.ceil(required / capacity)
        elif spare > 0:
            desired = now - math.floor(spare / capacity)
        return min(max(desired, self._setting.replicas_min), self._setting.replicas_max)

    def _in_use(self, page: Gauges) -> float:
        return page.kv_usage_ratio * self._kv_tokens

    def _capacity(self, page: Gauges, prompt: float) -> float:
        """The smaller of what fits and what can be computed with, tokens; at least one."""
        fits = KV_SHARE * self._kv_tokens
        output = self._lengths.output_tokens or 0.0
        bucket = sum(output >= bound for bound in OUTPUT_BUCKETS)
        kept = self._full.setdefault(bucket, deque(maxlen=10))
        if page.waiting_requests >= QUEUE_FULL:
            kept.append(self._in_use(page))
        if kept:
            computes = sum(kept) / len(kept)
        elif prompt + output > 0:
            profile = self._setting.profile
            batch = min(profile.step_tokens_max * output / (prompt + output), profile.requests_max)
            computes = batch * (prompt + output / 2)
        else:
            computes = fits
        return max(1.0, min(fits, computes))
