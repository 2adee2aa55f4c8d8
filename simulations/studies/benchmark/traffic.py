"""The requests that are served while the clock runs: conversations in families of prompts."""

from __future__ import annotations

import numpy as np

from simulations.rng import stream
from simulations.serving.columns import RequestColumns

PROFILE = "llama-3.1-8b/1xL40S"
REQUESTS_PER_S = 3.0
"""To each replica: 85 % of what it carries within the objective."""
PREFIX_TOKENS = 512
"""Mooncake's prefix blocks."""
FAMILIES = 2_000
"""Of prompts; those of one share their first blocks."""
SHARED_BLOCKS = 2


def conversations(rows: int, *, requests_per_s: float, seed: int = 1) -> RequestColumns:
    """Poisson arrivals as long as Azure's conversations (1,155 in, 211 out), in prompt families."""
    random = stream(seed, "benchmark")
    prompt = np.maximum(1, random.lognormal(np.log(1155) - 0.245, 0.7, rows)).astype(np.int32)
    output = np.maximum(1, random.lognormal(np.log(211) - 0.245, 0.7, rows)).astype(np.int32)
    gaps = random.exponential(1e9 / requests_per_s, rows)
    family = random.integers(0, FAMILIES, rows)
    count = prompt // PREFIX_TOKENS
    ends = np.cumsum(count, dtype=np.int64)
    depth = (np.arange(ends[-1]) - np.repeat(ends - count, count)).astype(np.int32)
    shared = np.repeat(family.astype(np.int32) * SHARED_BLOCKS, count) + depth
    own = np.arange(ends[-1], dtype=np.int32) + FAMILIES * SHARED_BLOCKS
    return RequestColumns(
        arrival_ns=np.cumsum(gaps).astype(np.int64),
        prompt_tokens=prompt,
        output_tokens=output,
        block_tokens=PREFIX_TOKENS,
        blocks=np.where(depth < SHARED_BLOCKS, shared, own),
        block_ends=ends,
    )
