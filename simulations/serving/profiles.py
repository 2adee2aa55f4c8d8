"""What one replica can do, as data: step-time coefficients, KV blocks, limits, price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One model on one replica's GPUs. Times are whole nanoseconds."""

    name: str
    """`MODEL/GPUSxGPU`, e.g. `llama-3.1-8b/1xL40S`."""
    gpu: str
    gpus: int
    step_ns: int
    """a: reading the weights once; every step costs it."""
    token_ns: int
    """s: arithmetic of a token beyond `flat_tokens`."""
    flat_tokens: int
    """T0: tokens whose arithmetic hides behind reading the weights."""
    kv_token_ns: int
    """c: reading the keys and values of one token of context, for decodes."""
    attention_ps: int
    """h: picoseconds (1e-12 s) per pair of a prefill token and a token it attends to."""
    prefill_request_ns: int
    """q: per request that prefills in the step."""
    pause_ns: int
    """g0: from a step's end to the next one's start."""
    pause_decode_ns: int
    """g1: the same, per decode of the step that ended."""
    before_ns: int
    """From the client's send to the engine's inbox."""
    after_ns: int
    """From a step's end to the client having its tokens."""
    kv_blocks: int
    """Blocks of the KV cache, the reserved one included."""
    block_tokens: int
    requests_max: int
    """`--max-num-seqs`."""
    step_tokens_max: int
    """`--max-num-batched-tokens`: the token budget of a step; a full mixed step takes <= 80 ms."""
    prefix_caching: bool
    in_flight_target: int
    """Requests in flight that one replica carries at the objective; a sensible target of scaling."""
    usd_per_hour: float
    """Of the whole replica, on demand."""
    spot_usd_per_hour: float
    source: str
    """Where the figures come from."""


_L40S = Profile(
    name="llama-3.1-8b/1xL40S",
    gpu="L40S",
    gpus=1,
    step_ns=26_500_000,
    token_ns=99_000,
    flat_tokens=267,
    kv_token_ns=295,
    attention_ps=3_500,
    prefill_request_ns=0,
    pause_ns=300_000,
    pause_decode_ns=4_000,
    before_ns=8_000_000,
    after_ns=8_000_000,
    kv_blocks=12_000,
    block_tokens=16,
    requests_max=128,
    step_tokens_max=512,
    prefix_caching=True,
    in_flight_target=32,
    usd_per_hour=1.861,
    spot_usd_per_hour=0.75,
    source="thin",
)

PROFILES: Mapping[str, Profile] = MappingProxyType({_L40S.name: _L40S})
