"""What an engine is set to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The same for all models of an engine; a recording's header carries it."""

    tick_s: float = 5.0
    """Between two observations. Seconds, > 0."""
    policy: str = "economic"
    """A name in POLICIES; a model whose forecast is off has `reactive` whatever stands here."""
    cluster_age_s_max: float = 30.0
    """Older knowledge of the cluster is blind. Three of the watch cache's bookmarks."""
    start_without_windows: bool = False
    """Take windows as full from the start. For simulations that begin with the trace, never for a
    daemon: a restart must not forget into a scale-down."""
