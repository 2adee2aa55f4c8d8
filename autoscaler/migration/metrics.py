"""One metric and its target, as our targets or objective: where the same can be asked for, and where it cannot."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from autoscaler.migration.amounts import amount_text
from autoscaler.migration.metric_names import TOLD_WORDS, MetricSignal, engine_of
from autoscaler.migration.predecessor import Predecessor
from autoscaler.migration.queries import Over, QueryLoad

IN_FLIGHT, WAITING, KV_CACHE = (
    "inFlightRequestsPerReplica",
    "waitingRequestsPerReplica",
    "kvCacheUsagePercent",
)
TTFT, TPOT, ATTAINMENT = (
    "timeToFirstTokenMilliseconds",
    "timePerOutputTokenMilliseconds",
    "attainmentPercent",
)
_BOUNDS = {
    IN_FLIGHT: (0.1, 100_000.0),
    WAITING: (1.0, 100_000.0),
    KV_CACHE: (1.0, 100.0),
    TTFT: (1.0, 3_600_000.0),
    TPOT: (1.0, 60_000.0),
}
_ATTAINMENT_PERCENT = (50.0, 99.99)
_LATENCIES = {MetricSignal.TTFT: TTFT, MetricSignal.TPOT: TPOT}
_REQUESTS = {MetricSignal.WAITING, MetricSignal.RUNNING, MetricSignal.IN_FLIGHT}
_NO_EQUIVALENT = {
    MetricSignal.CPU: "the CPU of a replica says nothing of a GPU's load; requests in flight and the KV cache are used",
    MetricSignal.MEMORY: "an engine takes its memory when it starts, whatever the load; requests in flight and the KV cache are used",
    MetricSignal.GPU: "a GPU is as busy with one request as with thirty, and its memory is taken at the start; "
    "requests in flight and the KV cache are used, and DCGM for cards that can carry nothing",
    MetricSignal.RATE: "arrivals are read from the same pages and turned into load by the measured service time; no target is needed",
    MetricSignal.WHOLE_TIME: "how long a whole request takes depends on its length; spec.objective promises the first token and the pace",
    MetricSignal.QUEUE_TIME: "the wait is part of the time to the first token, which spec.objective promises",
}


class TargetType(StrEnum):
    """How a target is compared, as HPA has it."""

    AVERAGE_VALUE = "AverageValue"
    """The metric's total over the replicas: T for each of them."""
    VALUE = "Value"
    """The metric as it is: T whatever the number of replicas."""
    UTILIZATION = "Utilization"


class MetricAsked(NamedTuple):
    """One metric with its target."""

    path: str
    found: str
    """For the note."""
    load: QueryLoad
    target: float
    """Above 0."""
    type: TargetType
    each_pod: bool = False
    """It is read of each pod, and HPA takes the mean."""


def take_metric(predecessor: Predecessor, asked: MetricAsked) -> None:
    """Let a metric become a target or an objective of the predecessor, and note what became of it."""
    load = asked.load
    for name in load.names:
        predecessor.engine = predecessor.engine or engine_of(name)
    signals = {signal for signal, weight in load.weights.items() if weight}
    if signals and signals <= _REQUESTS:
        _take_requests(predecessor, asked, signals)
    elif signals == {MetricSignal.KV_CACHE}:
        _take_kv_cache(predecessor, asked)
    elif len(signals) == 1 and signals <= _LATENCIES.keys():
        _take_latency(predecessor, asked, *signals)
    else:
        _drop(predecessor, asked, signals)


def _take_requests(
    predecessor: Predecessor, asked: MetricAsked, signals: set[MetricSignal]
) -> None:
    load = asked.load
    running = load.weights.get(MetricSignal.RUNNING, load.weights.get(MetricSignal.IN_FLIGHT, 0.0))
    waiting = load.weights.get(MetricSignal.WAITING, 0.0)
    weight = running or waiting
    if weight <= 0.0 or min(load.weights.values()) < 0.0:
        predecessor.drop(
            asked.path, asked.found, "a difference of requests; say it in spec.targets"
        )
        return
    differs = _differences(asked)
    if differs is None:
        predecessor.drop(asked.path, asked.found, _total_text(asked))
        return
    if signals == {MetricSignal.WAITING}:
        _offer(
            predecessor,
            asked,
            WAITING,
            asked.target / weight,
            differs=differs,
            meaning="from so many waiting requests a replica counts as full; what a replica carries in flight is said in "
            f"spec.targets.{IN_FLIGHT}, and learnt",
        )
        return
    if MetricSignal.WAITING in signals and MetricSignal.RUNNING in signals and waiting != running:
        differs = (*differs, "waiting and running requests weigh the same")
    meaning = "requests in flight, waiting ones included"
    if signals == {MetricSignal.RUNNING}:
        meaning = "requests in flight: what runs, and what waits as well"
    _offer(predecessor, asked, IN_FLIGHT, asked.target / weight, differs=differs, meaning=meaning)


def _take_kv_cache(predecessor: Predecessor, asked: MetricAsked) -> None:
    differs = _differences(asked)
    weight = asked.load.weights[MetricSignal.KV_CACHE]
    if differs is None or weight <= 0.0:
        predecessor.drop(asked.path, asked.found, _total_text(asked))
        return
    ratio = asked.target / weight
    percent = ratio * 100.0 if ratio <= 1.0 else ratio
    _offer(
        predecessor,
        asked,
        KV_CACHE,
        percent,
        differs=differs,
        meaning="so much of its KV cache a replica may fill",
    )


def _take_latency(predecessor: Predecessor, asked: MetricAsked, signal: MetricSignal) -> None:
    field = _LATENCIES[signal]
    weight = asked.load.weights[signal]
    if weight <= 0.0:
        predecessor.drop(asked.path, asked.found, "a negative latency")
        return
    value = round(asked.target / weight * 1000.0)
    low, high = _BOUNDS[field]
    if not low <= value <= high:
        predecessor.drop(
            asked.path, asked.found, f"{value} ms is no objective: {low:g} to {high:g}"
        )
        return
    predecessor.objective[field] = min(float(value), predecessor.objective.get(field, high))
    percent = round((asked.load.quantile_ratio or 0.0) * 100.0, 2)
    told = f"spec.objective.{field}: {value}"
    if _ATTAINMENT_PERCENT[0] <= percent <= _ATTAINMENT_PERCENT[1]:
        most = predecessor.objective.get(ATTAINMENT, percent)
        predecessor.objective[ATTAINMENT] = max(most, percent)
        told += f", {ATTAINMENT}: {amount_text(percent)}"
    wrong = ""
    if asked.type is TargetType.AVERAGE_VALUE:
        wrong = (
            "; as it is written it never asks for more than the latency divided by the target, whatever the number of "
            "replicas"
        )
    predecessor.change(
        asked.path,
        asked.found,
        f"{told}: replicas are asked for before it is missed, and not when it is{wrong}",
    )


def _drop(predecessor: Predecessor, asked: MetricAsked, signals: set[MetricSignal]) -> None:
    told = [_NO_EQUIVALENT[signal] for signal in signals if signal in _NO_EQUIVALENT]
    said = "; ".join(sorted(told))
    if not told:
        words = "|".join(TOLD_WORDS)
        names = " and ".join(asked.load.names) or "it"
        said = f"nobody knows here what {names} counts; say so with --metric NAME={words}"
        if len(signals) > 1:
            said = "a sum of things that are not alike; say in spec.targets what a replica carries"
    predecessor.drop(asked.path, asked.found, said)


def _differences(asked: MetricAsked) -> tuple[str, ...] | None:
    """Return where T for each replica differs from what was asked; None: it asks for no such thing."""
    over, remarks = asked.load.over, asked.load.remarks
    if asked.load.constant:
        remarks = (*remarks, f"without the constant {amount_text(asked.load.constant)}")
    if asked.each_pod:
        return remarks
    if asked.type is TargetType.AVERAGE_VALUE:
        if over is Over.SUM:
            return remarks
        if over is Over.BARE:
            return (*remarks, "taken for the sum over all replicas")
        divided = (
            f"a {over} is divided by the replicas once more, so it never asked for more than {over} / target; "
            "taken as it is meant, for each replica"
        )
        return (*remarks, divided)
    if over is Over.MEAN:
        return remarks
    if over is Over.MOST:
        return (*remarks, "held on the mean, and not on the fullest replica")
    return None


def _total_text(asked: MetricAsked) -> str:
    return (
        f"with {asked.type} the total over all replicas is held at {amount_text(asked.target)}, however many there are; "
        "targets here are of one replica: say one in spec.targets"
    )


def _offer(
    predecessor: Predecessor,
    asked: MetricAsked,
    field: str,
    value: float,
    *,
    differs: tuple[str, ...],
    meaning: str,
) -> None:
    """Set a target, the stricter one where two say it."""
    low, high = _BOUNDS[field]
    kept = min(max(value, low), high)
    if field != IN_FLIGHT:
        kept = float(max(round(kept), 1))
    if abs(kept - value) > 1e-6 * max(1.0, value):
        differs = (*differs, f"{amount_text(value)} became {amount_text(kept)}")
    before = predecessor.targets.get(field)
    if before is not None and before <= kept:
        predecessor.drop(
            asked.path, asked.found, f"another metric asks for {field} {amount_text(before)}"
        )
        return
    predecessor.targets[field] = kept
    note = predecessor.change if differs else predecessor.keep
    said = "; ".join((f"spec.targets.{field}: {amount_text(kept)}: {meaning}", *differs))
    note(asked.path, asked.found, said)
