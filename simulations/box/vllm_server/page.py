"""The `/metrics` page of a server: what happens is counted here, and shown as vLLM shows it."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    Summary,
    generate_latest,
)

from simulations.box.vllm_server.families import TABLE, Family
from simulations.box.vllm_server.options import ServerOptions
from simulations.serving.gauges import Gauges
from simulations.serving.reference.engine import EngineSequence

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class MetricsPage:
    """Every family of the asked-for release, at zero from the start."""

    def __init__(self, options: ServerOptions) -> None:
        self._registry = CollectorRegistry()
        GCCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        ProcessCollector(registry=self._registry)
        self._series: dict[tuple[str, str], Counter | Gauge | Histogram] = {}
        """By family and value of its own label; absent: not of this release."""
        for family in TABLE.families:
            if family.since <= options.metrics_version < family.gone:
                self._create(family, options)
        self._set("engine_sleep_state", 1, "awake")
        self._create_config(options)
        self._create_http()
        self._queried = self._hit = self._preempted = 0
        """As the engine counted them at the last rendering."""

    def render(self, now: Gauges) -> bytes:
        """The page, with what the engine shows as of the end of its last step."""
        self._set("num_requests_running", now.running_requests)
        self._set("num_requests_waiting", now.waiting_requests)
        self._set("num_requests_waiting_by_reason", now.waiting_requests, "capacity")
        self._set("gpu_cache_usage_perc", now.kv_usage_ratio)
        self._set("kv_cache_usage_perc", now.kv_usage_ratio)
        for prefix in ("gpu_", ""):
            queried = now.prefix_queried_tokens_total - self._queried
            self._add(f"{prefix}prefix_cache_queries", queried)
            self._add(f"{prefix}prefix_cache_hits", now.prefix_hit_tokens_total - self._hit)
        self._add("num_preemptions", now.preemptions_total - self._preempted)
        self._queried = now.prefix_queried_tokens_total
        self._hit = now.prefix_hit_tokens_total
        self._preempted = now.preemptions_total
        return generate_latest(self._registry)

    def step_made(self, *, first: Iterable[EngineSequence], gaps_s: Iterable[float]) -> None:
        """A step ended.

        Args:
            first: Requests that got their first token.
            gaps_s: Of each that got a further token: seconds of the wall since its last one.
        """
        computed = generated = 0
        for sequence in first:
            generated += 1
            missed = sequence.prompt - sequence.cached
            computed += missed
            self._add("prompt_tokens", sequence.prompt)
            self._add("prompt_tokens_by_source", missed, "local_compute")
            self._add("prompt_tokens_by_source", sequence.cached, "local_cache_hit")
            self._add("prompt_tokens_cached", sequence.cached)
            self._add("prompt_tokens_cached_by_source", sequence.cached, "device")
        for gap in gaps_s:
            generated += 1
            self._observe("time_per_output_token_seconds", gap)
            self._observe("inter_token_latency_seconds", gap)
        self._add("generation_tokens", generated)
        self._observe("iteration_tokens_total", generated + computed)

    def first_token(self, *, latency_s: float) -> None:
        """A request got its first token so long after it came in."""
        self._observe("time_to_first_token_seconds", latency_s)

    def request_finished(
        self,
        sequence: EngineSequence,
        *,
        reason: str,
        tokens_max: int,
        e2e_s: float,
        queue_s: float,
        prefill_s: float,
        decode_s: float,
    ) -> None:
        """A request has all its tokens."""
        self._add("request_success", 1, reason)
        self._observe("request_prompt_tokens", sequence.prompt)
        self._observe("request_generation_tokens", sequence.output)
        self._observe("request_max_num_generation_tokens", sequence.output)
        self._observe("request_params_n", 1)
        self._observe("request_params_max_tokens", tokens_max)
        self._observe("request_num_preemptions", sequence.preemptions)
        self._observe("request_prefill_kv_computed_tokens", sequence.prompt - sequence.cached)
        self._observe("e2e_request_latency_seconds", e2e_s)
        self._observe("request_queue_time_seconds", queue_s)
        self._observe("request_inference_time_seconds", prefill_s + decode_s)
        self._observe("request_prefill_time_seconds", prefill_s)
        self._observe("request_decode_time_seconds", decode_s)
        self._observe(
            "request_time_per_output_token_seconds", decode_s / max(1, sequence.output - 1)
        )

    def request_aborted(self) -> None:
        """A request ended without all its tokens."""
        self._add("request_success", 1, "abort")

    def http_answered(
        self, *, handler: str, method: str, status: int, received_bytes: int, duration_s: float
    ) -> None:
        """An exchange is over; streams have no content length, so nothing is known to be sent."""
        self._requests.labels(handler=handler, method=method, status=f"{status // 100}xx").inc()
        self._received.labels(handler=handler).observe(received_bytes)
        self._sent.labels(handler=handler).observe(0)
        self._fine.observe(duration_s)
        self._coarse.labels(handler=handler, method=method).observe(duration_s)

    def _create(self, family: Family, options: ServerOptions) -> None:
        common = {"model_name": options.served_model_names[0]}
        if family.engine:
            common["engine"] = "0"
        labels = [*common, *([family.label] if family.label else [])]
        name = f"vllm:{family.name}"
        metric: Counter | Gauge | Histogram
        match family.kind:
            case "counter":
                metric = Counter(name, family.text, labels, registry=self._registry)
            case "gauge":
                metric = Gauge(name, family.text, labels, registry=self._registry)
            case "histogram":
                if family.buckets is None:
                    buckets = _one_two_five(options.model_length_max)
                else:
                    buckets = TABLE.buckets[family.buckets]
                metric = Histogram(
                    name, family.text, labels, buckets=buckets, registry=self._registry
                )
        for value in family.values:
            own = {family.label: value} if family.label else {}
            self._series[family.name, value] = metric.labels(**common, **own)

    def _create_config(self, options: ServerOptions) -> None:
        profile = options.profile
        tokens = profile.kv_blocks * profile.block_tokens
        labels = TABLE.cache_config | {
            "block_size": str(profile.block_tokens),
            "effective_attention_block_size": str(profile.block_tokens),
            "enable_prefix_caching": str(profile.prefix_caching),
            "kv_cache_max_concurrency": str(tokens / options.model_length_max),
            "kv_cache_size_tokens": str(tokens),
            "num_gpu_blocks": str(profile.kv_blocks),
        }
        Gauge(
            "vllm:cache_config_info",
            "Information of the LLMEngine CacheConfig",
            list(labels),
            registry=self._registry,
        ).labels(**labels).set(1)

    def _create_http(self) -> None:
        """What vLLM's HTTP instrumentation adds; series appear with the first exchange."""
        self._requests = Counter(
            "http_requests",
            "Total number of requests by method, status and handler.",
            ["handler", "method", "status"],
            registry=self._registry,
        )
        sizes = (
            "by handler. Only value of header is respected. Otherwise ignored. "
            "No percentile calculated. "
        )
        self._received, self._sent = (
            Summary(
                f"http_{what}_size_bytes",
                f"Content length of {which} {what}s {sizes}",
                ["handler"],
                registry=self._registry,
            )
            for what, which in (("request", "incoming"), ("response", "outgoing"))
        )
        self._fine = Histogram(
            "http_request_duration_highr_seconds",
            "Latency with many buckets but no API specific labels. "
            "Made for more accurate percentile calculations. ",
            buckets=TABLE.buckets["http_fine"],
            registry=self._registry,
        )
        self._coarse = Histogram(
            "http_request_duration_seconds",
            "Latency with only few buckets by handler. "
            "Made to be only used if aggregation by handler is important. ",
            ["handler", "method"],
            buckets=(0.1, 0.5, 1.0),
            registry=self._registry,
        )

    def _set(self, name: str, value: float, own: str = "") -> None:
        series = self._series.get((name, own))
        if isinstance(series, Gauge):
            series.set(value)

    def _add(self, name: str, amount: float, own: str = "") -> None:
        series = self._series.get((name, own))
        if isinstance(series, Counter):
            series.inc(amount)

    def _observe(self, name: str, value: float) -> None:
        series = self._series.get((name, ""))
        if isinstance(series, Histogram):
            series.observe(value)


def _one_two_five(most: int) -> tuple[float, ...]:
    """1, 2, 5, 10, … as far as `most`."""
    bounds = [
        float(mantissa * 10**exponent)
        for exponent in range(len(str(most)))
        for mantissa in (1, 2, 5)
    ]
    return tuple(bound for bound in bounds if bound <= most)
