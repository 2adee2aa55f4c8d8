"""How long a new replica took, as far as a Prometheus shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulations.field.capture.ranges import Grid, RangeReader, Series
from simulations.field.capture.signals import RUNNING, Subject
from simulations.world.cold_start import ColdStart
from simulations.world.cold_start import cold_start as parse_cold_start

LONGEST_S = 3600.0
"""What is said to have taken longer was not a start: a Prometheus that is newer than the pod."""
SHORTEST_S = 5.0
STANDARD = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenReplicas:
    """The serving processes of a model over a grid."""

    pods: tuple[str, ...]
    """Their names, as far as Prometheus has them."""
    first_seen: Mapping[tuple[str | None, str | None], float]
    """(pod, instance) of those that came inside the span -> the moment of their first page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStart:
    """A cold start, and how it came to be known."""

    cold_start: ColdStart
    explanation: str
    """As output says it."""


def read_replicas(reader: RangeReader, subject: Subject, grid: Grid) -> SeenReplicas:
    """Which processes there were, and when the new ones were first seen."""
    metric = subject.select(RUNNING)
    series = reader.series(f"sum by (namespace, pod, instance) ({metric})", grid)
    there = np.vstack([~np.isnan(one.values) for one in series])
    seen = {}
    for one, present in zip(series, there, strict=True):
        first = int(np.argmax(present))
        # one that comes while none was seen is no start: Prometheus itself was away
        if first > 0 and there[:, first - 1].any():
            seen[_key(one)] = float(grid.moments[first])
    pods = {one.labels["pod"] for one in series if one.labels.get("pod")}
    return SeenReplicas(pods=tuple(sorted(pods)), first_seen=seen)


def measured_start(
    reader: RangeReader, subject: Subject, grid: Grid, replicas: SeenReplicas
) -> MeasuredStart:
    """The median start that can be seen, else the standard one.

    A pod's creation as kube-state-metrics tells it, else the start of its process, which leaves out
    the node and the image; each until its first page, less half a step for the grid.
    """
    where = f'{{namespace="{subject.namespace}"}}' if subject.namespace else ""
    for metric, since in (
        (f"max by (namespace, pod) (kube_pod_created{where})", "the pod's creation"),
        (
            f"max by (namespace, pod, instance) (process_start_time_seconds{where})",
            "the process's start (node and image not seen)",
        ),
    ):
        if not replicas.first_seen:
            break
        took = _durations_s(reader.series(metric, grid), replicas, grid)
        if took:
            seconds = round(float(np.median(took)))
            return MeasuredStart(
                cold_start=parse_cold_start(str(seconds)),
                explanation=f"{seconds} s, the median of {len(took)} recorded, from {since} to its first page",
            )
    standard = parse_cold_start(STANDARD)
    why = (
        "the starts that were seen do not say how long they took"
        if replicas.first_seen
        else "no start was seen in that time"
    )
    return MeasuredStart(
        cold_start=standard,
        explanation=f"{standard.mean_s:.0f} s, the standard one: {why}; --cold-start says it",
    )


def _durations_s(began: list[Series], replicas: SeenReplicas, grid: Grid) -> list[float]:
    """How long each start took; one that began before the grid only missed its first scrape."""
    took = []
    for one in began:
        known = one.values[~np.isnan(one.values)]
        pod, instance = _key(one)
        for (of_pod, at_instance), seen_at in replicas.first_seen.items():
            if len(known) and pod == of_pod and instance in (None, at_instance):
                seconds = seen_at - grid.step / 2 - float(known[0])
                within = float(known[0]) >= float(grid.moments[0])
                if within and SHORTEST_S <= seconds <= LONGEST_S:
                    took.append(seconds)
    return took


def _key(one: Series) -> tuple[str | None, str | None]:
    return one.labels.get("pod"), one.labels.get("instance")
