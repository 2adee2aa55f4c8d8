"""Whom the sources read: the addresses of replicas and of exporters, as the caches have them."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.kube.samples import PodKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeTarget:
    """One replica whose serving engine is to be read."""

    key: PodKey
    uid: str
    """Tells a pod from a later one of the same name."""
    ip: str
    """Empty until it has one."""
    model: str
    """`ModelSpec.key`."""
    ready: bool
    """Whether its Ready condition is True, and it is not being deleted: only then must its port be open."""
    leaving: bool = False
    """It is being deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterTarget:
    """One pod of an exporter that runs beside the models, e.g. the DCGM exporter on a node."""

    key: PodKey
    uid: str
    """Tells a pod from a later one of the same name."""
    ip: str
    node: str
    """The node whose GPUs it reports."""
