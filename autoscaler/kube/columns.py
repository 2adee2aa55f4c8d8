"""The columns of one observation, built in one pass over what the caches keep of each object.

At 5,000 replicas this runs on the event loop: fields are read by comprehensions and become arrays at
once; nothing is parsed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from autoscaler.core.contract.state import NO_NODE, NodeColumns, ReplicaColumns
from autoscaler.kube.samples import FramebufferSample, NodeGpuSample, PodKey, PodSample
from autoscaler.kube.watch.slim import SlimNode, SlimPod
from autoscaler.kube.watch.watch import Key

_NO_SAMPLE = PodSample()
_NO_FRAMEBUFFER = FramebufferSample(sampled_at=math.nan, used_bytes=math.nan)


def replica_columns(
    rows: Sequence[tuple[int, SlimPod]],
    *,
    node_index: Mapping[str, int],
    samples: Mapping[PodKey, PodSample],
    framebuffers: Mapping[PodKey, FramebufferSample],
) -> ReplicaColumns:
    """Columns of one model's replicas.

    Args:
        rows: (index of the pool, pod), in any order.
        node_index: Row of each node by name.
        samples: Last engine sample by pod.
        framebuffers: Last GPU memory by pod.
    """
    rows = sorted(rows, key=lambda row: (row[0], row[1].name))
    pods = [pod for _, pod in rows]
    keys = [(pod.namespace, pod.name) for pod in pods]
    engines = [samples.get(key, _NO_SAMPLE) for key in keys]
    memory = [framebuffers.get(key, _NO_FRAMEBUFFER) for key in keys]
    return ReplicaColumns(
        name=tuple(pod.name for pod in pods),
        pool=np.array([pool for pool, _ in rows], dtype=np.int64),
        node=np.array([node_index.get(pod.node, NO_NODE) for pod in pods], dtype=np.int64),
        created_at=np.array([pod.created_at for pod in pods], dtype=np.float64),
        scheduled_at=np.array([pod.scheduled_at for pod in pods], dtype=np.float64),
        unschedulable_since=np.array([pod.unschedulable_since for pod in pods], dtype=np.float64),
        ready=np.array([pod.ready for pod in pods], dtype=np.bool_),
        ready_at=np.array([pod.ready_at for pod in pods], dtype=np.float64),
        deleting=np.array([pod.deleting for pod in pods], dtype=np.bool_),
        grace_s=np.array([pod.grace_s for pod in pods], dtype=np.float64),
        # None becomes NaN
        sampled_at=np.array([s.sampled_at for s in engines], dtype=np.float64),
        waiting_requests=np.array([s.waiting_requests for s in engines], dtype=np.float64),
        running_requests=np.array([s.running_requests for s in engines], dtype=np.float64),
        kv_usage_ratio=np.array([s.kv_usage_ratio for s in engines], dtype=np.float64),
        finished_requests_total=np.array(
            [s.finished_requests_total for s in engines], dtype=np.float64
        ),
        prompt_tokens_total=np.array([s.prompt_tokens_total for s in engines], dtype=np.float64),
        generation_tokens_total=np.array(
            [s.generation_tokens_total for s in engines], dtype=np.float64
        ),
        preemptions_total=np.array([s.preemptions_total for s in engines], dtype=np.float64),
        framebuffer_used_bytes=np.array([s.used_bytes for s in memory], dtype=np.float64),
        framebuffer_at=np.array([s.sampled_at for s in memory], dtype=np.float64),
    )


def node_columns(
    names: Sequence[str],
    *,
    nodes: Mapping[Key, SlimNode],
    gone: AbstractSet[str],
    gpus: Mapping[str, NodeGpuSample],
    gpus_at_least: float,
) -> NodeColumns:
    """Columns of the nodes named, in the order given.

    Args:
        names: In order.
        nodes: All nodes there are.
        gone: Nodes known to be no more; one that is merely not known yet counts as there.
        gpus: Last reading by node.
        gpus_at_least: A reading older than this is unknown.
    """
    found = [nodes.get(("", name)) for name in names]
    readings = [gpus.get(name) for name in names]
    return NodeColumns(
        name=tuple(names),
        capacity_type=tuple(node.capacity_type if node else None for node in found),
        exists=np.array([name not in gone for name in names], dtype=np.bool_),
        ready=np.array(
            [
                node.ready if node else name not in gone
                for name, node in zip(names, found, strict=True)
            ],
            dtype=np.bool_,
        ),
        unschedulable=np.array(
            [node is not None and node.unschedulable for node in found], dtype=np.bool_
        ),
        cordoned_by_us=np.array(
            [node is not None and node.cordoned_by_us for node in found], dtype=np.bool_
        ),
        gpus_free=np.array(
            [
                reading.free if reading and reading.sampled_at >= gpus_at_least else math.nan
                for reading in readings
            ],
            dtype=np.float64,
        ),
    )
