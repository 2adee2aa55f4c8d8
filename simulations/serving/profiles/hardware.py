"""GPUs and models in figures, and the roofline that bounds every profile.

A step cannot be faster than reading the weights and the keys and values at the memory's full
bandwidth, nor than its arithmetic at the dense peak. Published coefficients that beat this exist (BLIS's
H100 prefill is three times faster than its arithmetic allows); a fit must not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, from its data sheet, and what an hour of it costs."""

    name: str
    memory_bytes: float
    """As the driver reports it; somewhat less than the name says."""
    bytes_per_s: float
    """Memory bandwidth."""
    flops: Mapping[str, float]
    """Dense tensor throughput by the precision of the arithmetic."""
    usd_per_hour: float
    spot_usd_per_hour: float
    """List prices of 2025 in the cheapest large US region; spot varies by the hour, this is a
    customary 60 to 65 % below. `--prices` overrides both."""


GPUS: Mapping[str, Gpu] = MappingProxyType(
    {
        gpu.name: gpu
        for gpu in (
            Gpu(
                name="L40S",
                memory_bytes=47.8e9,
                bytes_per_s=864e9,
                flops={"fp16": 362e12, "fp8": 733e12},
                usd_per_hour=1.861,  # g6e.xlarge
                spot_usd_per_hour=0.70,
            ),
            Gpu(
                name="A100-80",
                memory_bytes=84.9e9,
                bytes_per_s=2039e9,
                flops={"fp16": 312e12},
                usd_per_hour=5.07,  # a2-ultragpu-1g
                spot_usd_per_hour=1.90,
            ),
            Gpu(
                name="H100",
                memory_bytes=84.9e9,
                bytes_per_s=3350e9,
                flops={"fp16": 989e12, "fp8": 1979e12},
                usd_per_hour=6.88,  # p5.48xlarge / 8
                spot_usd_per_hour=2.60,
            ),
        )
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What a model's steps are made of."""

    name: str
    parameters: float
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    weights_bytes: Mapping[str, float]
    """By variant; the quantized ones keep embeddings, head and scales in 16 bits."""

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token, in 16 bits."""
        return 2 * self.layers * self.kv_heads * self.head_size * 2

    @property
    def pair_flops(self) -> int:
        """Arithmetic of one token attending to one: a product for the score, one for the value."""
        return 4 * self.layers * self.heads * self.head_size


MODELS: Mapping[str, ModelShape] = MappingProxyType(
    {
        shape.name: shape
        for shape in (
            ModelShape(
                name="llama-3.1-8b",
                parameters=8.03e9,
                layers=32,
                heads=32,
                kv_heads=8,
                head_size=128,
                weights_bytes={"fp16": 16.06e9, "fp8": 9.08e9, "awq": 5.73e9},
            ),
            ModelShape(
                name="qwen3-14b",
                parameters=14.77e9,
                layers=40,
                heads=40,
                kv_heads=8,
                head_size=128,
                weights_bytes={"fp16": 29.54e9, "fp8": 16.33e9, "awq": 9.96e9},
            ),
            ModelShape(
                name="llama-3.3-70b",
                parameters=70.55e9,
                layers=80,
                heads=64,
                kv_heads=8,
                head_size=128,
                weights_bytes={"fp16": 141.1e9, "fp8": 72.7e9, "awq": 39.8e9},
            ),
        )
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The least that each coefficient of a profile can be, in its unit, and the most KV blocks."""

    step_ns: int
    token_ns: int
    kv_token_ns: int
    attention_ps: int
    kv_blocks: int


def roofline(*, model: str, variant: str, gpu: str, gpus: int, block_tokens: int) -> Roofline:
    """Bounds by hardware for a model's variant (`fp16`, `fp8`, `awq`) on so many GPUs."""
    shape, card = MODELS[model], GPUS[gpu]
    weights = shape.weights_bytes[variant]
    # AWQ stores 4 bits and computes in 16; so does FP8 where the GPU has no FP8 arithmetic.
    flops = gpus * card.flops.get(variant, card.flops["fp16"])
    bandwidth = gpus * card.bytes_per_s
    room = gpus * card.memory_bytes - weights
    # Attention computes in 16 bits whatever the weights are stored in.
    attention_ps = shape.pair_flops / (gpus * card.flops["fp16"]) * 1e12
    return Roofline(
        step_ns=ceil(weights / bandwidth * 1e9),
        token_ns=ceil(2 * shape.parameters / flops * 1e9),
        kv_token_ns=ceil(shape.kv_bytes / bandwidth * 1e9),
        attention_ps=ceil(attention_ps),
        kv_blocks=int(room // (shape.kv_bytes * block_tokens)),
    )
