"""dcgm-exporter's framebuffer series: memory by pod, and the GPUs that no pod holds.

What these series are not: a load signal (vLLM takes 92 % of a card at start, whatever the load). They
tell a loading replica from a stuck one, and how many GPUs a start can still have.

Choices, with their reasons:

- Who holds a GPU is in `exported_pod` where Prometheus renamed the exporter's labels (the chart's
  default), else in `pod`; a `pod` that is the exporter itself, an empty one or none: nobody.
- A MIG instance has its own framebuffer under its parent's UUID: the key is (UUID, GPU_I_ID). A node
  of MIG devices alone says nothing of free `nvidia.com/gpu` (with the strategy `single` an instance
  is one, with `mixed` none is): its free GPUs are unknown. Beside whole GPUs only the whole ones count.
- On a time-sliced device each sharing pod has a copy of the device's row, so that nothing is ever
  added up over pods. Only FB_USED is split by process, and only where the exporter can see processes:
  then the device's own row comes first, without a pod. Otherwise a pod's part is unknown; so it is
  when all parts read 0 beside a device in use, which is how an exporter without `hostPID` looks.
  How many slices are free is then unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from autoscaler.errors import SourceError
from autoscaler.kube.samples import FramebufferSample, NodeGpuSample, PodKey
from autoscaler.sources.pages.exposition import Rows, SeriesRow
from autoscaler.sources.pages.outcome import ReadOutcome

_USED = "DCGM_FI_DEV_FB_USED"
_FREE = "DCGM_FI_DEV_FB_FREE"
_RESERVED = "DCGM_FI_DEV_FB_RESERVED"
NAMES = (_USED, _FREE, _RESERVED)
"""Every series that is read. The last two tell which devices there are, and who holds them, where an
exporter's counters leave out the first."""

_BYTES_PER_MIB = 2**20
_BLANK_MIB = 2.0**40
"""Old exporters print blank values as 9223372036854775794; no card has an exbibyte."""
_EXPORTER = "dcgm-exporter"
"""In the name of the exporter's own pods, as its chart and the GPU Operator call them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DcgmReading:
    """What was read from exporters, by pod and by node."""

    framebuffers: Mapping[PodKey, FramebufferSample]
    """Pods whose memory is known on every GPU they hold."""
    nodes: Mapping[str, NodeGpuSample]
    """Nodes whose free GPUs are known."""


_Key: TypeAlias = tuple[str, str, str]
"""Node, UUID, MIG instance."""


@dataclass(slots=True)
class _Device:
    """Rows of one GPU or MIG instance, while they are gathered."""

    node: str
    uuid: str
    instance: str
    at: float = math.inf
    used_by: dict[PodKey | None, float | None] = field(default_factory=dict)
    pods: set[PodKey] = field(default_factory=set)
    shared: bool = False

    @property
    def used(self) -> float | None:
        """The device's own usage: its own row, or any copy of it, never their sum."""
        if None in self.used_by:
            return self.used_by[None]
        return next(iter(self.used_by.values()), None)


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
    devices: dict[_Key, _Device] = {}
    for name in NAMES:
        found = rows.rows(name)
        newest = _newest(found, node=node)
        for row in found:
            key = _key(row, node=node)
            if row.at is None or row.at == newest[key]:
                _gather(devices.setdefault(key, _Device(*key)), name, row, at=at)
    if not devices:
        message = f"no {_USED} series came: is this dcgm-exporter, with its default counters?"
        raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)
    ordered = [devices[key] for key in sorted(devices)]
    return DcgmReading(framebuffers=_framebuffers(ordered), nodes=_free_gpus(ordered))


def _key(row: SeriesRow, *, node: str | None) -> _Key:
    """Return what tells one device from another: node, UUID and MIG instance.

    `node` is put there by Prometheus from its discovery; `Hostname`, which newer exporters spell
    small, is the exporter's own idea, in older ones its pod's name.
    """
    labels = row.labels
    where = node or labels.get("node") or labels.get("Hostname") or labels.get("hostname") or ""
    return where, labels.get("UUID") or labels.get("uuid") or "", labels.get("GPU_I_ID", "")


def _newest(rows: Iterable[SeriesRow], *, node: str | None) -> dict[_Key, float]:
    """Return the time of each device's newest row.

    A device's series gets other labels whenever its pod changes, and Prometheus still holds the old
    one for a while: a GPU that was given back a minute ago would look as if it were shared.
    """
    newest: dict[_Key, float] = {}
    for row in rows:
        key = _key(row, node=node)
        newest[key] = max(newest.get(key, -math.inf), -math.inf if row.at is None else row.at)
    return newest


def _gather(device: _Device, name: str, row: SeriesRow, *, at: float) -> None:
    """Put one row into its device."""
    device.at = min(device.at, at, math.inf if row.at is None else row.at)
    device.shared = device.shared or "vgpu" in row.labels
    holder = _holder(row.labels)
    if holder is not None:
        device.pods.add(holder)
    if name == _USED:
        device.used_by[holder] = _bytes(row.value)


def _holder(labels: Mapping[str, str]) -> PodKey | None:
    """Return the pod that holds the row's GPU; `pod_name` is the exporter's old spelling."""
    for pod, namespace in (
        ("exported_pod", "exported_namespace"),
        ("pod_name", "pod_namespace"),
        ("pod", "namespace"),
    ):
        name = labels.get(pod)
        if name:
            return None if _EXPORTER in name else (labels.get(namespace, ""), name)
    return None


def _bytes(mebibytes: float) -> float | None:
    """Convert a value; None where it is blank or no number."""
    if not 0 <= mebibytes < _BLANK_MIB:
        return None
    return mebibytes * _BYTES_PER_MIB


def _framebuffers(devices: Iterable[_Device]) -> dict[PodKey, FramebufferSample]:
    """Add up each pod's memory over the GPUs it holds; a pod with an unknown part is left out."""
    parts: dict[PodKey, list[float | None]] = {}
    sampled_at: dict[PodKey, float] = {}
    for device in devices:
        for pod in device.pods:
            parts.setdefault(pod, []).append(_used_by(device, pod))
            sampled_at[pod] = min(device.at, sampled_at.get(pod, math.inf))
    samples: dict[PodKey, FramebufferSample] = {}
    for pod, used in parts.items():
        known = [part for part in used if part is not None]
        if len(known) == len(used):
            samples[pod] = FramebufferSample(
                sampled_at=sampled_at[pod], used_bytes=math.fsum(known)
            )
    return samples


def _used_by(device: _Device, pod: PodKey) -> float | None:
    """Return one pod's part of a device's memory; None where it is unknown."""
    if len(device.pods) == 1 and None not in device.used_by:
        return device.used
    by_process = None in device.used_by and any(
        used for holder, used in device.used_by.items() if holder is not None
    )
    return device.used_by.get(pod) if by_process else None


def _free_gpus(devices: Iterable[_Device]) -> dict[str, NodeGpuSample]:
    """Count the whole GPUs that no pod holds, on the nodes where that is known."""
    by_node: dict[str, list[_Device]] = {}
    for device in devices:
        by_node.setdefault(device.node, []).append(device)
    samples: dict[str, NodeGpuSample] = {}
    for node, held in by_node.items():
        whole = [device for device in held if not device.instance]
        if not node or not whole or any(device.shared for device in whole):
            continue
        samples[node] = NodeGpuSample(
            sampled_at=min(device.at for device in whole),
            free=sum(not device.pods for device in whole),
        )
    return samples
