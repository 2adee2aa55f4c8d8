"""NVIDIA Dynamo's planner with an SLA: a floor from a forecast, and above it a loop on predicted latency.

Throughput scaling exists only with the target `sla` (as read in its source, September 2026). Every
180 s it predicts requests, prompt and output lengths one interval ahead and divides by what one engine
serves within the objectives: the largest batch whose step keeps both. That is the floor. Every 5 s the
load loop predicts each engine's time to the next first token (its queue and one more prompt, in chunks)
and between tokens (its context and one more request), by a regression of forward passes over prefill
tokens and context. One more where *all* engines miss one of the two targets; one less where each of them
would keep both with the load of N over N - 1: the wait that the queue causes within 0.8 of what is left
beside the prompt's own time, the time between tokens within 0.8 of its target, and the context inside
the cache. It holds while a scaling is in progress, and without metrics.

Dynamo profiles the engine first and fits forward passes of its own runtime; here the profile's own
coefficients stand for a regression that has learnt all there is, and the queue's tokens are its requests
times the mean prompt. The predictor is the planner's Kalman filter, a local linear trend (process noise
1.0 and 0.1, measurement noise 10, first covariance 1000); before five intervals it repeats the last one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.contract.spec import Objective
from autoscaler.core.contract.state import FloatArray
from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.sliding import TokenAverages
from simulations.serving.columns import Gauges
from simulations.serving.profiles.profiles import Profile

INTERVAL_S = 180.0
OBSERVATIONS_MIN = 5
LENGTHS_WINDOW_S = 300.0
SENSITIVITY = 0.8
"""Of a target, on the way down (`load_scaling_down_sensitivity`)."""


class DynamoSla:
    """Both loops of the planner over aggregated workers."""

    sync_s = 5.0

    def __init__(
        self, setting: BaselineSetting, *, share: float = 1.0, sla_share: float = 1.0
    ) -> None:
        """`share` of an engine's figured throughput is planned with; `sla_share` of both objectives is told."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        self._share = share
        objective = setting.objective
        self._sla = Objective(
            ttft_s=objective.ttft_s * sla_share, tpot_s=objective.tpot_s * sla_share
        )
        self._floor = setting.replicas_min
        self._planned_at: float | None = None
        self._arrived = 0
        self._lengths = TokenAverages(INTERVAL_S)
        self._recent = TokenAverages(LENGTHS_WINDOW_S)
        self._requests, self._prompt, self._output = Trend(), Trend(), Trend()

    def sync(self, view: TargetView) -> int:
        """One pass of the load loop; every 180 s behind one of the throughput loop."""
        pages = view.samples
        for lengths in (self._lengths, self._recent):
            lengths.add(view.at, pages)
        if self._planned_at is None:
            self._planned_at = view.at
        elif view.at - self._planned_at >= INTERVAL_S:
            self._planned_at = view.at
            self._plan(view.router().arrived_total)
        now = view.spec_replicas
        workers = [pages[pod.name] for pod in view.ready if pod.name in pages]
        if workers and len(workers) == now:
            now = max(now + self._change(workers), self._floor)
        return min(max(now, self._setting.replicas_min), self._setting.replicas_max)

    def _change(self, workers: Sequence[Gauges]) -> int:
        """-1, 0 or 1, as the load loop has it; 0 while no lengths are known."""
        prompt, output = self._recent.prompt_tokens, self._recent.output_tokens
        if prompt is None or output is None:
            return 0
        engine = _Engine(
            profile=self._setting.profile, prompt_tokens=prompt, output_tokens=max(1.0, output)
        )
        ttft = [engine.ttft_s(page) for page in workers]
        itl = [engine.itl_s(page) for page in workers]
        if min(ttft) > self._sla.ttft_s or min(itl) > self._sla.tpot_s:
            return 1
        count = len(workers)
        if count < 2:
            return 0
        more = count / (count - 1)
        return -1 if all(engine.bears(page, more, self._sla) for page in workers) else 0

    def _plan(self, arrived: int) -> None:
        self._requests.add(float(arrived - self._arrived))
        self._arrived = arrived
        prompt, output = self._lengths.prompt_tokens, self._lengths.output_tokens
        if prompt is not None and output is not None:
            self._prompt.add(prompt)
            self._output.add(max(1.0, output))
        lengths = (self._prompt.next(), self._output.next())
        if lengths[0] is None or lengths[1] is None:
            return
        rate = engine_requests_per_s(
            self._setting.profile,
            self._sla,
            prompt_tokens=max(1.0, lengths[0]),
            output_tokens=max(1.0, lengths[1]),
        )
        demand = (self._requests.next() or 0.0) / INTERVAL_S
        desired = math.ceil(demand / (rate * self._share))
        self._floor = min(max(desired, self._setting.replicas_min), self._setting.replicas_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    """What the regression predicts of one worker."""

    profile: Profile
    prompt_tokens: float
    """Mean of a request."""
    output_tokens: float

    def queued_tokens(self, page: Gauges) -> float:
        """Prompts that wait."""
        return page.waiting_requests * self.prompt_tokens

    def context_tokens(self, page: Gauges) -> float:
        """In the cache."""
        return page.kv_usage_ratio * _cache_tokens(self.profile)

    def ttft_s(self, page: Gauges) -> float:
        """Of the next request: the queue and its own prompt, in chunks."""
        return self._prefill_s(self.queued_tokens(page), self.context_tokens(page))

    def itl_s(self, page: Gauges) -> float:
        """With one more request of the mean length."""
        return self._itl_s(self.context_tokens(page))

    def bears(self, page: Gauges, more: float, sla: Objective) -> bool:
        """Whether it would keep both targets, with room, at so many times its load."""
        context = self.context_tokens(page) * more
        own_s = self._prefill_s(0.0, context)
        queue_s = self._prefill_s(self.queued_tokens(page) * more, context) - own_s
        room_s = (sla.ttft_s - own_s) * SENSITIVITY
        if room_s <= 0 or queue_s >= room_s:
            return False
        held = context + self.queued_tokens(page) * more
        return held < _cache_tokens(self.profile) and self._itl_s(held) < sla.tpot_s * SENSITIVITY

    @property
    def _mean_context(self) -> float:
        return self.prompt_tokens + self.output_tokens / 2

    def _prefill_s(self, queued: float, context: float) -> float:
        tokens, most = queued + self.prompt_tokens, float(self.profile.step_tokens_max)
        whole, rest = divmod(tokens, most)
        decodes = context / self._mean_context
        full_s = _step_s(self.profile, prefill=most, decodes=decodes, context=context)
        last_s = _step_s(self.profile, prefill=rest, decodes=decodes, context=context)
        return whole * full_s + (last_s if rest > 0 else 0.0)

    def _itl_s(self, context: float) -> float:
        held = context + self._mean_context
        decodes = held / self._mean_context
        prefill = min(
            decodes * self.prompt_tokens / self.output_tokens, float(self.profile.step_tokens_max)
        )
        return _step_s(self.profile, prefill=prefill, decodes=decodes, context=held)


def _cache_tokens(profile: Profile) -> float:
    return float(profile.kv_blocks * profile.block_tokens)


def engine_requests_per_s(
    profile: Profile, objective: Objective, *, prompt_tokens: float, output_tokens: float
) -> float:
    """What one engine serves within both objectives, of the best batch; at least a batch of one."""
    context = prompt_tokens + output_tokens / 2
    held = _cache_tokens(profile) / context
    best = 0.0
    for batch in range(1, int(min(held, profile.requests_max, profile.step_tokens_max - 1)) + 1):
        room = profile.step_tokens_max - batch
        if prompt_tokens / room > output_tokens and batch > 1:
            break  # prefill would not keep up
        prefill = min(batch * prompt_tokens / output_tokens, float(room))
        step_s = _step_s(profile, prefill=prefill, decodes=batch, context=batch * context)
        ttft_s = math.ceil(prompt_tokens / room) * step_s
        if batch > 1 and (step_s > objective.tpot_s or ttft_s > objective.ttft_s):
            break
        best = max(best, batch / (output_tokens * step_s))
    return best


def _step_s(profile: Profile, *, prefill: float, decodes: float, context: float) -> float:
    """Seconds of a forward pass with so many prefill tokens, decodes and tokens of context that they read."""
    return (
        profile.step_ns
        + profile.token_ns * max(0.0, prefill + decodes - profile.flat_tokens)
        + profile.kv_token_ns * context
        + profile.pause_ns
        + profile.pause_decode_ns * decodes
    ) / 1e9


@dataclass(slots=True)
class Trend:
    """A Kalman filter of value and slope, one step an interval."""

    state: FloatArray = field(default_factory=lambda: np.zeros(2))
    covariance: FloatArray = field(default_factory=lambda: np.eye(2) * 1000.0)
    seen: int = 0
    last: float | None = None

    def add(self, value: float) -> None:
        """Take in one interval; zeros before the first request are skipped."""
        if self.seen == 0 and value == 0.0:
            return
        self.seen += 1
        self.last = value
        move = np.array([[1.0, 1.0], [0.0, 1.0]])
        if self.seen == 1:
            self.state = np.array([value, 0.0])
            return
        state = move @ self.state
        covariance = move @ self.covariance @ move.T + np.diag([1.0, 0.1])
        gain = covariance[:, 0] / (covariance[0, 0] + 10.0)
        self.state = state + gain * (value - state[0])
        self.covariance = covariance - np.outer(gain, covariance[0])

    def next(self) -> float | None:
        """The next interval, never below 0; None: nothing was seen."""
        if self.last is None:
            return None
        if self.seen < OBSERVATIONS_MIN:
            return self.last
        return max(0.0, float(self.state[0] + self.state[1]))
