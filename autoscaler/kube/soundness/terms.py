"""What is asked of a scale target: the side of the resource, beside the facts of the object."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.core.contract.spec import ModelSpec, PoolSpec
from autoscaler.core.contract.state import CapacityType
from autoscaler.kube.soundness.budgets import BudgetFacts
from autoscaler.settings import MetricsSettings, MetricsSource


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTerms:
    """What one pool's target is to fulfil."""

    capacity_type: CapacityType
    engine: str
    """A word of `spec.engine`; empty: by what the object says itself."""
    warm: bool
    """It keeps the warm floor that is asked for on its capacity type."""
    replicas_min: int
    cold_start_s: float
    """Measured, or what the resource believes."""
    drain_margin_s: float
    port: int | None
    """Of the pods' page; None: no page of a pod is read, or it is not known here."""
    ports: tuple[int, ...] = ()
    """All that are read; empty: `port` alone."""
    scheme: str = ""
    """Of the page; empty: not known here."""
    budgets: tuple[BudgetFacts, ...] | None = None
    """The PodDisruptionBudgets of its namespace; None: they were not read."""


def terms_of(
    model: ModelSpec,
    pool: PoolSpec,
    *,
    metrics: MetricsSettings | None = None,
    budgets: tuple[BudgetFacts, ...] | None = None,
    measured_s: float | None = None,
) -> TargetTerms:
    """Put together what is asked of one pool's target.

    Args:
        model: The model.
        pool: One of its pools.
        metrics: How its pages are read; None: not known here.
        budgets: The disruption budgets of its namespace; None: they were not read.
        measured_s: What a start of its replicas took; None: not measured, the resource's word is taken.
    """
    floor = model.warm_floor
    pages = metrics if metrics is not None and metrics.source is MetricsSource.PODS else None
    return TargetTerms(
        capacity_type=pool.capacity_type,
        engine="" if metrics is None else metrics.engine.value,
        warm=floor.possible and floor.capacity_type is pool.capacity_type,
        replicas_min=model.min_replicas,
        cold_start_s=model.cold_start_prior_s if measured_s is None else measured_s,
        drain_margin_s=model.spot.drain_margin_s,
        port=None if pages is None else pages.ports[0],
        ports=() if pages is None else pages.ports,
        scheme="" if pages is None else pages.scheme,
        budgets=budgets,
    )
