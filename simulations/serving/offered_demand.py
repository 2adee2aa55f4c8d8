"""What a trace asks for, in replicas: each request's share of a replica that carries its target.

A replica that decodes `B` requests at once gives each a B-th of its steps; prefill takes the steps'
arithmetic, whoever asks. So a request's work is `prefill + output * step(B) / B` replica-seconds. It
is the one capacity figure that all policies are told (as `in_flight_target`). Queues, chunked prefill
and KV limits are left to the serving model.
"""

from __future__ import annotations

import math

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from autoscaler.core.tuning import TUNING
from simulations.serving.columns import RequestColumns, RequestResults
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
    step_ns = _step_ns(prompts, outputs, profile, batch)
    work: FloatArray = (_prefill_ns(prompts, profile) + outputs * step_ns / batch) / 1e9
    return work


def demand_replicas(
    requests: RequestColumns,
    results: RequestResults,
    profile: Profile,
    *,
    at_ns: IntArray,
    target: float | None = None,
) -> FloatArray:
    """What each moment truly asked for, in replicas.

    The offered load is what would be in flight if nobody had to wait, each request for as long as it takes
    on replicas that carry their target. Where more is in flight it waits, or waited: that is demand too,
    within the bound that the engine sets it (`autoscaler.core.demand`).

    Args:
        requests: All of the run, in order of arrival.
        results: What became of them.
        profile: Of a replica.
        at_ns: The moments, ascending.
        target: Requests in flight that a replica carries; None: the profile's.
    """
    carried = float(profile.in_flight_target if target is None else target)
    arrived = np.searchsorted(requests.arrival_ns, at_ns, side="right")
    alone_ns = np.sort(requests.arrival_ns + _service_ns(requests, profile, batch=carried))
    offered = (arrived - np.searchsorted(alone_ns, at_ns, side="right")) / carried
    ended_ns = np.sort(results.finished_ns)
    held = (arrived - np.searchsorted(ended_ns, at_ns, side="right")) / carried
    most = TUNING.backlog_ratio * offered + TUNING.backlog_replicas
    demand: FloatArray = np.maximum(offered, np.minimum(held, most))
    return demand


def _service_ns(requests: RequestColumns, profile: Profile, *, batch: float) -> IntArray:
    """How long each request takes on a replica that runs `batch` of them, without waiting."""
    prompts = np.maximum(requests.prompt_tokens, 1).astype(np.float64)
    outputs = np.maximum(requests.output_tokens, 1).astype(np.float64)
    return (
        _prefill_ns(prompts, profile) + outputs * _step_ns(prompts, outputs, profile, batch)
    ).astype(np.int64)


def _prefill_ns(prompts: FloatArray, profile: Profile) -> FloatArray:
    prefill: FloatArray = (
        prompts * profile.token_ns + prompts * prompts / 2 * profile.attention_ps / 1000
    )
    return prefill


def _step_ns(
    prompts: FloatArray, outputs: FloatArray, profile: Profile, batch: float
) -> FloatArray:
    """One step of a replica that decodes `batch` requests like each of these."""
    context = prompts + outputs / 2
    step: FloatArray = (
        profile.step_ns
        + profile.pause_ns
        + batch * (profile.pause_decode_ns + profile.kv_token_ns * context)
    )
    return step


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
