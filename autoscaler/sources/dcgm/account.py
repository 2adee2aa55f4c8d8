"""What is known of GPUs by pod and by node, from the devices of all exporters.

A GPU is free only where that is shown: it is whole, named, idle, well, and no pod holds it. Where labels are
missing, where exporters disagree or where cards are shared or cut, how many are free is unknown.

- No pod label on any row of a node whose cards hold memory: the exporter does not know pods (it asks the
  kubelet, which may be switched off, or not know the devices' names).
- Labels on some, and memory in use on a card without: somebody else's, who did not ask Kubernetes. Not free.
- A node of MIG devices alone says nothing of free `nvidia.com/gpu` (with the strategy `single` an instance
  is one, with `mixed` none is). Beside whole GPUs only the whole ones count.
- Two exporters on one node have the same UUIDs: counted once. Where they name different pods for a card, its
  holder is unknown, and with it how many are free; one that names no pod at all has no say in that.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autoscaler.foreign_text import shown
from autoscaler.kube.samples import FramebufferSample, NodeGpuSample, PodKey
from autoscaler.sources.dcgm.page import DcgmReading, Exporter, GpuDevice

IDLE_BYTES_MAX = 2.0**30
"""An idle card reads up to some 700 MiB, where its driver counts what it reserves, or MPS and persistence
daemons hold a context. A replica that serves takes most of a card."""
LAG_S_MAX = 45.0
"""Of two exporters the one that is so much older has ended: three periods of reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuAccount:
    """What is known, by pod and by node."""

    framebuffers: Mapping[PodKey, FramebufferSample]
    """Pods whose memory is known on every GPU they hold."""
    nodes: Mapping[str, NodeGpuSample]
    """Nodes of which something is known."""


class _Gpu(NamedTuple):
    """One GPU or MIG instance, as all exporters together have it."""

    card: str
    whole: bool
    named: bool
    """What it is called tells it from all others of the node."""
    sampled_at: float
    pods: frozenset[PodKey]
    disputed: bool
    """Exporters disagree on who holds it."""
    shared: bool
    used_bytes: float | None
    """The most that anybody says; None: somebody does not know."""
    used_by_pod: Mapping[PodKey, float]
    fault: str
    health_known: bool


def account(readings: Iterable[DcgmReading]) -> GpuAccount:
    """Put the devices of all sources together."""
    by_node: dict[str, list[_Told]] = {}
    for number, reading in enumerate(readings):
        for device in reading.devices:
            told = _Told(source=(number, device.exporter), device=device)
            by_node.setdefault(device.node, []).append(told)
    gpus = {node: _join(told) for node, told in by_node.items()}
    return GpuAccount(
        framebuffers=_framebuffers(gpu for of_node in gpus.values() for gpu in of_node),
        nodes={node: _node(of_node) for node, of_node in sorted(gpus.items()) if node},
    )


class _Told(NamedTuple):
    """One device, and who says so."""

    source: tuple[int, Exporter]
    device: GpuDevice


def _join(of_node: Sequence[_Told]) -> list[_Gpu]:
    """Join what exporters say of the devices of one node."""
    newest = max(device.sampled_at for _, device in of_node)
    of_node = [told for told in of_node if newest - told.device.sampled_at <= LAG_S_MAX]
    naming = {source for source, device in of_node if device.pods}
    # Without UUIDs the same card might be counted under two names.
    named = len({source for source, _ in of_node}) == 1
    named = named and len({device.has_uuid for _, device in of_node}) == 1
    by_key: dict[tuple[str, str], list[_Told]] = {}
    for told in of_node:
        by_key.setdefault((told.device.card, told.device.instance), []).append(told)
    return [_join_device(by_key[key], naming=naming, named=named) for key in sorted(by_key)]


def _join_device(
    told: Sequence[_Told], *, naming: Collection[tuple[int, Exporter]], named: bool
) -> _Gpu:
    devices = [device for _, device in told]
    heard = [device for source, device in told if source in naming] or devices
    holders = {device.pods for device in heard}
    used = [device.used_bytes for device in devices]
    known = [value for value in used if value is not None]
    return _Gpu(
        card=devices[0].card,
        whole=not devices[0].instance,
        named=bool(devices[0].card) and (devices[0].has_uuid or named),
        sampled_at=min(device.sampled_at for device in devices),
        pods=frozenset[PodKey]().union(*holders),
        disputed=len(holders) > 1,
        shared=any(device.shared for device in devices),
        used_bytes=max(known) if len(known) == len(used) else None,
        used_by_pod=max(heard, key=lambda device: device.sampled_at).used_by_pod,
        fault=next((device.fault for device in devices if device.fault), ""),
        health_known=any(device.health.known for device in devices),
    )


def _framebuffers(gpus: Iterable[_Gpu]) -> dict[PodKey, FramebufferSample]:
    """Add up each pod's memory over the GPUs it holds; a pod with an unknown part is left out."""
    parts: dict[PodKey, list[float]] = {}
    sampled_at: dict[PodKey, float] = {}
    for gpu in gpus:
        for pod in gpu.pods:
            used = math.nan if gpu.disputed else gpu.used_by_pod.get(pod, math.nan)
            parts.setdefault(pod, []).append(used)
            sampled_at[pod] = min(gpu.sampled_at, sampled_at.get(pod, math.inf))
    sums = {pod: math.fsum(used) for pod, used in parts.items()}
    return {
        pod: FramebufferSample(sampled_at=sampled_at[pod], used_bytes=used)
        for pod, used in sums.items()
        if not math.isnan(used)
    }


def _node(gpus: Sequence[_Gpu]) -> NodeGpuSample:
    names_pods = any(gpu.pods for gpu in gpus)
    whole = [gpu for gpu in gpus if gpu.whole]
    faulty = [gpu for gpu in gpus if gpu.fault]
    unhealthy_by_pod: dict[PodKey, int] = {}
    for gpu in faulty:
        for pod in gpu.pods:
            unhealthy_by_pod[pod] = unhealthy_by_pod.get(pod, 0) + 1
    return NodeGpuSample(
        sampled_at=min(gpu.sampled_at for gpu in gpus),
        whole=len(whole),
        free=_free(whole, names_pods=names_pods),
        unhealthy=len({gpu.card for gpu in faulty}) if _health_known(gpus) else None,
        unhealthy_by_pod=unhealthy_by_pod,
        holders_known=not faulty or (names_pods and not any(gpu.disputed for gpu in faulty)),
        faults=tuple(
            f"{shown(gpu.card) or 'a card without a name'}: {gpu.fault}" for gpu in faulty
        ),
    )


def _health_known(gpus: Iterable[_Gpu]) -> bool:
    return any(gpu.health_known or gpu.fault for gpu in gpus)


def _free(whole: Sequence[_Gpu], *, names_pods: bool) -> int | None:
    """Count the GPUs that are shown to be free; None: it is not known."""
    if not whole or any(gpu.shared or gpu.disputed or not gpu.named for gpu in whole):
        return None
    unheld = [gpu for gpu in whole if not gpu.pods and not gpu.fault]
    if any(gpu.used_bytes is None for gpu in unheld):
        return None
    idle = [gpu for gpu in unheld if (gpu.used_bytes or 0.0) <= IDLE_BYTES_MAX]
    return len(idle) if names_pods or len(idle) == len(unheld) else None
