"""The last value of everything that was read, with its time; what a tick takes its columns from.

A value stays until a newer one replaces it or its pod is gone. Whether it is too old to be believed is
the core's judgement, which sees its time.
"""

from __future__ import annotations

from collections.abc import Iterable

from autoscaler.kube.samples import FramebufferSample, NodeGpuSample, PodKey, PodSample
from autoscaler.kube.targets import ScrapeTarget
from autoscaler.sources.dcgm import DcgmReading


class LastValues:
    """Last values by pod and by node. Only pods that are targets have any."""

    def __init__(self) -> None:
        self._targets: dict[PodKey, ScrapeTarget] = {}
        self._samples: dict[PodKey, PodSample] = {}
        self._exporters: frozenset[str] = frozenset()
        self._dcgm: dict[str, DcgmReading] = {}

    def set_targets(self, targets: Iterable[ScrapeTarget]) -> None:
        """Replace the targets; what was read of a pod that is gone, or replaced, goes with it."""
        before, self._targets = self._targets, {target.key: target for target in targets}
        self._samples = {
            key: sample
            for key, sample in self._samples.items()
            if key in self._targets and self._targets[key].uid == before[key].uid
        }

    def targets(self, model: str) -> list[ScrapeTarget]:
        """Return the targets of one model."""
        return [target for target in self._targets.values() if target.model == model]

    def put_sample(self, target: ScrapeTarget, sample: PodSample) -> None:
        """Keep a sample, unless its pod has gone meanwhile or a newer one is here."""
        current = self._targets.get(target.key)
        if current is None or current.uid != target.uid:
            return
        known = self._samples.get(target.key)
        if known is None or known.sampled_at <= sample.sampled_at:
            self._samples[target.key] = sample

    def set_exporters(self, exporters: Iterable[str]) -> None:
        """Replace the exporters, by name; readings of any other are forgotten."""
        self._exporters = frozenset(exporters)
        self._dcgm = {
            name: reading for name, reading in self._dcgm.items() if name in self._exporters
        }

    def put_dcgm(self, exporter: str, reading: DcgmReading) -> None:
        """Keep the last reading of an exporter, or of a Prometheus, unless it has gone meanwhile."""
        if exporter in self._exporters:
            self._dcgm[exporter] = reading

    def samples(self) -> dict[PodKey, PodSample]:
        """Return the last sample of each target that ever had one."""
        return dict(self._samples)

    def framebuffers(self) -> dict[PodKey, FramebufferSample]:
        """Return the last framebuffer of each target; of several sources, the newest."""
        newest: dict[PodKey, FramebufferSample] = {}
        for reading in self._dcgm.values():
            for key, sample in reading.framebuffers.items():
                if key in self._targets and _newer(sample, newest.get(key)):
                    newest[key] = sample
        return newest

    def nodes(self) -> dict[str, NodeGpuSample]:
        """Return the last count of free GPUs of each node; of several sources, the newest."""
        newest: dict[str, NodeGpuSample] = {}
        for reading in self._dcgm.values():
            for node, sample in reading.nodes.items():
                if _newer(sample, newest.get(node)):
                    newest[node] = sample
        return newest


def _newer(
    sample: FramebufferSample | NodeGpuSample, known: FramebufferSample | NodeGpuSample | None
) -> bool:
    """Tell whether a sample replaces the one known."""
    return known is None or sample.sampled_at > known.sampled_at
