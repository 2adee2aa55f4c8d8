"""The latency objective of each request of a replay: time to the first token, and time per token.

A prompt of thirty thousand tokens cannot have its first token in the time of one of three hundred. So
the time to the first token may depend on the request's own prefill: `ttft=1+2x` allows one second plus
twice what the prompt takes on an idle replica.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.spec import Objective
from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import SettingsError
from simulations.serving.columns import RequestColumns, WholeNumbers
from simulations.serving.profiles.profiles import Profile

CHUNK = 1 << 20
"""Requests processed at a time: intermediate arrays take nine times the memory of the result."""
_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
_FORM = re.compile(rf"(?:{_NUMBER}\+)?{_NUMBER}(x)?", re.ASCII)
_REMEDY = "write it as ttft=2,tpot=0.1 or, with x for a request's own prefill, ttft=1+2x,tpot=0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestObjective:
    """Limits of one request, and how many have to keep them."""

    ttft_s: float = 1.0
    ttft_per_prefill: float = 2.0
    """Times the prompt's own prefill on an idle replica, beside `ttft_s`."""
    tpot_s: float = 0.1
    attainment_ratio: float = 0.99

    def ttft_limits_s(self, requests: RequestColumns, profile: Profile) -> FloatArray:
        """Of each request, seconds."""
        if self.ttft_per_prefill == 0.0:
            return np.full(len(requests), self.ttft_s)
        limits = prefill_s(requests, profile)
        limits *= self.ttft_per_prefill
        limits += self.ttft_s
        return limits

    def of_model(self, requests: RequestColumns, profile: Profile) -> Objective:
        """The objective of the whole model, for those that know one only: of the median request."""
        limits = self.ttft_limits_s(requests, profile)
        ttft_s = float(np.median(limits)) if len(limits) else self.ttft_s
        return Objective(ttft_s=ttft_s, tpot_s=self.tpot_s, attainment_ratio=self.attainment_ratio)


def prefill_s(requests: RequestColumns, profile: Profile) -> FloatArray:
    """Seconds from sending to the first token on an idle replica that has none of the prefix."""
    seconds = np.empty(len(requests))
    for first in range(0, len(requests), CHUNK):
        part = slice(first, first + CHUNK)
        seconds[part] = _prefill_s(requests.prompt_tokens[part], profile)
    return seconds


def _prefill_s(prompt_tokens: WholeNumbers, profile: Profile) -> FloatArray:
    prompt = np.maximum(prompt_tokens, 1, dtype=np.int64)
    budget = profile.step_tokens_max
    full, rest = prompt // budget, prompt % budget
    arithmetic = full * max(0, budget - profile.flat_tokens)
    arithmetic = arithmetic + np.maximum(0, rest - profile.flat_tokens)
    steps = full + (rest > 0)
    pairs = prompt.astype(np.float64) * (prompt + 1) / 2
    nanoseconds = (
        steps * (profile.step_ns + profile.prefill_request_ns)
        + (steps - 1) * profile.pause_ns
        + arithmetic * profile.token_ns
        + pairs * profile.attention_ps / 1000
        + profile.before_ns
        + profile.after_ns
    )
    seconds: FloatArray = nanoseconds / 1e9
    return seconds


def parse_objective(text: str) -> RequestObjective:
    """Read `ttft=1+2x,tpot=0.1` or `ttft=2`; what is not said is the default's.

    Raises:
        SettingsError: It is no objective.
    """
    default = RequestObjective()
    found: dict[str, tuple[float, float]] = {}
    for part in text.replace(" ", "").split(","):
        name, _, value = part.partition("=")
        limits = _limits(value)
        if name not in ("ttft", "tpot") or name in found or limits is None:
            raise SettingsError(f"--objective {text!r}: {part!r} is none; {_REMEDY}")
        found[name] = limits
    ttft_s, per_prefill = found.get("ttft", (default.ttft_s, default.ttft_per_prefill))
    tpot_s, per_token = found.get("tpot", (default.tpot_s, 0.0))
    if per_token:
        raise SettingsError(f"--objective {text!r}: a pace has no prefill; {_REMEDY}")
    return RequestObjective(ttft_s=ttft_s, ttft_per_prefill=per_prefill, tpot_s=tpot_s)


def _limits(text: str) -> tuple[float, float] | None:
    """Base and factor of `1+2x`; None: the text has another form."""
    matched = _FORM.fullmatch(text)
    if matched is None or (matched[1] is not None and matched[3] is None):
        return None
    base, factor = float(matched[1] or 0.0), float(matched[2])
    if matched[3] is None:
        base, factor = factor, 0.0
    return (base, factor) if 0 < base + factor < math.inf else None
