"""Decisions as a person would tell them: sentences made of what a decision says of itself, and nothing else."""

from __future__ import annotations

from autoscaler.explain.asked import AskedModel, asked_of, read_asked
from autoscaler.explain.explanation import Explanation, Section, explain
from autoscaler.explain.status import StatusRow, status_row

__all__ = [
    "AskedModel",
    "Explanation",
    "Section",
    "StatusRow",
    "asked_of",
    "explain",
    "read_asked",
    "status_row",
]
