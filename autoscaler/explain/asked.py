"""What was asked of a model: as much of its specification as a reader of its decisions needs.

The page of the daemon has it beside each decision, and a recording the whole specification.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from autoscaler.core.contract.codec import from_builtins, to_builtins
from autoscaler.core.contract.spec import Mode, ModelSpec, Pause
from autoscaler.core.contract.state import CapacityType


class AskedPool(NamedTuple):
    """One pool."""

    pool: str
    target: str
    """As `Deployment/namespace/name`."""
    capacity_type: CapacityType
    price_usd_per_hour: float | None
    """Of one replica; None: not given."""


class AskedSchedule(NamedTuple):
    """A warm floor at certain times."""

    times: str
    replicas: int


class AskedFloor(NamedTuple):
    """The warm floor."""

    replicas: int
    capacity_type: CapacityType | None
    ramp: str
    schedules: tuple[AskedSchedule, ...]


class AskedObjective(NamedTuple):
    """What requests are promised."""

    ttft_s: float
    tpot_s: float
    attainment_ratio: float


class AskedModel(NamedTuple):
    """Of one model."""

    mode: Mode
    pause: Pause
    min_replicas: int
    max_replicas: int
    in_flight_requests: float
    """That one replica is said to carry: `targets.inFlightRequests`."""
    objective: AskedObjective
    warm_floor: AskedFloor
    pools: tuple[AskedPool, ...]


def asked_of(spec: ModelSpec) -> AskedModel:
    """Return what a specification asks."""
    floor, objective = spec.warm_floor, spec.objective
    return AskedModel(
        mode=spec.mode,
        pause=spec.pause,
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
        in_flight_requests=spec.targets.in_flight_requests,
        objective=AskedObjective(objective.ttft_s, objective.tpot_s, objective.attainment_ratio),
        warm_floor=AskedFloor(
            replicas=floor.replicas,
            capacity_type=floor.capacity_type,
            ramp=str(floor.ramp),
            schedules=tuple(
                AskedSchedule(schedule.text, schedule.replicas) for schedule in floor.schedules
            ),
        ),
        pools=tuple(
            AskedPool(
                pool.name,
                str(pool.target),
                pool.capacity_type,
                price_usd_per_hour=pool.price_usd_per_hour,
            )
            for pool in spec.pools
        ),
    )


def write_asked(asked: AskedModel) -> dict[str, Any]:
    """Write it as the daemon's page has it."""
    written: dict[str, Any] = to_builtins(asked, AskedModel)
    return written


def read_asked(plain: object) -> AskedModel:
    """Read it from the daemon's page.

    Raises:
        Unreadable: It is from another version.
    """
    asked: AskedModel = from_builtins(plain, AskedModel)
    return asked
