"""What one replica can do, as data: step-time coefficients, KV blocks, limits, price.

Rows of one literal table. `hardware.roofline` bounds each; the tests say so. A user's own engine is
fitted with `autoscaler calibrate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulations.serving.profiles.hardware import GPUS


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One model on one replica's GPUs. Times are whole nanoseconds."""

    name: str
    """`MODEL[-VARIANT]/GPUSxGPU`, e.g. `llama-3.1-8b-awq/1xL40S`; no variant: 16 bits."""
    model: str
    variant: str
    """`fp16`, `fp8` or `awq`."""
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
    prefill_request_ns: int = 0
    """q: per request that prefills in the step."""
    pause_ns: int = 0
    """g0: from a step's end to the next one's start."""
    pause_decode_ns: int = 4_000
    """g1: the same, per decode of the step that ended."""
    before_ns: int = 12_000_000
    """From the client's send to the engine's inbox."""
    after_ns: int = 4_000_000
    """From a step's end to the client having its tokens."""
    kv_blocks: int
    """Blocks of the KV cache, the reserved one included."""
    block_tokens: int = 16
    requests_max: int
    """`--max-num-seqs`."""
    step_tokens_max: int
    """`--max-num-batched-tokens`: the token budget of a step, at least `requests_max`; a full
    mixed step takes at most 80 ms."""
    prefix_caching: bool = True
    in_flight_target: float
    """Requests in flight that one replica carries within the objective of 2 s to the first token
    and 0.1 s a token, for 99.5 % of requests as long as Azure's conversations (1,155 in, 211 out
    on average), less a tenth; longer prompts want a lower one, which may be below 1: see
    `replica_capacity`."""
    source: str
    """Where the figures come from."""

    @property
    def usd_per_hour(self) -> float:
        """List price of the replica's GPUs, on demand."""
        return self.gpus * GPUS[self.gpu].usd_per_hour

    @property
    def spot_usd_per_hour(self) -> float:
        """Customary spot price of the replica's GPUs."""
        return self.gpus * GPUS[self.gpu].spot_usd_per_hour


_MEASURED = (
    "a and c: BLIS's terms evaluated for vLLM 2025 engines (a run gave the ITL they predict); "
    "s and h: arithmetic at 45 % of the dense peak; "
)
_DERIVED = (
    "a: the 16-bit profile's time beyond 32 us a layer, times the share of weight bytes; "
    "s: 40 % of the dense peak in the precision of the arithmetic, "
)
_COMMON = (
    "T0: where s reaches the reading of the weights; 16 ms a request and 4 us a sequence: BLIS's "
    "constants; blocks: 90 % of memory less the weights and 2 GB a GPU"
)
_FP16 = _MEASURED + _COMMON
_FP8 = _DERIVED + "FP8 weights and arithmetic; " + _COMMON
_FP8_WEIGHTS = _DERIVED + "FP8 weights only, 10 % for unpacking; " + _COMMON
_AWQ = _DERIVED + "4-bit weights, 15 % for unpacking; " + _COMMON

# fmt: off
_COLUMNS = (
    "model", "variant", "gpu", "gpus", "step_ns", "token_ns", "flat_tokens", "kv_token_ns",
    "attention_ps", "kv_blocks", "requests_max", "step_tokens_max", "in_flight_target", "source",
)
_ROWS = (
    ("llama-3.1-8b", "fp16", "L40S", 1, 26_500_000, 99_000, 257, 295, 3_218, 11_800, 128, 512, 40, _FP16),
    ("llama-3.1-8b", "fp8", "L40S", 1, 15_430_000, 55_000, 261, 295, 3_218, 15_200, 128, 832, 72, _FP8),
    ("llama-3.1-8b", "awq", "L40S", 1, 10_110_000, 114_000, 79, 295, 3_218, 16_800, 128, 512, 26, _AWQ),
    ("llama-3.1-8b", "fp16", "A100-80", 1, 11_900_000, 114_000, 95, 125, 3_734, 27_800, 256, 512, 28, _FP16),
    ("llama-3.1-8b", "fp8", "A100-80", 1, 7_170_000, 125_000, 49, 125, 3_734, 31_100, 256, 512, 21, _FP8_WEIGHTS),
    ("llama-3.1-8b", "awq", "A100-80", 1, 4_910_000, 131_000, 29, 125, 3_734, 32_700, 256, 512, 16, _AWQ),
    ("llama-3.1-8b", "fp16", "H100", 1, 7_700_000, 36_000, 185, 76, 1_178, 27_800, 256, 1536, 150, _FP16),
    ("llama-3.1-8b", "fp8", "H100", 1, 4_800_000, 20_300, 186, 76, 1_178, 31_100, 256, 2048, 165, _FP8),
    ("llama-3.1-8b", "awq", "H100", 1, 3_410_000, 41_000, 58, 76, 1_178, 32_700, 256, 1536, 125, _AWQ),
    ("qwen3-14b", "fp16", "H100", 1, 13_500_000, 66_000, 185, 95, 1_841, 17_100, 256, 768, 68, _FP16),
    ("qwen3-14b", "fp8", "H100", 1, 8_040_000, 37_400, 180, 95, 1_841, 22_100, 256, 1280, 125, _FP8),
    ("qwen3-14b", "awq", "H100", 1, 5_400_000, 76_000, 54, 95, 1_841, 24_500, 256, 768, 46, _AWQ),
    ("llama-3.3-70b", "fp16", "H100", 4, 17_100_000, 79_300, 183, 48, 1_473, 29_800, 256, 768, 64, _FP16),
    ("llama-3.3-70b", "fp8", "H100", 4, 10_050_000, 44_600, 167, 48, 1_473, 42_800, 256, 1280, 125, _FP8),
    ("llama-3.3-70b", "awq", "H100", 4, 6_660_000, 91_300, 44, 48, 1_473, 49_100, 256, 768, 38, _AWQ),
)
# fmt: on


def _profile(row: tuple[object, ...]) -> Profile:
    fields = dict(zip(_COLUMNS, row, strict=True))
    suffix = "" if fields["variant"] == "fp16" else f"-{fields['variant']}"
    name = f"{fields['model']}{suffix}/{fields['gpus']}x{fields['gpu']}"
    return Profile(name=name, **fields)  # type: ignore[arg-type]  # the table's columns are typed by the tests


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in map(_profile, _ROWS)}
)
"""By name: `llama-3.1-8b/1xL40S` is the default of `autoscaler simulate`."""
