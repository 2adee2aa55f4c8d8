"""All that the engine remembers: the one mutable part of `core`.

Nothing here is needed for safety. Promises stand on the scale targets; what to do for a doomed node
follows from what is observed; and a memory that begins empty holds every scale until its windows are
full. A checkpoint makes a recording's segment replay alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.core.contract.codec import fleet_from_builtins, fleet_to_builtins
from autoscaler.core.contract.plain import (
    Plain,
    plain_float,
    read_float,
    read_int,
    read_list,
    read_optional_float,
    read_record,
)
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.demand.demand import DemandMemory
from autoscaler.core.forecast import ForecastMemory
from autoscaler.core.hpa import HpaMemory
from autoscaler.core.supply.cold_starts import ColdStartMemory
from autoscaler.core.supply.stock import StockMemory


@dataclass(slots=True, kw_only=True)
class ModelMemory:
    """What is remembered of one model."""

    demand: DemandMemory = field(default_factory=DemandMemory)
    cold_starts: dict[str, ColdStartMemory] = field(default_factory=dict)
    """By pool."""
    forecast: ForecastMemory = field(default_factory=ForecastMemory)
    stock: StockMemory = field(default_factory=StockMemory)
    hpa: HpaMemory = field(default_factory=HpaMemory)
    """The stabilization window and the rate limits' events."""
    proposed: int | None = None
    """The policy's last proposal, where the next search begins; no part of a checkpoint, for it changes
    no result."""
    first_at: float | None = None
    """The first observation; nothing scales down until a window has passed since."""
    placed: dict[str, int] = field(default_factory=dict)
    """By pool: what was last decided without the fallback; tells how much of a pool is fallback."""
    standing: int = 0
    """Stand-ins outside the preferred pool, decided or not gone yet."""
    refusals: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By target of a command: reason and message of the last refusal, until one is accepted."""

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "demand": self.demand.to_builtins(),
            "cold_starts": [[pool, kept.to_builtins()] for pool, kept in self.cold_starts.items()],
            "forecast": self.forecast.to_builtins(),
            "stock": self.stock.to_builtins(),
            "hpa": self.hpa.to_builtins(),
            "first_at": plain_float(self.first_at),
            "placed": [[pool, replicas] for pool, replicas in self.placed.items()],
            "standing": self.standing,
            "refusals": [[target, *found] for target, found in self.refusals.items()],
        }

    @classmethod
    def from_builtins(cls, value: Plain) -> ModelMemory:
        """Read back what `to_builtins` wrote."""
        record = read_record(value)
        cold_starts = [read_list(pair) for pair in read_list(record["cold_starts"])]
        placed = [read_list(pair) for pair in read_list(record["placed"])]
        refusals = [read_list(row) for row in read_list(record["refusals"])]
        return cls(
            demand=DemandMemory.from_builtins(record["demand"]),
            cold_starts={
                str(pool): ColdStartMemory.from_builtins(kept) for pool, kept in cold_starts
            },
            forecast=ForecastMemory.from_builtins(record["forecast"]),
            stock=StockMemory.from_builtins(record["stock"]),
            hpa=HpaMemory.from_builtins(record["hpa"]),
            first_at=read_optional_float(record["first_at"]),
            placed={str(pool): read_int(replicas) for pool, replicas in placed},
            standing=read_int(record["standing"]),
            refusals={
                str(target): (str(reason), str(message)) for target, reason, message in refusals
            },
        )


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
    level_change: int = 0
    """Of its replicas, what is no fallback: with it, the rescale that rate limits count."""

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "id": self.id,
            "kind": self.kind,
            "target": self.target,
            "model": self.model,
            "value": self.value,
            "expires_at": self.expires_at,
            "accepted": self.accepted,
            "level_change": self.level_change,
        }

    @classmethod
    def from_builtins(cls, value: Plain) -> Pending:
        """Read back what `to_builtins` wrote."""
        record = read_record(value)
        kept = record["value"]
        return cls(
            id=str(record["id"]),
            kind=str(record["kind"]),
            target=str(record["target"]),
            model=str(record["model"]),
            value=kept if isinstance(kept, int | str) else None,
            expires_at=read_float(record["expires_at"]),
            accepted=bool(record["accepted"]),
            level_change=read_int(record["level_change"]),
        )


@dataclass(slots=True, kw_only=True)
class Memory:
    """All of it. The engine alone holds it."""

    at: float | None = None
    """The last event."""
    fleet: FleetSpec | None = None
    models: dict[str, ModelMemory] = field(default_factory=dict)
    pending: dict[tuple[str, str], Pending] = field(default_factory=dict)
    """By kind and target: a newer command to the same target takes the older one's place."""

    def to_builtins(self) -> dict[str, Plain]:
        """Write a checkpoint."""
        return {
            "at": plain_float(self.at),
            "fleet": None if self.fleet is None else fleet_to_builtins(self.fleet),
            "models": [[key, kept.to_builtins()] for key, kept in self.models.items()],
            "pending": [pending.to_builtins() for pending in self.pending.values()],
        }

    @classmethod
    def from_builtins(cls, value: Plain) -> Memory:
        """Read back what `to_builtins` wrote."""
        record = read_record(value)
        fleet = record["fleet"]
        models = [read_list(pair) for pair in read_list(record["models"])]
        pending = [Pending.from_builtins(item) for item in read_list(record["pending"])]
        return cls(
            at=read_optional_float(record["at"]),
            fleet=None if fleet is None else fleet_from_builtins(fleet),
            models={str(key): ModelMemory.from_builtins(kept) for key, kept in models},
            pending={(item.kind, item.target): item for item in pending},
        )
