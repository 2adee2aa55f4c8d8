"""Replays recorded syncs of the real HPA controller, row by row, and counts the equal answers.

The recordings' own replica counts are used in each row, so that one difference stays one.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoscaler.errors import TraceError
from simulations.peers.hpa.controller import HpaController
from simulations.peers.hpa.metrics import MetricReading, MetricSide, PodPhase, PodView, Scale
from simulations.peers.hpa.quantities import milli
from simulations.peers.hpa.spec import HpaSpec, MetricKind, hpa_spec

_DELETING = "-deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaDifference:
    """One thing on which the replay and the real controller differ."""

    at: float
    what: str
    """`sync`, by way of which proposal; or the kind of line of a KEDA recording."""
    recorded: int | None
    replayed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformance:
    """One recorded autoscaler, replayed."""

    name: str
    syncs: int
    differences: tuple[HpaDifference, ...]

    @property
    def equal(self) -> int:
        """Syncs with the recorded answer, reached by way of the recorded proposal."""
        return self.syncs - len(self.differences)


def replay_folder(
    folder: Path,
    *,
    side: Callable[[], MetricSide] = MetricSide,
    controller: type[HpaController] = HpaController,
) -> Iterator[Conformance]:
    """Replay every recording of a folder, in order of name; raises TraceError."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    if not names:
        raise TraceError(
            f"{folder}: no recording (NAME.json beside NAME.jsonl.gz); name their folder"
        )
    for name in names:
        yield replay_recording(folder, name, side=side(), controller=controller)


def replay_recording(
    folder: Path, name: str, *, side: MetricSide, controller: type[HpaController] = HpaController
) -> Conformance:
    """Replay one recording."""
    scene = json.loads((folder / f"{name}.json").read_text())
    spec_at = [(scene["created_t"], hpa_spec(scene["spec"]))]
    spec_at += [(e["t"], hpa_spec(e["spec"])) for e in scene["edits"] if e["what"] == "spec"]
    requests = {r: milli(q) for r, q in (scene.get("pod_requests") or {}).items()}
    replayed: HpaController | None = None
    differences: list[HpaDifference] = []
    syncs = 0
    for row in read_rows(folder / f"{name}.jsonl.gz"):
        if replayed is None:
            replayed = controller(
                spec_at[0][1], first_replicas=row["spec_replicas"], at=row["t"], side=side
            )
        replayed.spec = [spec for at, spec in spec_at if at < row["t_get"]][-1]
        syncs += 1
        difference = replay_sync(replayed, row, requests)
        if difference is not None:
            differences.append(difference)
    return Conformance(name=name, syncs=syncs, differences=tuple(differences))


def replay_sync(
    controller: HpaController, row: Mapping[str, Any], requests: Mapping[str, int]
) -> HpaDifference | None:
    """Replay one recorded sync; None: proposal and answer are the recorded ones."""
    readings = None
    if row["metrics"] is not None:
        readings = readings_of(row["metrics"], controller.spec)
    sync = controller.sync(scale_of(row, requests), readings)
    if sync.replicas != row["spec_replicas"]:
        # the recorded moment of the write; where the recording has none, the decision's
        controller.rescaled(
            at=row["t_write"] or row["t"], before=row["spec_replicas"], after=sync.replicas
        )
    if (sync.replicas, sync.proposal) == (row["after"], row["proposal"]):
        return None
    return HpaDifference(
        at=row["t"],
        what=f"sync, proposal {row['proposal']} recorded, {sync.proposal} replayed",
        recorded=row["after"],
        replayed=sync.replicas,
    )


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one recording; raises TraceError."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, EOFError, ValueError) as error:
        raise TraceError(f"{path}: cannot be read: {error}; fetch the recording again") from error


def readings_of(metrics: list[dict[str, Any]], spec: HpaSpec) -> list[MetricReading]:
    """What the metrics APIs answered, one reading a metric."""
    readings = []
    for metric, asked in zip(metrics, spec.metrics, strict=True):
        values, pods = metric.get("values"), metric.get("pods")
        if asked.kind in (MetricKind.EXTERNAL, MetricKind.OBJECT):
            values_milli = None if values is None else tuple(milli(v) for v in values)
            readings.append(MetricReading(values_milli=values_milli))
        else:
            readings.append(
                MetricReading(
                    pods_milli=None if pods is None else {p: milli(v) for p, v in pods.items()},
                    sampled_at=metric.get("sample_time") or 0.0,
                    window_s=metric.get("window_s") or 0.0,
                )
            )
    return readings


def scale_of(row: Mapping[str, Any], requests: Mapping[str, int]) -> Scale:
    """The target and its pods as the sync found them."""
    return Scale(
        at=row["t"],
        spec_replicas=row["spec_replicas"],
        status_replicas=row["status_replicas"],
        ready_pods=row["ready_pods"],
        pod_count=row["pod_count"],
        pods={name: _pod(pod, requests) for name, pod in (row.get("pods") or {}).items()},
    )


def _pod(pod: str | Mapping[str, Any], requests: Mapping[str, int]) -> PodView:
    state = pod if isinstance(pod, str) else pod["state"]
    times: Mapping[str, Any] = {} if isinstance(pod, str) else pod
    return PodView(
        phase=PodPhase(state.removesuffix(_DELETING)),
        deleting=state.endswith(_DELETING),
        start_at=times.get("start"),
        ready_change_at=times.get("ready_change"),
        request_milli=requests,
    )
