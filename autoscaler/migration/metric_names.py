"""What a metric counts, told by its name: the engines' own, those that adapters make of them, and Google's.

The Prometheus adapter and KEDA users write `vllm_num_requests_waiting` for `vllm:num_requests_waiting`; Google's
adapter has `prometheus.googleapis.com|vllm:num_requests_waiting|gauge`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum


class MetricSignal(StrEnum):
    """What a metric counts; the first four are words of `--metric NAME=WORD`."""

    WAITING = "Waiting"
    RUNNING = "Running"
    IN_FLIGHT = "InFlight"
    KV_CACHE = "KVCache"
    TTFT = "TTFT"
    TPOT = "TPOT"
    WHOLE_TIME = "WholeTime"
    QUEUE_TIME = "QueueTime"
    RATE = "Rate"
    CPU = "CPU"
    MEMORY = "Memory"
    GPU = "GPU"
    OTHER = "Other"


TOLD_WORDS = (
    MetricSignal.WAITING,
    MetricSignal.RUNNING,
    MetricSignal.IN_FLIGHT,
    MetricSignal.KV_CACHE,
)
"""What a user may say that a metric counts whose name is his own."""

_GOOGLE = re.compile(
    r"^(?:prometheus\.googleapis\.com|external\.googleapis\.com\|prometheus|custom\.googleapis\.com)"
    r"[|/](?P<name>[^|/]+)(?:[|/][a-z]+)?$"
)
_ROWS: tuple[tuple[MetricSignal, str], ...] = (
    # vLLM, SGLang, TGI, and the names that people make of theirs
    (MetricSignal.WAITING, r"(.*_)?(num_)?(requests?_waiting|waiting_requests?|queue_reqs)(_.*)?"),
    (MetricSignal.WAITING, r"tgi_queue_size"),
    (MetricSignal.RUNNING, r"(.*_)?(num_)?(requests?_running|running_req(uest)?s)(_.*)?"),
    (MetricSignal.RUNNING, r"tgi_batch_current_size"),
    (MetricSignal.IN_FLIGHT, r"(.*_)?(in_?flight(_requests?)?|requests?_in_?flight)(_.*)?"),
    (MetricSignal.KV_CACHE, r"(.*_)?((kv|gpu)_cache_usage\w*|sglang_token_usage|kv_cache_util\w*)"),
    (MetricSignal.TTFT, r"(.*_)?(time_to_first_token|ttft)(_.*)?"),
    (MetricSignal.TPOT, r"(.*_)?(time_per_output_token|inter_token_latency|tpot|itl)(_.*)?"),
    (MetricSignal.QUEUE_TIME, r"(.*_)?(request_queue_time|queue_duration|queue_time)(_.*)?"),
    (
        MetricSignal.WHOLE_TIME,
        r"(.*_)?(e2e_request_latency|request_latency|request_duration)(_.*)?",
    ),
    (MetricSignal.GPU, r"dcgm_fi_.*|(.*_)?(gpu_util\w*|duty_cycle|nvidia_smi_.*|gpu_memory_.*)"),
    (
        MetricSignal.RATE,
        r"(.*_)?(request_success|generation_tokens|prompt_tokens|iteration_tokens)(_.*)?",
    ),
    (MetricSignal.RATE, r"(.*_)?(requests?(_count)?_total|requests_per_second|rps|qps)"),
    (MetricSignal.CPU, r"container_cpu_.*|(.*_)?cpu_usage\w*|cpu"),
    (MetricSignal.MEMORY, r"container_memory_.*|(.*_)?memory_usage\w*|memory"),
)
_SIGNALS = tuple((signal, re.compile(pattern)) for signal, pattern in _ROWS)
_ENGINES = (("vllm", "VLLM"), ("sglang", "SGLang"), ("tgi", "TGI"), ("ray_serve", "RayServe"))
_NAME_CHARACTERS_MAX = 200


def plain_name(name: str) -> str:
    """Return a name as the Prometheus adapter would write it, in lower case."""
    match = _GOOGLE.match(name[:_NAME_CHARACTERS_MAX])
    inner = match["name"] if match else name[:_NAME_CHARACTERS_MAX]
    return inner.replace(":", "_").lower()


def signal_of(name: str, told: Mapping[str, MetricSignal]) -> MetricSignal:
    """Tell what a metric counts.

    Args:
        name: As it is written.
        told: What the user says of names of his own.
    """
    for key, signal in told.items():
        if plain_name(key) == plain_name(name):
            return signal
    plain = plain_name(name)
    return next(
        (each for each, pattern in _SIGNALS if pattern.fullmatch(plain)), MetricSignal.OTHER
    )


def engine_of(name: str) -> str:
    """Tell a word of `spec.engine` by a metric's name; empty: it does not tell."""
    plain = plain_name(name)
    return next((engine for mark, engine in _ENGINES if plain.startswith(mark)), "")
