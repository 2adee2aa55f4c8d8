"""Small fleets whose times can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulations.serving.columns import RequestColumns
from simulations.serving.profiles.profiles import PROFILES, Profile

PLAIN = replace(
    PROFILES["llama-3.1-8b/1xL40S"],
    step_ns=100,
    token_ns=0,
    flat_tokens=0,
    kv_token_ns=0,
    attention_ps=0,
    prefill_request_ns=0,
    pause_ns=0,
    pause_decode_ns=0,
    before_ns=0,
    after_ns=0,
    kv_blocks=101,
    block_tokens=4,
    requests_max=8,
    step_tokens_max=64,
    prefix_caching=False,
)
"""Every step takes 100 ns, whatever is in it; nothing is scarce."""


def columns(
    *rows: tuple[int, int, int], blocks: tuple[tuple[int, ...], ...] = (), block_tokens: int = 4
) -> RequestColumns:
    """Requests from (arrival, prompt, output), perhaps with prefix blocks."""
    arrival, prompt, output = (
        np.array([row[column] for row in rows], dtype=np.int64) for column in range(3)
    )
    return RequestColumns(
        arrival_ns=arrival,
        prompt_tokens=prompt,
        output_tokens=output,
        block_tokens=block_tokens if blocks else 0,
        blocks=np.array([block for part in blocks for block in part], dtype=np.int64)
        if blocks
        else None,
        block_ends=np.cumsum([len(part) for part in blocks], dtype=np.int64) if blocks else None,
    )


def profile(**changes: int | bool) -> Profile:
    return replace(PLAIN, **changes)  # type: ignore[arg-type]
