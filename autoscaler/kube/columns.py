"""The columns of one observation, built in one pass over what the caches keep of each object.

At 5,000 replicas this runs on the event loop: fields are read by comprehensions and become arrays at
once; nothing is parsed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from typing import Any

import numpy as np

from autoscaler.core.contract.state import NO_NODE, FloatArray, NodeColumns, ReplicaColumns
from autoscaler.kube.histogram_columns import histogram_columns
from autoscaler.kube.samples import (
    HISTOGRAMS,
    FramebufferSample,
    NodeGpuSample,
    PodKey,
    PodSample,
)
from autoscaler.kube.watch.frames import Key
from autoscaler.kube.watch.slim import SlimNode, SlimPod

_NO_SAMPLE = PodSample()
_NO_FRAMEBUFFER = FramebufferSample(sampled_at=math.nan, used_bytes=math.nan)
_POD_TIMES = (
    "created_at",
    "scheduled_at",
    "unschedulable_since",
    "ready_at",
    "not_ready_since",
    "deleting_since",
    "grace_s",
)
_POD_FLAGS = ("ready", "deleting", "deletion_cost_ours")
_SIGNALS = tuple(field.name for field in fields(PodSample) if field.name not in HISTOGRAMS)
"""Each of these fields is a column of the same name."""


def replica_columns(
    rows: Sequence[tuple[int, SlimPod]],
    *,
    node_index: Mapping[str, int],
    samples: Mapping[PodKey, PodSample],
    framebuffers: Mapping[PodKey, FramebufferSample],
    gpus: Mapping[str, NodeGpuSample],
) -> ReplicaColumns:
    """Columns of one model's replicas.

    Args:
        rows: (index of the pool, pod), in any order.
        node_index: Row of each node by name.
        samples: Last engine sample by pod.
        framebuffers: Last GPU memory by pod.
        gpus: Last reading by node, without those that are too old to be believed.
    """
    rows = sorted(rows, key=lambda row: (row[0], row[1].name))
    pods = [pod for _, pod in rows]
    keys = [(pod.namespace, pod.name) for pod in pods]
    engines = [samples.get(key, _NO_SAMPLE) for key in keys]
    memory = [framebuffers.get(key, _NO_FRAMEBUFFER) for key in keys]
    columns: dict[str, Any] = {
        **{name: _floats(pods, name) for name in _POD_TIMES},
        **{name: np.array([getattr(pod, name) for pod in pods], np.bool_) for name in _POD_FLAGS},
        **{name: _floats(engines, name) for name in _SIGNALS},
        **{
            name: histogram_columns([getattr(engine, name) for engine in engines])
            for name in HISTOGRAMS
        },
    }
    return ReplicaColumns(
        name=tuple(pod.name for pod in pods),
        pool=np.array([pool for pool, _ in rows], dtype=np.int64),
        node=np.array([node_index.get(pod.node, NO_NODE) for pod in pods], dtype=np.int64),
        framebuffer_used_bytes=_floats(memory, "used_bytes"),
        framebuffer_at=_floats(memory, "sampled_at"),
        gpus_unhealthy=_unhealthy(pods, gpus),
        deletion_cost=np.array([pod.deletion_cost for pod in pods], dtype=np.int64),
        **columns,
    )


def _unhealthy(pods: Sequence[SlimPod], gpus: Mapping[str, NodeGpuSample]) -> FloatArray:
    """Return how many of each pod's GPUs can carry none; NaN: unknown."""
    if not gpus:
        return np.full(len(pods), math.nan)
    told = [
        math.nan if gpu is None else gpu.unhealthy_of((pod.namespace, pod.name))
        for pod, gpu in ((pod, gpus.get(pod.node)) for pod in pods)
    ]
    return np.array(told, dtype=np.float64)


def _floats(items: Sequence[object], name: str) -> FloatArray:
    """One field of each as a column; None becomes NaN."""
    return np.array([getattr(item, name) for item in items], dtype=np.float64)


def node_columns(
    names: Sequence[str],
    *,
    nodes: Mapping[Key, SlimNode],
    gone: AbstractSet[str],
    gpus: Mapping[str, NodeGpuSample],
) -> NodeColumns:
    """Columns of the nodes named, in the order given.

    Args:
        names: In order.
        nodes: All nodes there are.
        gone: Nodes known to be no more; one that is merely not known yet counts as there.
        gpus: Last reading by node, without those that are too old to be believed.
    """
    found = [nodes.get(("", name)) for name in names]
    exists = [name not in gone for name in names]
    seen = zip(found, exists, strict=True)
    readings = [gpus.get(name) for name in names]
    free = [_free(node, gpu) for node, gpu in zip(found, readings, strict=True)]
    unhealthy = [gpu and gpu.unhealthy for gpu in readings]
    return NodeColumns(
        name=tuple(names),
        capacity_type=tuple(node.capacity_type if node else None for node in found),
        zone=tuple(node.zone if node else "" for node in found),
        instance_type=tuple(node.instance_type if node else "" for node in found),
        exists=np.array(exists, dtype=np.bool_),
        ready=np.array([node.ready if node else there for node, there in seen], dtype=np.bool_),
        unheard=np.array([bool(n and n.unheard) for n in found], dtype=np.bool_),
        unschedulable=np.array([bool(n and n.unschedulable) for n in found], dtype=np.bool_),
        cordoned_by_us=np.array([bool(n and n.cordoned_by_us) for n in found], dtype=np.bool_),
        marked_drained=np.array([bool(n and n.marked_drained) for n in found], dtype=np.bool_),
        gpus_free=np.array(free, dtype=np.float64),  # None becomes NaN
        gpus_unhealthy=np.array(unhealthy, dtype=np.float64),
    )


def _free(node: SlimNode | None, gpu: NodeGpuSample | None) -> int | None:
    """Return a node's free GPUs; None: unknown.

    So it is where the node offers another number of them than its exporter sees: cards are shared, when
    the exporter names but one of a card's pods, or an exporter speaks for a part of them.
    """
    if gpu is None or node is None or (node.gpus is not None and node.gpus != gpu.whole):
        return None
    return gpu.free
