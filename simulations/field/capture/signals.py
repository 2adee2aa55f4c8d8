"""Which series of a vLLM say what, in both generations of their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
FINISHED = "vllm:request_success_total"
HISTOGRAMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "prompt_tokens": ("vllm:request_prompt_tokens",),
        "output_tokens": ("vllm:request_generation_tokens",),
        "ttft_s": ("vllm:time_to_first_token_seconds",),
        "tpot_s": (
            "vllm:request_time_per_output_token_seconds",
            "vllm:inter_token_latency_seconds",
            "vllm:time_per_output_token_seconds",
        ),
        "e2e_s": ("vllm:e2e_request_latency_seconds",),
    }
)
"""Newest name first; the first that has series is taken."""

ENGINE_LABELS = ("engine", "model_name", "finished_reason", "reason", "le")
"""What vLLM writes itself."""
_QUOTED_OR_PREFIX = re.compile(r'"(?:[^"\\]|\\.)*"|vllm:')


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose series: one model, in one namespace where Prometheus knows it."""

    model_name: str
    namespace: str | None = None

    @property
    def name(self) -> str:
        """`namespace/model`, or the model alone."""
        return f"{self.namespace}/{self.model_name}" if self.namespace else self.model_name

    def select(self, metric: str) -> str:
        """A PromQL selector; label values are quoted, whatever is in them."""
        labels = {"model_name": self.model_name}
        if self.namespace:
            labels["namespace"] = self.namespace
        inside = ",".join(f"{key}={_quoted(value)}" for key, value in labels.items())
        return f"{metric}{{{inside}}}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def by_process(expression: str, also: str = "") -> str:
    """Sum over everything but the serving process: engines, reasons, models of one page.

    Counters must not be summed over pods before their restarts are seen. A process that two
    ServiceMonitors find, or a pair of servers scrapes, is there twice, under labels that Prometheus
    added: each series of an engine counts once, and only labels that the engine writes tell them apart.
    """
    process = ["namespace", "pod", "instance"]
    labels = [*process, also] if also else process
    once = dict.fromkeys([*labels, *ENGINE_LABELS])
    return f"sum by ({', '.join(labels)}) (max by ({', '.join(once)}) ({expression}))"


def underscored(query: str) -> str:
    """Write a query's names as pipelines do that have no colons; what stands in quotes stays."""
    return _QUOTED_OR_PREFIX.sub(lambda found: "vllm_" if found[0] == "vllm:" else found[0], query)
