"""NVIDIA Dynamo's planner in throughput mode, with the load mode above its floor.

Every 180 s it predicts requests, prompt and output lengths one interval ahead and divides by what one
engine serves within the objectives: the largest batch whose step keeps both, from the profile's own
coefficients (Dynamo profiles the engine first). That is the floor; between two intervals the load mode
moves above it. The predictor is the planner's Kalman filter, a local linear trend (process noise 1.0
and 0.1, measurement noise 10, first covariance 1000); before five intervals it repeats the last one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.contract.spec import Objective
from autoscaler.core.contract.state import FloatArray
from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.rules.dynamo_load import DynamoLoad
from simulations.peers.sliding import TokenAverages
from simulations.serving.profiles.profiles import Profile

INTERVAL_S = 180.0
OBSERVATIONS_MIN = 5


class DynamoThroughput:
    """Both loops of the planner over aggregated workers."""

    sync_s = 5.0

    def __init__(self, setting: BaselineSetting, *, share: float = 1.0) -> None:
        """`share` of an engine's figured throughput is planned with."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        self._share = share
        self._load = DynamoLoad(setting)
        self._floor = setting.replicas_min
        self._planned_at: float | None = None
        self._arrived = 0
        self._lengths = TokenAverages(INTERVAL_S)
        self._requests, self._prompt, self._output = Trend(), Trend(), Trend()

    def sync(self, view: TargetView) -> int:
        """One pass of the load loop; every 180 s behind one of the throughput loop."""
        self._lengths.add(view.at, view.samples)
        if self._planned_at is None:
            self._planned_at = view.at
        elif view.at - self._planned_at >= INTERVAL_S:
            self._planned_at = view.at
            self._plan(view.router().arrived_total)
        return self._load.step(view, floor=self._floor)

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
            self._setting.objective,
            prompt_tokens=max(1.0, lengths[0]),
            output_tokens=max(1.0, lengths[1]),
        )
        demand = (self._requests.next() or 0.0) / INTERVAL_S
        desired = math.ceil(demand / (rate * self._share))
        self._floor = min(max(desired, self._setting.replicas_min), self._setting.replicas_max)


def engine_requests_per_s(
    profile: Profile, objective: Objective, *, prompt_tokens: float, output_tokens: float
) -> float:
    """What one engine serves within both objectives, of the best batch; at least a batch of one."""
    held = profile.kv_blocks * profile.block_tokens / (prompt_tokens + output_tokens / 2)
    best = 0.0
    for batch in range(1, int(min(held, profile.requests_max, profile.step_tokens_max - 1)) + 1):
        room = profile.step_tokens_max - batch
        if prompt_tokens / room > output_tokens and batch > 1:
            break  # prefill would not keep up
        step_s = _step_s(profile, batch, prompt_tokens, output_tokens)
        ttft_s = math.ceil(prompt_tokens / room) * step_s
        if batch > 1 and (step_s > objective.tpot_s or ttft_s > objective.ttft_s):
            break
        best = max(best, batch / (output_tokens * step_s))
    return best


def _step_s(profile: Profile, batch: int, prompt: float, output: float) -> float:
    """Seconds of a step with `batch` decodes and the prefill that comes with them."""
    tokens = batch + min(batch * prompt / output, profile.step_tokens_max - batch)
    return (
        profile.step_ns
        + profile.token_ns * max(0.0, tokens - profile.flat_tokens)
        + profile.kv_token_ns * batch * (prompt + output / 2)
        + profile.pause_ns
        + profile.pause_decode_ns * batch
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
