"""A past, as a Prometheus that scraped it would have it: OpenMetrics for promtool."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

NAMESPACE = "serving"


@dataclass(frozen=True, kw_only=True)
class PastPod:
    """One pod that was scraped from some moment to another."""

    name: str
    since: float
    until: float
    rate: Callable[[float], float] = lambda _: 0.5
    """Requests per second that end there."""
    running: Callable[[float], float] = lambda _: 4.0
    waiting: Callable[[float], float] = lambda _: 0.0
    kv_usage: float = 0.25
    restarts: tuple[float, ...] = ()
    """Moments at which its counters begin anew."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Besides those of every pod."""


def moments(pod: PastPod, *, every_s: float, without: Iterable[tuple[float, float]]) -> list[float]:
    count = math.floor((pod.until - pod.since) / every_s)
    gaps = list(without)
    return [
        at
        for at in (pod.since + every_s * k for k in range(count + 1))
        if not any(begin <= at < end for begin, end in gaps)
    ]


def counted(pod: PastPod, at: float) -> float:
    """What its counter says: the integral of its rate since it began, in steps of a second."""
    begun = max([pod.since, *(moment for moment in pod.restarts if moment <= at)])
    return sum(pod.rate(begun + k) for k in range(int(at - begun)))


def vllm_lines(
    pods: Iterable[PastPod], *, every_s: float, without: Iterable[tuple[float, float]] = ()
) -> Iterator[str]:
    """Their vLLM's series, in the form that `promtool tsdb create-blocks-from openmetrics` takes."""
    pods, without = list(pods), list(without)
    families = (
        ("vllm:num_requests_running", "gauge", "", lambda pod, at: pod.running(at)),
        ("vllm:num_requests_waiting", "gauge", "", lambda pod, at: pod.waiting(at)),
        ("vllm:kv_cache_usage_perc", "gauge", "", lambda pod, _: pod.kv_usage),
        ("vllm:request_success", "counter", "_total", counted),
    )
    for family, kind, end, value in families:
        yield f"# TYPE {family} {kind}"
        for pod in pods:
            labels = {
                "namespace": NAMESPACE,
                "pod": pod.name,
                "instance": f"{pod.name}:8000",
                "model_name": "llama",
                "engine": "0",
                **pod.labels,
            }
            if kind == "counter":
                labels["finished_reason"] = "stop"
            written = ",".join(f'{name}="{text}"' for name, text in labels.items())
            for at in moments(pod, every_s=every_s, without=without):
                yield f"{family}{end}{{{written}}} {value(pod, at):g} {at:.3f}"
    yield "# EOF\n"
