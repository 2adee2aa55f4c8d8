"""Which profile a model is replayed with: said by the user, or guessed from what Prometheus shows.

vLLM's metrics name the model and not the GPU. A guess is told as one, with what it rests on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoscaler.errors import SettingsError
from simulations.field.capture.capture import Capture
from simulations.field.capture.ranges import Grid, RangeReader
from simulations.serving.profiles.profile_files import find_profile
from simulations.serving.profiles.profiles import PROFILES, Profile

DCGM = "DCGM_FI_DEV_GPU_UTIL"
CACHE_CONFIG = "vllm:cache_config_info"
_GPUS = (("H100", "H100"), ("L40S", "L40S"), ("A100", "A100-80"))
"""What a name that DCGM tells contains -> our name of the GPU."""
_SIZES_B = {"llama-3.1-8b": (7, 9), "qwen3-14b": (13, 15), "llama-3.3-70b": (65, 75)}
"""Billions of parameters that a profile of another dense model may stand in for."""
_VARIANTS = (("fp8", ("fp8", "w8a8")), ("awq", ("awq", "gptq", "int4", "w4a16", "4bit")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChoice:
    """A profile and why it was taken."""

    profile: Profile
    explanation: str
    guessed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Clues:
    """What Prometheus shows of the machine."""

    gpu_name: str | None = None
    """As DCGM says it; None: it says nothing of these pods."""
    kv_tokens: float | None = None
    """Tokens that the KV cache of one replica holds."""


def read_clues(reader: RangeReader, captured: Capture, pods: Sequence[str], grid: Grid) -> Clues:
    """Ask Prometheus for the GPU's name and the KV cache's size; each may stay unknown."""
    hourly = grid.coarser(max(1, 3600 // grid.step))
    if hourly.points < 2:
        hourly = grid.coarser(max(1, (grid.points - 1) // 2))
    names = set()
    for series in reader.series(f"count by (modelName, pod, exported_pod) ({DCGM})", hourly):
        if {series.labels.get("pod"), series.labels.get("exported_pod")} & set(pods):
            names.add(series.labels.get("modelName", ""))
    config = captured.subject.select(CACHE_CONFIG)
    if captured.subject.namespace:
        # its labels are the engine's configuration, the model's name not among them
        config = f'{CACHE_CONFIG}{{namespace="{captured.subject.namespace}"}}'
    tokens = set()
    for series in reader.series(f"count by (pod, num_gpu_blocks, block_size) ({config})", hourly):
        blocks, size = series.labels.get("num_gpu_blocks", ""), series.labels.get("block_size", "")
        mine = not pods or series.labels.get("pod") in pods
        if mine and blocks.isdigit() and size.isdigit():
            tokens.add(float(blocks) * float(size))
    return Clues(
        gpu_name=names.pop() if len(names) == 1 else None,
        kv_tokens=tokens.pop() if len(tokens) == 1 else None,
    )


def requested_profile(asked: Sequence[str], model_name: str) -> ProfileChoice | None:
    """The profile that the command line names for this model: `NAME`, or `MODEL=NAME`.

    Raises:
        SettingsError: There is no such profile.
    """
    for text in asked:
        model, is_pair, name = text.rpartition("=")
        if not is_pair or model == model_name:
            return ProfileChoice(profile=find_profile(name), explanation="as asked", guessed=False)
    return None


def guess_profile(captured: Capture, clues: Clues) -> ProfileChoice:
    """Take the profile of this model, or of one of its size, whose figures come closest.

    Raises:
        SettingsError: There is no profile of such a model, or none on its GPU.
    """
    model_name = captured.subject.model_name
    model, how = _model(model_name)
    variant = _variant(model_name)
    candidates = [p for p in PROFILES.values() if p.model == model and p.variant == variant]
    if clues.gpu_name is not None:
        gpu = next((ours for part, ours in _GPUS if part in clues.gpu_name), None)
        candidates = [profile for profile in candidates if profile.gpu == gpu]
        how += f", on the {clues.gpu_name} that DCGM names"
    if not candidates:
        raise SettingsError(
            f"{captured.subject.name}: no profile of {model} ({variant}) on {clues.gpu_name}; give "
            f"the closest with --profile '{model_name}=NAME' ({', '.join(PROFILES)}), or a file "
            "that `autoscaler calibrate` wrote"
        )
    best = min(candidates, key=lambda profile: _distance(profile, captured, clues))
    if clues.gpu_name is None:
        how += f"; the GPU is a guess ({_why(best, captured, clues)})"
    if clues.kv_tokens:
        # known, so not guessed; the engine keeps one block to itself
        best = replace(best, kv_blocks=max(2, int(clues.kv_tokens) // best.block_tokens))
    return ProfileChoice(profile=best, explanation=how, guessed=True)


def _model(name: str) -> tuple[str, str]:
    plain = re.sub(r"[^a-z0-9.]+", "-", name.rpartition("/")[2].lower())
    for model in _SIZES_B:
        if model in plain or model.replace("-", "", 1) in plain:
            return model, f"by the name {name!r}"
    sizes = re.findall(r"(?:^|-)(\d+(?:\.\d+)?)b(?:-|$)", plain)
    mixture = re.search(r"(?:^|-)a\d+(?:\.\d+)?b(?:-|$)|\d+x\d+b|moe", plain)
    for model, (least, most) in _SIZES_B.items():
        if len(sizes) == 1 and not mixture and least <= float(sizes[0]) <= most:
            return model, f"{name!r} has none of its own; {model} is of its size"
    raise SettingsError(
        f"the model {name!r} has no profile, and none of its size; give the closest with "
        f"--profile '{name}=NAME' ({', '.join(PROFILES)}), or better a file that "
        "`autoscaler calibrate --prometheus URL` wrote"
    )


def _variant(name: str) -> str:
    plain = name.lower()
    return next(
        (variant for variant, words in _VARIANTS if any(word in plain for word in words)), "fp16"
    )


def _distance(profile: Profile, captured: Capture, clues: Clues) -> float:
    """How far the profile's pace and memory are from what was recorded; 0: equal."""
    distance = 0.0
    if clues.kv_tokens:
        ours = profile.kv_blocks * profile.block_tokens
        distance += abs(math.log(clues.kv_tokens / ours))
    recorded, expected = captured.mean("tpot_s"), expected_tpot_s(profile, captured)
    if recorded:
        distance += abs(math.log(recorded / expected))
    return distance


def _why(profile: Profile, captured: Capture, clues: Clues) -> str:
    recorded = captured.mean("tpot_s")
    reasons = []
    if recorded:
        expected = expected_tpot_s(profile, captured)
        reasons.append(
            f"{1000 * recorded:.0f} ms a token recorded, {1000 * expected:.0f} expected there"
        )
    if clues.kv_tokens:
        ours = profile.kv_blocks * profile.block_tokens
        reasons.append(f"KV cache of {clues.kv_tokens:.0f} tokens, {ours} there")
    return "; ".join(reasons) or "nothing recorded tells it"


def expected_tpot_s(profile: Profile, captured: Capture) -> float:
    """What a step takes at the recorded load: the decodes that ran, and the prefill beside them."""
    busy = np.maximum(captured.replicas, 1.0)
    running = float(np.mean(captured.running / busy))
    prompt, output = (captured.mean(name) or 0.0 for name in ("prompt_tokens", "output_tokens"))
    context = prompt + output / 2
    step_ns = float(profile.step_ns + profile.pause_ns)
    step_ns += running * (profile.kv_token_ns * context + profile.pause_decode_ns)
    seconds = max(1.0, len(captured.arrivals) * captured.grid.step)
    prefill_ratio = (float(captured.arrivals.sum()) * prompt * profile.token_ns) / (
        1e9 * seconds * float(np.mean(busy))
    )
    return step_ns / max(0.1, 1.0 - prefill_ratio) / 1e9
