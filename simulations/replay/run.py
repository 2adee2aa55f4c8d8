"""What a run leaves behind, to be scored."""

from __future__ import annotations

from dataclasses import dataclass

from simulations.serving.columns import RequestColumns, RequestResults
from simulations.serving.objective import RequestObjective
from simulations.serving.profiles.profiles import Profile
from simulations.world.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All that a run leaves behind."""

    trace: str
    policy: str
    seed: int
    requests: RequestColumns
    results: RequestResults
    ledger: Ledger
    profile: Profile
    objective: RequestObjective
    end_ns: int
    """The trace's end."""
    wall_s: float
    on_demand_kept: int | None = None
    """With spot: replicas that are on demand on purpose; None: there was no spot."""
