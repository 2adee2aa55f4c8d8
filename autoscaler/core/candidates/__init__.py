"""Rules played on the model's own traffic: which would have been the cheapest that keeps the objective."""

from __future__ import annotations

from autoscaler.core.candidates.choice import Standing
from autoscaler.core.candidates.minutes import play_minutes
from autoscaler.core.candidates.play import (
    CandidatesMemory,
    Limits,
    Played,
    TickTraffic,
    limits_of,
    play,
)
from autoscaler.core.candidates.rules import Rule

__all__ = [
    "CandidatesMemory",
    "Limits",
    "Played",
    "Rule",
    "Standing",
    "TickTraffic",
    "limits_of",
    "play",
    "play_minutes",
]
