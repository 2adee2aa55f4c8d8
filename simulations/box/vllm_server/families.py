"""The families of vLLM's `/metrics` page, in its order: names, texts, labels, buckets, releases.

From pages captured of 0.32.0 and from the sources of the releases before. A family is on the page from
`since` on and until before `gone`; names hidden by default count as gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Version = tuple[int, int, int]


class FamilyKind(Enum):
    """What prometheus_client class a family is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric of the engine; its labels are `engine`, `model_name` and perhaps one more."""

    kind: FamilyKind
    name: str
    """Without `vllm:`, and without `_total` where the client library adds it."""
    text: str
    label: str = ""
    """The label beside the common ones."""
    values: tuple[str, ...] = ()
    """Its values, all of which exist from the start."""
    bounds: tuple[float, ...] | None = None
    """Of a histogram; None: 1, 2, 5, 10, … up to the model's length."""
    since: Version = (0, 0, 0)
    gone: Version = (999, 0, 0)
    engine: bool = True
    """False: without the label `engine`."""


_TTFT = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_GAP = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0),
)
_SPAN = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0),
    *(240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_STEP = tuple(float(bound) for bound in (1, *(2**power for power in range(3, 15))))
_FEW = (1.0, 2.0, 5.0, 10.0, 20.0)

_MFU = "(for Model Flops Utilization calculations)."
_EXTERNAL = "from KV connector cross-instance cache sharing, in terms of number of"


def _counter(name: str, text: str, **more: object) -> Family:
    return Family(kind=FamilyKind.COUNTER, name=name, text=text, **more)  # type: ignore[arg-type]  # keywords of Family


def _gauge(name: str, text: str, **more: object) -> Family:
    return Family(kind=FamilyKind.GAUGE, name=name, text=text, **more)  # type: ignore[arg-type]  # keywords of Family


def _histogram(
    name: str, text: str, bounds: tuple[float, ...] | None = None, **more: object
) -> Family:
    return Family(kind=FamilyKind.HISTOGRAM, name=name, text=text, bounds=bounds, **more)  # type: ignore[arg-type]  # keywords of Family


FAMILIES = (
    _counter(
        "estimated_flops_per_gpu",
        f"Estimated number of floating point operations per GPU {_MFU}",
        since=(0, 17, 0),
    ),
    _counter(
        "estimated_read_bytes_per_gpu",
        f"Estimated number of bytes read from memory per GPU {_MFU}",
        since=(0, 17, 0),
    ),
    _counter(
        "estimated_write_bytes_per_gpu",
        f"Estimated number of bytes written to memory per GPU {_MFU}",
        since=(0, 17, 0),
    ),
    _gauge("num_requests_running", "Number of requests in model execution batches."),
    _gauge("num_requests_waiting", "Number of requests waiting to be processed."),
    _gauge(
        "num_requests_waiting_by_reason",
        "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling "
        "capacity; 'deferred' = deferred by transient constraints (LoRA budget, KV transfer, "
        "blocked status). Sum of all reasons equals vllm:num_requests_waiting.",
        label="reason",
        values=("capacity", "deferred"),
        since=(0, 20, 0),
    ),
    _gauge(
        "engine_sleep_state",
        "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
        "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
        label="sleep_state",
        values=("awake", "weights_offloaded", "discard_all"),
        since=(0, 11, 1),
    ),
    _gauge(
        "gpu_cache_usage_perc", "GPU KV-cache usage. 1 means 100 percent usage.", gone=(0, 11, 0)
    ),
    _gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", since=(0, 9, 2)),
    _counter(
        "gpu_prefix_cache_queries",
        "GPU prefix cache queries, in terms of number of queried tokens.",
        gone=(0, 11, 0),
    ),
    _counter(
        "gpu_prefix_cache_hits",
        "GPU prefix cache hits, in terms of number of cached tokens.",
        gone=(0, 11, 0),
    ),
    _counter(
        "prefix_cache_queries",
        "Prefix cache queries, in terms of number of queried tokens.",
        since=(0, 9, 2),
    ),
    _counter(
        "prefix_cache_hits",
        "Prefix cache hits, in terms of number of cached tokens.",
        since=(0, 9, 2),
    ),
    _counter(
        "external_prefix_cache_queries",
        f"External prefix cache queries {_EXTERNAL} queried tokens.",
        since=(0, 11, 1),
    ),
    _counter(
        "external_prefix_cache_hits",
        f"External prefix cache hits {_EXTERNAL} cached tokens.",
        since=(0, 11, 1),
    ),
    _counter(
        "mm_cache_queries",
        "Multi-modal cache queries, in terms of number of queried items.",
        since=(0, 11, 1),
    ),
    _counter(
        "mm_cache_hits",
        "Multi-modal cache hits, in terms of number of cached items.",
        since=(0, 11, 1),
    ),
    _counter("num_preemptions", "Cumulative number of preemption from the engine."),
    _counter("prompt_tokens", "Number of prefill tokens processed."),
    _counter(
        "prompt_tokens_by_source",
        "Number of prompt tokens by source.",
        label="source",
        values=("local_compute", "local_cache_hit", "external_kv_transfer"),
        since=(0, 16, 0),
    ),
    _counter(
        "prompt_tokens_cached",
        "Number of cached prompt tokens (local + external).",
        since=(0, 16, 0),
    ),
    _counter(
        "prompt_tokens_cached_by_source",
        "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host "
        "(offloaded to DRAM), disk, p2p (transferred from another vLLM instance) or "
        "external_unspecified. Counted at admission; sums to vllm:prefix_cache_hits + "
        "vllm:external_prefix_cache_hits.",
        label="source",
        values=("device", "host", "p2p", "disk", "external_unspecified"),
        since=(0, 32, 0),
    ),
    _counter("generation_tokens", "Number of generation tokens processed."),
    _counter(
        "request_success",
        "Count of successfully processed requests.",
        label="finished_reason",
        values=("stop", "length", "abort", "error", "repetition"),
    ),
    _counter(
        "admission_rejections",
        "Number of admission attempts rejected by a queue limit, by reason.",
        label="reason",
        values=("max_num_queued_reqs", "max_num_queued_tokens"),
        since=(0, 32, 0),
        engine=False,
    ),
    _histogram("request_prompt_tokens", "Number of prefill tokens processed."),
    _histogram("request_generation_tokens", "Number of generation tokens processed."),
    _histogram("iteration_tokens_total", "Histogram of number of tokens per engine_step.", _STEP),
    _histogram(
        "request_max_num_generation_tokens",
        "Histogram of maximum number of requested generation tokens.",
    ),
    _histogram("request_params_n", "Histogram of the n request parameter.", _FEW),
    _histogram("request_params_max_tokens", "Histogram of the max_tokens request parameter."),
    _histogram(
        "time_to_first_token_seconds", "Histogram of time to first token in seconds.", _TTFT
    ),
    _histogram(
        "time_per_output_token_seconds",
        "Histogram of time per output token in seconds.",
        _GAP,
        gone=(0, 12, 0),
    ),
    _histogram(
        "inter_token_latency_seconds",
        "Histogram of inter-token latency in seconds.",
        _GAP,
        since=(0, 10, 2),
    ),
    _histogram(
        "request_time_per_output_token_seconds",
        "Histogram of time_per_output_token_seconds per request.",
        _GAP,
        since=(0, 11, 0),
    ),
    _histogram(
        "e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", _SPAN
    ),
    _histogram(
        "request_queue_time_seconds",
        "Histogram of time spent in WAITING phase for request.",
        _SPAN,
    ),
    _histogram(
        "request_inference_time_seconds",
        "Histogram of time spent in RUNNING phase for request.",
        _SPAN,
    ),
    _histogram(
        "request_prefill_time_seconds",
        "Histogram of time spent in PREFILL phase for request.",
        _SPAN,
    ),
    _histogram(
        "request_decode_time_seconds",
        "Histogram of time spent in DECODE phase for request.",
        _SPAN,
    ),
    _histogram(
        "request_num_preemptions",
        "Histogram of the number of times a request was preempted.",
        (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0),
        since=(0, 30, 0),
    ),
    _histogram(
        "request_prefill_kv_computed_tokens",
        "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
        since=(0, 13, 0),
    ),
)

HTTP_FINE_BOUNDS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5),
    *(5.0, 7.5, 10.0, 30.0, 60.0),
)
"""Of `http_request_duration_highr_seconds`, which vLLM's HTTP instrumentation adds."""

CACHE_CONFIG = {
    "_block_size_resolved": "True",
    "block_size": "",
    "cache_dtype": "auto",
    "cache_hit_alignment_tokens": "None",
    "effective_attention_block_size": "",
    "enable_mamba_shared_prefix_checkpoint": "False",
    "enable_prefix_caching": "",
    "engine": "0",
    "gpu_memory_utilization": "0.92",
    "hash_block_size": "None",
    "is_attention_free": "False",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None",
    "kv_cache_max_concurrency": "",
    "kv_cache_memory_bytes": "None",
    "kv_cache_size_tokens": "",
    "kv_offloading_backend": "native",
    "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None",
    "mamba_ssm_cache_dtype": "float32",
    "num_cpu_blocks": "None",
    "num_gpu_blocks": "",
    "num_gpu_blocks_override": "None",
    "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256",
    "prefix_match_unit": "None",
    "replayssm_buffer_len": "16",
    "skip_page_size_padded": "None",
    "sliding_window": "None",
    "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False",
    "use_replayssm": "False",
    "user_specified_block_size": "False",
}
"""Labels of `vllm:cache_config_info` on 0.32.0; the empty ones are filled in."""
