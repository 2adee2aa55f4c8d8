"""A run over time, a few hundred points whatever its length: what the report's charts are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.core.contract.state import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Columns over the same moments."""

    hours: FloatArray
    """Middle of each slot, from the trace's start."""
    on_demand: FloatArray
    """Replicas paid for, mean of the slot."""
    spot: FloatArray
    waiting: FloatArray
    """Requests that have no first token yet, at the slot's middle."""
    ttft_p95_s: FloatArray
    """Of the requests that arrived in the slot; NaN: none was completed."""
    lost: FloatArray
    """Requests lost in the slot."""
    interruptions: FloatArray | None = None
    """Nodes with a replica that were noticed, or lost without a notice, in the slot; None: not kept."""
