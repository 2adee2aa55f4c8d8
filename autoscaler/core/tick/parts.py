"""The parts that an engine is built of, so that a test can leave one out.

Production uses `Parts()`. `tests/mutations.py` replaces one part at a time by its identity and shows
which test notices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autoscaler.core.contract.state import NodeColumns
from autoscaler.core.demand import demand
from autoscaler.core.forecast import Forecast, ForecastMemory, Scores, forecast, learn, scores
from autoscaler.core.guards import GUARDS, Guard
from autoscaler.core.policy import POLICIES, Policy
from autoscaler.core.supply import cold_starts, framebuffers
from autoscaler.core.supply.doomed import Doom, find_doomed
from autoscaler.core.supply.free_gpus import FreeGpus
from autoscaler.core.supply.stock import WatchLoading
from autoscaler.core.tick.drain import drain


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the engine calls."""

    guards: Mapping[str, Guard] = field(default_factory=lambda: GUARDS)
    policies: Mapping[str, Policy] = field(default_factory=lambda: POLICIES)
    measure_demand: Callable[..., demand.Demand] = demand.measure_demand
    learn: Callable[..., None] = learn
    forecast: Callable[..., Forecast | None] = forecast
    scores: Callable[[ForecastMemory], Scores] = scores
    observe_starts: Callable[..., None] = cold_starts.observe_starts
    cold_start_s: Callable[..., float] = cold_starts.cold_start_s
    finished_cold_start_s: Callable[..., float] = cold_starts.finished_cold_start_s
    find_doomed: Callable[..., Doom | None] = find_doomed
    drain: Callable[..., None] = drain
    free_gpus: Callable[[NodeColumns, Doom | None], FreeGpus] = lambda nodes, doom: FreeGpus(
        nodes=nodes, doom=doom
    )
    watch_loading: WatchLoading = framebuffers.watch_loading
