"""Hindsight while running: what an HPA, KEDA and a static fleet would have cost and attained on a model's traffic.

Nothing that decides reads any of it.
"""

from __future__ import annotations

from autoscaler.core.hindsight.watch import FleetLook, HindsightMemory, watch

__all__ = ["FleetLook", "HindsightMemory", "watch"]
