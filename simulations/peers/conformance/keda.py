"""Replays recordings of real KEDA over a scripted Prometheus, each of its two layers alone.

KEDA's layer is fed the queries and must give the adapter's answers, KEDA's own writes and its counts
of failures; the HPA's layer is fed the answers and must give the replicas.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autoscaler.errors import TraceError
from simulations.peers.conformance.hpa import Conformance, HpaDifference, read_rows, replay_sync
from simulations.peers.hpa.controller import HpaController
from simulations.peers.hpa.metrics import MetricSide
from simulations.peers.hpa.quantities import milli
from simulations.peers.hpa.spec import hpa_spec
from simulations.peers.keda.operator import Evaluation, KedaOperator
from simulations.peers.keda.scaled_object import ScaledObject, scaled_object, value_of

RETRY_S = 0.5
"""A failing query is made again at once, on a rebuilt scaler, and counts as one failure."""


def replay_folder(folder: Path) -> Iterator[Conformance]:
    """Replay both layers of every recording of a folder, in order of name; raises TraceError."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    if not names:
        raise TraceError(
            f"{folder}: no recording (NAME.json beside NAME.jsonl.gz); name their folder"
        )
    for name in names:
        scene = json.loads((folder / f"{name}.json").read_text())
        rows = list(read_rows(folder / f"{name}.jsonl.gz"))
        yield replay_keda(f"{name}/keda", scene, rows)
        yield replay_hpa(f"{name}/hpa", scene, rows)


def replay_hpa(name: str, scene: Mapping[str, Any], rows: list[dict[str, Any]]) -> Conformance:
    """The HPA's layer: answers in, replicas out."""
    spec_at = [(entry["t"], hpa_spec(entry["spec"])) for entry in scene["hpa_specs"]]
    controller: HpaController | None = None
    differences: list[HpaDifference] = []
    syncs = 0
    for row in rows:
        if row["event"] == "hpa-deleted":
            controller = None
        if row["event"] != "sync":
            continue
        spec = [spec for at, spec in spec_at if at < row["t_get"]][-1]
        if controller is None:
            controller = HpaController(
                spec, first_replicas=row["spec_replicas"], at=row["t"], side=MetricSide()
            )
        controller.spec = spec
        syncs += 1
        difference = replay_sync(controller, row, {})
        if difference is not None:
            differences.append(difference)
    return Conformance(name=name, syncs=syncs, differences=tuple(differences))


def replay_keda(
    name: str,
    scene: Mapping[str, Any],
    rows: list[dict[str, Any]],
    *,
    operator: Callable[[ScaledObject], KedaOperator] = KedaOperator,
) -> Conformance:
    """KEDA's layer: queries in; answers, writes and failures out. Each is one thing compared."""
    scaled = scaled_object(scene["scaled_object_spec"])
    replay = KedaReplay(operator(scaled), scene["initial_replicas"])
    for row in without_retried(rows):
        replay.take(row)
    return Conformance(name=name, syncs=replay.compared, differences=tuple(replay.differences))


def without_retried(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recording without failing queries that were made again at once: the retry decides."""
    kept: list[dict[str, Any]] = []
    queries = iter([row for row in rows if row["event"] == "query"][1:])
    retry_of: float | None = None
    for row in rows:
        if row["event"] == "query":
            following = next(queries, None)
            retried = (
                isinstance(row["served"], int)
                and retry_of is None
                and following is not None
                and following["by"] == row["by"]
                and following["t"] - row["t"] <= RETRY_S
            )
            retry_of = row["t"] if retried else None
            if retried:
                continue
        kept.append(row)
    return kept


class KedaReplay:
    """KEDA's layer of one recording, line by line."""

    def __init__(self, operator: KedaOperator, replicas: int) -> None:
        """With the replicas that the operator finds."""
        self.compared = 0
        self.differences: list[HpaDifference] = []
        self._scaled = operator.scaled
        self._operator = operator
        self._replicas = replicas
        self._answer = Evaluation(milli=None, active=False, failed=True)
        self._write: int | None = None

    def take(self, row: Mapping[str, Any]) -> None:
        """Feed one line, or compare with it."""
        match row["event"]:
            case "query":
                self._query(row)
            case "sync":
                self._sync(row)
            case "keda-write":
                self._compare(row, recorded=row["replicas"], replayed=self._write)
                self._write = None
                self._replicas = row["replicas"]
            case "object" if self._scaled.fallback is not None and row["failures"]:
                (failures,) = row["failures"].values()
                self._compare(row, recorded=failures, replayed=self._operator.failures)

    def _query(self, row: Mapping[str, Any]) -> None:
        value = self._value(row["served"])
        if row["by"] == "hpa":
            self._answer = self._operator.answer(value)
            return
        if self._write is not None:
            # what we would have written on the last poll was never written
            self._compare(row, recorded=self._replicas, replayed=self._write)
        self._write = self._operator.poll(value, at=row["t"], replicas=self._replicas)

    def _sync(self, row: Mapping[str, Any]) -> None:
        if row["metrics"] is not None:
            if self._scaled.use_cached_metrics:
                self._answer = self._operator.answer(None)
            (metric,) = row["metrics"]
            recorded = milli(metric["values"][0]) if "values" in metric else None
            self._compare(row, recorded=recorded, replayed=self._answer.milli)
        if row["t_write"] is not None:
            self._replicas = row["after"]

    def _compare(
        self, row: Mapping[str, Any], *, recorded: int | None, replayed: int | None
    ) -> None:
        self.compared += 1
        if recorded != replayed:
            self.differences.append(
                HpaDifference(
                    at=row["t"],
                    what=row["event"],
                    recorded=recorded,
                    replayed=replayed,
                )
            )

    def _value(self, served: object) -> float | None:
        ignore = self._scaled.ignore_null_values
        if served == "empty":
            return value_of(None, ignore_null_values=ignore)
        return (
            value_of(float(served), ignore_null_values=ignore) if isinstance(served, str) else None
        )
