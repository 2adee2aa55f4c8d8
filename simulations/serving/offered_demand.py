"""What a trace asks for, in replicas: each request's share of a replica that carries its target.

A replica that decodes `B` requests at once gives each a B-th of its steps; prefill takes the steps'
arithmetic, whoever asks. So a request's work is `prefill + output * step(B) / B` replica-seconds. It
is the one capacity figure that all policies are told (as `in_flight_target`). Queues, chunked prefill
and KV limits are left to the serving model.
"""

from __future__ import annotations

import math

import numpy as np

from autoscaler.core.contract.state import FloatArray
from simulations.serving.columns import RequestColumns
from simulations.serving.profiles.profiles import Profile

PEAK_WINDOW_S = 10.0
"""A static fleet is sized for its busiest ten seconds, because the queues of such a peak last: sized for
the busiest minute, it misses the objective for a quarter of the Azure code trace's requests."""
FIRST_S = 300.0


def work_s(requests: RequestColumns, profile: Profile) -> FloatArray:
    """Replica-seconds of each request, prefix hits not taken off."""
    prompts = np.maximum(requests.prompt_tokens, 1).astype(np.float64)
    outputs = np.maximum(requests.output_tokens, 1).astype(np.float64)
    batch = float(profile.in_flight_target)
    prefill_ns = prompts * profile.token_ns + prompts * prompts / 2 * profile.attention_ps / 1000
    context = prompts + outputs / 2
    step_ns = (
        profile.step_ns
        + profile.pause_ns
        + batch * (profile.pause_decode_ns + profile.kv_token_ns * context)
    )
    work: FloatArray = (prefill_ns + outputs * step_ns / batch) / 1e9
    return work


def offered_replicas(
    requests: RequestColumns, profile: Profile, *, window_s: float = PEAK_WINDOW_S
) -> FloatArray:
    """Mean offered work of each window, in replicas."""
    if not len(requests):
        return np.zeros(1)
    windows = (requests.arrival_ns // int(window_s * 1e9)).astype(np.int64)
    load: FloatArray = np.bincount(windows, weights=work_s(requests, profile)) / window_s
    return load


def peak_replicas(requests: RequestColumns, profile: Profile) -> int:
    """Replicas that carry the busiest ten seconds."""
    return max(1, math.ceil(float(offered_replicas(requests, profile).max())))


def first_replicas(requests: RequestColumns, profile: Profile) -> int:
    """Replicas that carry the mean of the trace's first five minutes.

    A trace begins in the middle of traffic that was being served. A run that began with the minimum of
    replicas would be dominated by an overload at its start that never happened.
    """
    first_ns = int(FIRST_S * 1e9)
    work = work_s(requests, profile)[requests.arrival_ns < first_ns]
    return max(1, math.ceil(float(work.sum()) / FIRST_S))
