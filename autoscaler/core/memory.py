"""All that the engine remembers: the one mutable part of `core`.

Nothing here is needed for safety. Promises stand on the scale targets; what to do for a doomed node
follows from what is observed; and a memory that begins empty holds every scale until its windows are
full. A checkpoint makes a recording's segment replay alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.core.attainment.attainment import AttainmentMemory
from autoscaler.core.candidates import CandidatesMemory
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.demand.demand import DemandMemory
from autoscaler.core.forecast import ForecastMemory
from autoscaler.core.forecast.ramp import RampMemory
from autoscaler.core.hindsight import HindsightMemory
from autoscaler.core.hpa import HpaMemory, Slot
from autoscaler.core.scores.memory import ScoreMemory
from autoscaler.core.supply.cold_starts import ColdStartMemory
from autoscaler.core.supply.conflicts import WriterMemory
from autoscaler.core.supply.cooldown import CooldownMemory
from autoscaler.core.supply.departures import DepartureMemory
from autoscaler.core.supply.drains import DrainMemory
from autoscaler.core.supply.floor_stand_ins import FloorStandInMemory
from autoscaler.core.supply.rollouts import RolloutMemory
from autoscaler.core.supply.stock import StockMemory


@dataclass(slots=True, kw_only=True)
class VictimMemory:
    """What is remembered of telling ReplicaSets whom to delete."""

    forbidden_at: float | None = None
    """When a deletion cost was last refused for want of the right; None: it was not, or not since one was
    accepted."""
    forbidden: str = ""
    """What the API server said then."""
    accepted: bool = False
    """One was accepted: the right is there."""
    chosen: int = 0
    """Replicas that the last scale-down took."""
    untold: int = 0
    """Of these, ready ones that did not say, or not recently, what they had in flight."""


@dataclass(slots=True, kw_only=True)
class ModelMemory:
    """What is remembered of one model."""

    demand: DemandMemory = field(default_factory=DemandMemory)
    cold_starts: dict[str, ColdStartMemory] = field(default_factory=dict)
    """By pool."""
    candidates: CandidatesMemory = field(default_factory=CandidatesMemory)
    forecast: ForecastMemory = field(default_factory=ForecastMemory)
    ramp: RampMemory = field(default_factory=RampMemory)
    """Where the warm floor is to follow it."""
    floor_ahead_s: float = 0.0
    """How long before a schedule of the warm floor begins its replicas were asked for, until it does: what was begun
    goes on, also where starts turn out to be shorter."""
    stock: StockMemory = field(default_factory=StockMemory)
    rollouts: dict[str, RolloutMemory] = field(default_factory=dict)
    """By pool, of those that roll out."""
    cooldown: CooldownMemory = field(default_factory=CooldownMemory)
    drains: DrainMemory = field(default_factory=DrainMemory)
    hpa: HpaMemory = field(default_factory=HpaMemory)
    """The stabilization window and the rate limits' events."""
    spare: list[Slot] = field(default_factory=list)
    """What the loss budget asked for lately; none where it asked for nothing within a window."""
    proposed: int | None = field(default=None, init=False)
    """The policy's last proposal, where the next search begins; no part of a checkpoint, for it changes
    no result."""
    first_at: float | None = None
    """The first observation; nothing scales down until a window has passed since."""
    learnt_from: float | None = None
    """Since when something is known of its traffic: observed here, by an earlier process, or read as a history. None: nothing
    is."""
    known_from: float | None = None
    """Since when an earlier process had seen its traffic; None: what that knew of it was not taken in."""
    known_until: float | None = None
    """When the knowledge was written that was taken in; None: none was."""
    history_until: float | None = None
    """Until when a history of before was taken in; None: none was."""
    placed: dict[str, int] = field(default_factory=dict)
    """By pool: what was last decided without the fallback; tells how much of a pool is fallback."""
    stand_ins: int = 0
    """Stand-ins outside the preferred pool, decided or not gone yet."""
    floor_stand_ins: FloorStandInMemory = field(default_factory=FloorStandInMemory)
    """Those inside the preferred pool, for a warm floor of another one that is not ready."""
    attainment: AttainmentMemory = field(default_factory=AttainmentMemory)
    departures: DepartureMemory = field(default_factory=DepartureMemory)
    victims: VictimMemory = field(default_factory=VictimMemory)
    scores: ScoreMemory = field(default_factory=ScoreMemory)
    """Of what was decided; nothing that decides reads it."""
    hindsight: HindsightMemory = field(default_factory=HindsightMemory)
    """Of what others would have asked for; likewise."""
    writers: dict[str, WriterMemory] = field(default_factory=dict)
    """By scale target: who else wrote its replicas."""
    refusals: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By target of a command: reason and message of the last refusal, until one is accepted."""


@dataclass(slots=True, kw_only=True)
class Pending:
    """One command whose effect is not observed yet; it is not sent again meanwhile."""

    id: str
    kind: str
    """The command's class name."""
    target: str
    model: str
    value: int | str | None
    """Replicas, or the annotation."""
    expires_at: float
    accepted: bool = False
    serving_change: int = 0
    """Of its replicas, what is no fallback: with it, the rescale that rate limits count."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """All of it. The engine alone holds it."""

    at: float | None = None
    """The last event."""
    fleet: FleetSpec | None = None
    models: dict[str, ModelMemory] = field(default_factory=dict)
    pending: dict[tuple[str, str], Pending] = field(default_factory=dict)
    """By kind and target: a newer command to the same target takes the older one's place."""
