"""Rows of dcgm-exporters, from a page or through Prometheus, as devices.

Choices, with their reasons:

- Who holds a GPU is in `exported_pod` where Prometheus renamed the exporter's labels (the chart's
  default), else in `pod`; a `pod` that is the exporter itself, an empty one or none: nobody.
- What tells a card from another is its UUID, else its place on the bus or its number. A MIG instance has its
  own framebuffer under its parent's UUID: the key has the instance too.
- Several exporters may speak for one node, and one may be found twice by Prometheus: each one's rows are
  read apart, by `instance` and `job`, and `account` puts them together.
- On a time-sliced device each sharing pod has a copy of the device's row, so that nothing is ever
  added up over pods. Only FB_USED is split by process, and only where the exporter can see processes:
  then the device's own row comes first, without a pod. Otherwise a pod's part is unknown; so it is
  when all parts read 0 beside a device in use, which is how an exporter without `hostPID` looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodKey
from autoscaler.sources.dcgm import health
from autoscaler.sources.dcgm.health import GpuHealth, follow_health, judge
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.rows import Rows, SeriesRow

USED = "DCGM_FI_DEV_FB_USED"
NAMES = (USED, *health.NAMES)
"""Every series that is read. Each decides something: who holds a card and whether it is idle, or whether it
is well."""

_BYTES_PER_MIB = 2**20
_BLANK_MIB = 2.0**40
"""Old exporters print blank values as 9223372036854775794; no card has an exbibyte."""
_EXPORTER = "dcgm-exporter"
"""In the name of the exporter's own pods, as its chart and the GPU Operator call them."""

_MISSING_KEPT_MAX = 64
"""Broken cards that are on their source's page no more; a page that makes up new ones each time fills nothing."""

Exporter: TypeAlias = tuple[str, str]
"""Prometheus' `instance` and `job`; empty on a page."""
DeviceKey: TypeAlias = tuple[Exporter, str, str, str]
"""Exporter, node, card, MIG instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDevice:
    """One GPU or MIG instance, as one exporter has it."""

    exporter: Exporter
    node: str
    """Empty: not said."""
    card: str
    """Its UUID, else its place; empty: not said."""
    has_uuid: bool
    instance: str
    """Of MIG; empty: a whole card."""
    sampled_at: float
    """Of its oldest value, seconds."""
    pods: frozenset[PodKey]
    """Who holds it, or a share of it."""
    used_bytes: float | None
    """Of the whole device, not of one pod."""
    used_by_pod: Mapping[PodKey, float]
    """What is known of each pod's part."""
    shared: bool
    """Time-sliced, with a row for each of its pods."""
    health: GpuHealth

    @property
    def key(self) -> DeviceKey:
        """What tells it from all others."""
        return self.exporter, self.node, self.card, self.instance

    @property
    def fault(self) -> str:
        """Why it can carry no replica; empty: it can, or nothing is known."""
        return self.health.fault(at=self.sampled_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class DcgmReading:
    """What one read of an exporter, or of a Prometheus, brought."""

    devices: tuple[GpuDevice, ...]
    """Ordered by their keys."""


@dataclass(slots=True)
class _Rows:
    """Rows of one device, while they are gathered."""

    at: float = math.inf
    """Of its oldest row."""
    has_uuid: bool = False
    used_by: dict[PodKey | None, float | None] = field(default_factory=dict)
    pods: set[PodKey] = field(default_factory=set)
    shared: bool = False
    health: dict[str, float] = field(default_factory=dict)


def read(rows: Rows, *, at: float, node: str | None = None) -> DcgmReading:
    """Read one exporter's page, or a query's answer for all of them.

    Args:
        rows: What came.
        at: The moment of the read; rows with their own time are as old as they say.
        node: The node of the exporter that was scraped; None: as the rows say. Older exporters put
            their pod's name where the node's should be.

    Raises:
        SourceError: There is no framebuffer series at all.
    """
    found: dict[DeviceKey, _Rows] = {}
    by_name = {name: rows.rows(name) for name in NAMES}
    renamed = {
        _exporter(row) for series in by_name.values() for row in series if _is_renamed(row.labels)
    }
    for name, series in by_name.items():
        newest = _newest(series, node=node)
        for row in series:
            key = _key(row, node=node)
            if row.at is None or row.at == newest[key]:
                device = found.setdefault(key, _Rows())
                _gather(device, name, row, at=at, renamed=_exporter(row) in renamed)
    if not any(device.used_by for device in found.values()):
        message = f"no {USED} series came: is this dcgm-exporter, with its default counters?"
        raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)
    return DcgmReading(devices=tuple(_device(key, found[key]) for key in sorted(found)))


def follow(before: DcgmReading | None, now: DcgmReading) -> DcgmReading:
    """Return a reading with what holds on of the one before, of the same source.

    A card with a fault that is on the page no more is still there, and still has it: one that has fallen off
    the bus has no values, and no rows.
    """
    if before is None:
        return now
    known = {device.key: device for device in before.devices}
    devices = []
    for device in now.devices:
        then = known.pop(device.key, None)
        if then is not None:
            fatal, since = follow_health(then.health, device.health)
            kept = replace(device.health, fatal_xid=fatal, slowed_since=since)
            device = replace(device, health=kept)  # noqa: PLW2901  the same one, with its past
        devices.append(device)
    speaking = {device.exporter: device.sampled_at for device in now.devices}
    missing = [
        replace(device, sampled_at=speaking[device.exporter])
        for device in known.values()
        if device.health.fatal_xid and device.exporter in speaking
    ]
    devices += missing[:_MISSING_KEPT_MAX]
    return DcgmReading(devices=tuple(sorted(devices, key=lambda device: device.key)))


def _exporter(row: SeriesRow) -> Exporter:
    return row.labels.get("instance", ""), row.labels.get("job", "")


def _is_renamed(labels: Mapping[str, str]) -> bool:
    """Whether Prometheus gave the exporter's own labels other names: `pod` is the exporter's then."""
    return "exported_pod" in labels or "exported_namespace" in labels


def _key(row: SeriesRow, *, node: str | None) -> DeviceKey:
    """Return what tells one device from another.

    `node` is put there by Prometheus from its discovery; `Hostname`, which newer exporters spell
    small, is the exporter's own idea, in older ones its pod's name.
    """
    labels = row.labels
    where = node or labels.get("node") or labels.get("Hostname") or labels.get("hostname") or ""
    places = (labels.get(name) for name in ("UUID", "uuid", "pci_bus_id", "device", "gpu"))
    card = next((place for place in places if place), "")
    return _exporter(row), where, card, labels.get("GPU_I_ID", "")


def _newest(rows: Iterable[SeriesRow], *, node: str | None) -> dict[DeviceKey, float]:
    """Return the time of each device's newest row.

    A device's series gets other labels whenever its pod changes, and Prometheus still holds the old
    one for a while: a GPU that was given back a minute ago would look as if it were shared.
    """
    newest: dict[DeviceKey, float] = {}
    for row in rows:
        key = _key(row, node=node)
        newest[key] = max(newest.get(key, -math.inf), -math.inf if row.at is None else row.at)
    return newest


def _gather(device: _Rows, name: str, row: SeriesRow, *, at: float, renamed: bool) -> None:
    """Put one row into its device."""
    device.has_uuid = device.has_uuid or bool(row.labels.get("UUID") or row.labels.get("uuid"))
    device.shared = device.shared or "vgpu" in row.labels
    holder = _holder(row.labels, renamed=renamed)
    if holder is not None:
        device.pods.add(holder)
    device.at = min(device.at, at, math.inf if row.at is None else row.at)
    if name == USED:
        device.used_by[holder] = _bytes(row.value)
    else:
        # Copies of one value; of an instance's and its card's the worse.
        device.health[name] = max(row.value, device.health.get(name, -math.inf))


def _device(key: DeviceKey, rows: _Rows) -> GpuDevice:
    exporter, node, card, instance = key
    return GpuDevice(
        exporter=exporter,
        node=node,
        card=card,
        has_uuid=rows.has_uuid,
        instance=instance,
        sampled_at=rows.at,
        pods=frozenset(rows.pods),
        used_bytes=_used(rows),
        used_by_pod=_parts(rows),
        shared=rows.shared,
        health=judge(rows.health, at=rows.at),
    )


def _holder(labels: Mapping[str, str], *, renamed: bool) -> PodKey | None:
    """Return the pod that holds the row's GPU; `pod_name` is the exporter's old spelling."""
    spellings = [("exported_pod", "exported_namespace"), ("pod_name", "pod_namespace")]
    if not renamed:
        spellings.append(("pod", "namespace"))
    for pod, namespace in spellings:
        name = labels.get(pod)
        if name:
            return None if _EXPORTER in name else (labels.get(namespace, ""), name)
    return None


def _bytes(mebibytes: float) -> float | None:
    """Convert a value; None where it is blank or no number."""
    if not 0 <= mebibytes < _BLANK_MIB:
        return None
    return mebibytes * _BYTES_PER_MIB


def _used(rows: _Rows) -> float | None:
    """The device's own usage: its own row, or any copy of it, never their sum."""
    if None in rows.used_by:
        return rows.used_by[None]
    return next(iter(rows.used_by.values()), None)


def _parts(rows: _Rows) -> dict[PodKey, float]:
    """Return each pod's part of a device's memory, where it is known."""
    if len(rows.pods) == 1 and None not in rows.used_by:
        parts: dict[PodKey, float | None] = dict.fromkeys(rows.pods, _used(rows))
    elif None in rows.used_by and any(
        used for holder, used in rows.used_by.items() if holder is not None
    ):
        parts = {pod: rows.used_by.get(pod) for pod in rows.pods}
    else:
        parts = {}
    return {pod: used for pod, used in parts.items() if used is not None}
