"""A history of vLLM pods in OpenMetrics, for promtool: known to the last request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

STEP = 30
START = 1_790_000_010
_TOKENS = (200.0, 400.0, 800.0, float("inf"))
_SECONDS = (0.1, 0.5, 2.0, 10.0, float("inf"))


@dataclass
class Model:
    """What one model's pods did: every pod the same number of requests a step."""

    namespace: str
    name: str
    pods: Sequence[str]
    per_step: int = 6
    prompt: float = 300.0
    output: float = 100.0
    ttft_s: float = 0.15
    tpot_s: float = 0.028
    first: dict[str, int] = field(default_factory=dict)
    """Point at which a pod is first seen; 0 by default."""
    away: tuple[int, int] = (0, 0)
    """Points [from, to) at which Prometheus had nothing."""
    newest: bool = True
    """The newest names; else those of vLLM 0.8."""
    created: dict[str, float] = field(default_factory=dict)
    """What kube-state-metrics says of a pod, seconds since 1970."""


def openmetrics(models: Sequence[Model], *, points: int) -> str:
    """The history of them all."""
    families: dict[str, tuple[str, list[str]]] = {}

    def put(family: str, kind: str, name: str, labels: str, value: float, at: int) -> None:
        lines = families.setdefault(family, (kind, []))[1]
        lines.append(f"{name}{{{labels}}} {value} {at}")

    for model in models:
        for pod in model.pods:
            _pod(model, pod, points, put)
    text = []
    for family, (kind, lines) in families.items():
        text += [f"# TYPE {family} {kind}", *lines]
    return "\n".join([*text, "# EOF", ""])


def _pod(model: Model, pod: str, points: int, put) -> None:
    where = f'namespace="{model.namespace}",pod="{pod}"'
    labels = f'{where},model_name="{model.name}"'
    e2e = model.ttft_s + model.tpot_s * (model.output - 1)
    tpot = (
        "request_time_per_output_token_seconds" if model.newest else "time_per_output_token_seconds"
    )
    tokens = 1.0 if model.newest else model.output - 1
    histograms = {
        "request_prompt_tokens": (model.prompt, _TOKENS, 1.0),
        "request_generation_tokens": (model.output, _TOKENS, 1.0),
        "time_to_first_token_seconds": (model.ttft_s, _SECONDS, 1.0),
        "e2e_request_latency_seconds": (e2e, _SECONDS, 1.0),
        tpot: (model.tpot_s, _SECONDS, tokens),
    }
    running = model.per_step * e2e / STEP
    for point in range(model.first.get(pod, 0), points):
        if model.away[0] <= point < model.away[1]:
            continue
        at = START + point * STEP
        done = float(model.per_step * (point - model.first.get(pod, 0)))
        for name, value in (("running", running), ("waiting", 0.0)):
            family = f"vllm:num_requests_{name}"
            put(family, "gauge", family, labels, value, at)
        put("vllm:request_success", "counter", "vllm:request_success_total", labels, done, at)
        if pod in model.created:
            put("kube_pod_created", "gauge", "kube_pod_created", where, model.created[pod], at)
        for name, (value, bounds, each) in histograms.items():
            family = f"vllm:{name}"
            for bound in bounds:
                text = "+Inf" if np.isinf(bound) else str(bound)
                within = done * each if value <= bound else 0.0
                more = f'{labels},le="{text}"'
                put(family, "histogram", f"{family}_bucket", more, within, at)
            put(family, "histogram", f"{family}_sum", labels, done * each * value, at)
            put(family, "histogram", f"{family}_count", labels, done * each, at)
