"""What a run leaves behind, to be scored."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.contract.events import Event
from autoscaler.core.contract.scores import Scores
from simulations.agenda import seconds
from simulations.serving.columns import RequestColumns, RequestResults
from simulations.serving.objective import RequestObjective
from simulations.serving.profiles.profiles import Profile
from simulations.world.ledger import Ledger


@dataclass(slots=True, kw_only=True)
class EngineView:
    """What the engine said last, and what it had counted before the score began."""

    score_from_ns: int
    before: Scores | None = None
    """Its totals at the last decision before the score begins; None: there was none, or the score begins
    with the run."""
    last: Decision | None = None
    """None: it is no engine's run."""

    def hear(self, event: Event, outcome: Outcome) -> None:
        """Take in what the engine made of an event."""
        if outcome.decisions:
            (self.last,) = outcome.decisions
            if event.at < seconds(self.score_from_ns):
                self.before = self.last.scores


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
    score_from_ns: int = 0
    """Requests that arrived before were played and are not scored; what is paid counts from there."""
    cold_start_s: float = 0.0
    """Mean of the starts that are drawn."""
    judged_target: float | None = None
    """Requests in flight that a replica carries, whatever policies were told; None: the profile's."""
    engine: EngineView = field(default_factory=lambda: EngineView(score_from_ns=0))
    on_demand_kept: int | None = None
    """With spot: replicas that are on demand on purpose; None: there was no spot."""
