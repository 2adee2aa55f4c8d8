"""The last value of everything that was read, with its time; what a tick takes its columns from.

A value stays until a newer one replaces it or its pod is gone. Whether it is too old to be believed is
the core's judgement, which sees its time.
"""

from __future__ import annotations

from collections.abc import Iterable

from autoscaler.kube.samples import FramebufferSample, NodeGpuSample, PodKey, PodSample
from autoscaler.kube.targets import ScrapeTarget
from autoscaler.sources.dcgm import DcgmReading, GpuAccount, account, follow


class LastValues:
    """Last values by pod and by node. Only pods that are targets have any."""

    def __init__(self) -> None:
        self._targets: dict[PodKey, ScrapeTarget] = {}
        self._by_model: dict[str, list[ScrapeTarget]] = {}
        self._samples: dict[PodKey, PodSample] = {}
        self._exporters: frozenset[str] = frozenset()
        self._dcgm: dict[str, DcgmReading] = {}
        self._account: GpuAccount | None = None

    def set_targets(self, targets: Iterable[ScrapeTarget]) -> None:
        """Replace the targets; what was read of a pod that is gone, or replaced, goes with it."""
        before, self._targets = self._targets, {target.key: target for target in targets}
        self._by_model = {}
        for target in self._targets.values():
            self._by_model.setdefault(target.model, []).append(target)
        self._samples = {
            key: sample
            for key, sample in self._samples.items()
            if key in self._targets and self._targets[key].uid == before[key].uid
        }

    def targets(self, model: str) -> list[ScrapeTarget]:
        """Return the targets of one model."""
        return list(self._by_model.get(model, ()))

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
        self._account = None

    def put_dcgm(self, exporter: str, reading: DcgmReading) -> None:
        """Keep the last reading of an exporter, or of a Prometheus, unless it has gone meanwhile."""
        if exporter in self._exporters:
            self._dcgm[exporter] = follow(self._dcgm.get(exporter), reading)
            self._account = None

    def samples(self) -> dict[PodKey, PodSample]:
        """Return the last sample of each target that ever had one."""
        return dict(self._samples)

    def framebuffers(self) -> dict[PodKey, FramebufferSample]:
        """Return the GPU memory of each target, where it is known on every GPU it holds."""
        known = self._gpus().framebuffers
        return {key: sample for key, sample in known.items() if key in self._targets}

    def nodes(self) -> dict[str, NodeGpuSample]:
        """Return what is known of the GPUs of each node."""
        return dict(self._gpus().nodes)

    def _gpus(self) -> GpuAccount:
        """The account of all sources, made anew once something was read."""
        if self._account is None:
            self._account = account(self._dcgm.values())
        return self._account
