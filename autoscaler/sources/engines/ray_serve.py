"""Ray Serve's signals: one page per Ray node (a pod), written by that node's metrics agent.

Choices, with their reasons:

- What runs vLLM inside is read from vLLM's own gauges, which Ray spells `ray_vllm:...` (up to 2.4x) or
  `ray_vllm_...` and labels with `ReplicaId`. A replica without them counts the queries it processes as running.
- Requests queue twice: at Serve's router (`queued_queries`, on the page of the node whose proxy or
  handle holds them) and inside the engine. Both wait.
- A request to an application passes several deployments (an ingress, then the engine's), and would be
  counted in each: where engines are on the page, only their deployments count.
- `spec.modelNames` is matched on vLLM's `model_name`; Serve's own series have no model, so that what
  belongs to replicas of other models is left out by their `ReplicaId`.
- Of histograms vLLM's own are read; those in milliseconds are not, and the legacy agent's counters without `_total` only where
  the same with `_total` is not there too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from autoscaler.kube.samples import PodSample
from autoscaler.sources.engines.vllm import (
    LABELS,
    histogram_names,
    history_series,
    read_series,
    series_names,
)
from autoscaler.sources.pages.limits import RAY_PAGE_BYTES_MAX
from autoscaler.sources.pages.rows import Rows, SeriesRow
from autoscaler.sources.pages.signals import (
    EngineSource,
    count_since_start,
    expect_demand,
    first_of,
    rows_of_models,
    spellings,
    sum_of_parts,
    total,
)

_VLLM = "ray_vllm:"
_ENGINES = f"{_VLLM}num_requests_running"
_QUEUED = "ray_serve_deployment_queued_queries"
_PROCESSING = "ray_serve_replica_processing_queries"
_SERVED = "ray_serve_deployment_request_counter_total"
_FAILED = "ray_serve_deployment_error_counter_total"


def read(rows: Rows, model_names: frozenset[str]) -> PodSample:
    """Read one Ray pod, with all the Serve replicas on it."""
    engines = read_series(rows, model_names, prefix=_VLLM)
    found = first_of(rows, *spellings(_ENGINES))
    processing = rows.rows(_PROCESSING)
    of_engines = _replicas(found)
    deployments = _deployments(processing, replicas=_replicas(rows_of_models(found, model_names)))
    plain = [row for row in processing if row.labels.get("replica") not in of_engines]
    queued = rows.rows(_QUEUED)
    if deployments:
        plain = [row for row in plain if row.labels.get("deployment") in deployments]
        queued = [row for row in queued if row.labels.get("deployment") in deployments]
    if found:
        sample = replace(
            engines,
            waiting_requests=sum_of_parts(
                engines.waiting_requests, total(queued) if queued else 0.0
            ),
            running_requests=sum_of_parts(engines.running_requests, total(plain) if plain else 0.0),
        )
    else:
        sample = PodSample(
            waiting_requests=total(queued) if queued or not plain else 0.0,
            running_requests=total(plain),
            finished_requests_total=count_since_start(
                first_of(rows, *spellings(_SERVED)) + first_of(rows, *spellings(_FAILED))
            ),
        )
    return expect_demand(sample, engine="Ray Serve", found=found, model_names=model_names)


def _replicas(engines: Iterable[SeriesRow]) -> set[str]:
    """Return the Serve replicas that these engines are in."""
    return {row.labels.get("ReplicaId", "") for row in engines}


def _deployments(processing: Iterable[SeriesRow], *, replicas: Collection[str]) -> set[str]:
    """Return the deployments that these replicas belong to."""
    return {
        row.labels.get("deployment", "")
        for row in processing
        if row.labels.get("replica") in replicas
    }


SOURCE = EngineSource(
    engine="RayServe",
    names=(*series_names(_VLLM), *spellings(_QUEUED, _PROCESSING, _SERVED, _FAILED)),
    labels=LABELS
    | {"ReplicaId", "WorkerId", "deployment", "application", "replica", "handle", "actor_id"}
    | {"route", "method", "error_code", "status_code", "exception_name"},
    read=read,
    # What waits at Serve's router is left out: past rows do not tell which deployment has the engines.
    history=replace(
        history_series(_VLLM),
        labels=("ReplicaId", "engine", "model_name", "finished_reason", "reason"),
    ),
    histograms=histogram_names(_VLLM),
    page_bytes_max=RAY_PAGE_BYTES_MAX,
)
