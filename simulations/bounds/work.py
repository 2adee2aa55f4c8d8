"""The least replica time that a request can cost, whoever schedules it: what the bound counts.

A step costs `F + s * max(0, n - T0) + c * kv + h * pairs + q * prefills`, and the pause after it, for
`n` tokens of at most `M`, of which `d` at most `B` are decodes that read `kv` at most `C` tokens of
context. For any `l` in 0..1 the second term is at least `l * s * (n - T0)`, so that every term but one
is linear in what the step does and can be charged to the requests it does it for. What is left, the
fixed cost `F - l * s * T0` of reading the weights, is shared in the way that a full step would: by
tokens over `M`, by decodes over `B`, or by context over `C`. Each of the three is at most one in every
step, so each gives a lower bound; the largest of them over the whole trace is taken.

Prefix hits make prefills cheaper: each is charged only the tokens that no earlier request of the trace
had, as if every replica's cache were shared and without end.
"""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from simulations.serving.columns import RequestColumns
from simulations.serving.profiles.profiles import Profile


def least_work_s(requests: RequestColumns, profile: Profile) -> FloatArray:
    """Replica-seconds of each request, at least; same order as `requests`."""
    prompt = np.maximum(requests.prompt_tokens, 1).astype(np.float64)
    shared = shareable_tokens(requests) if profile.prefix_caching else np.zeros_like(prompt)
    computed = np.maximum(prompt - shared, 1.0)
    decodes = np.maximum(requests.output_tokens, 1).astype(np.float64) - 1.0
    tokens = computed + decodes
    context = decodes * prompt + decodes * (decodes + 1.0) / 2.0
    # a prefill token attends to itself and to all before it
    pairs = computed * (prompt - computed) + computed * (computed + 1.0) / 2.0

    fixed = float(profile.step_ns + profile.pause_ns)
    hidden = float(profile.token_ns * profile.flat_tokens)
    slope = 1.0 if hidden <= 0 else min(1.0, fixed / hidden)
    linear = (
        slope * profile.token_ns * tokens
        + profile.kv_token_ns * context
        + profile.attention_ps * pairs / 1000.0
        + profile.prefill_request_ns
        + profile.pause_decode_ns * decodes
    )
    own_context = decodes * computed + decodes * (decodes + 1.0) / 2.0
    capacity = float((profile.kv_blocks - 1) * profile.block_tokens)
    shares = (
        tokens / profile.step_tokens_max,
        decodes / profile.requests_max,
        own_context / capacity,
    )
    share = max(shares, key=lambda part: float(part.sum()))
    work_s = (linear + (fixed - slope * hidden) * share) / 1e9
    return np.asarray(work_s, dtype=np.float64)


def shareable_tokens(requests: RequestColumns) -> FloatArray:
    """Prompt tokens of each request that an earlier one had as its own prefix."""
    hits = np.zeros(len(requests))
    if requests.blocks is None or requests.block_ends is None:
        return hits
    ends = requests.block_ends
    starts = np.concatenate([[0], ends[:-1]])
    _, first = np.unique(requests.blocks, return_index=True)
    new = np.zeros(len(requests.blocks) + 1, dtype=np.int64)
    new[first + 1] = 1
    fresh: IntArray = np.cumsum(new)
    # an id stands for its block and all before it, so hits are a prefix: count the seen ones
    seen = (ends - starts) - (fresh[ends] - fresh[starts])
    tokens = np.minimum(seen * float(requests.block_tokens), requests.prompt_tokens)
    return np.asarray(tokens, dtype=np.float64)
