"""How long replicas took to finish what they held: from the beginning of a deletion until they were gone.

So a pod under a notice can be told to go as late as its requests allow. Learnt from every replica that
goes (`departures`), for whatever reason, but for those that were lost with their node. One that was
killed at the end of its grace period took at least as long as was seen.

Memory; after a restart nothing is known, and who knows nothing begins each drain at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from autoscaler.core.contract.decision import Departure, DepartureCause
from autoscaler.core.contract.state import ReplicaColumns
from autoscaler.core.tuning import TUNING


class FinishedDrain(NamedTuple):
    """One that is over."""

    in_flight_requests: float
    """When it began."""
    took_s: float


@dataclass(slots=True, kw_only=True)
class DrainMemory:
    """What is remembered of the drains of one model. Part of the engine's memory."""

    measured: list[FinishedDrain] = field(default_factory=list)
    """The last drains of replicas that held anything, oldest first."""


def learn_drains(memory: DrainMemory, departed: Iterable[Departure]) -> None:
    """Learn from the replicas that have gone since the last look."""
    for each in departed:
        held, took_s = each.in_flight_requests, each.leaving_s
        if held and took_s is not None and each.cause is not DepartureCause.NODE_LOST:
            memory.measured.append(FinishedDrain(in_flight_requests=held, took_s=took_s))
            del memory.measured[: -TUNING.drains_measured_max]


def in_flight_requests(replicas: ReplicaColumns, row: int) -> float:
    """Return what a replica holds, running and waiting, as last read; NaN: unknown."""
    return float(replicas.running_requests[row] + replicas.waiting_requests[row])


def drain_s(memory: DrainMemory, in_flight: float) -> float | None:
    """Return how long a replica is taken to drain that holds so many requests; None: nobody knows.

    The longest of the last drains of replicas that held no more than half as many again, for the last
    request of many takes longer than that of a few; of all of them, where none did or what it holds is
    unknown. One that holds more than any of them did is crowded, and slower by as much.
    """
    if not memory.measured:
        return None
    most = math.inf if math.isnan(in_flight) else 1.5 * in_flight
    alike = [each for each in memory.measured if each.in_flight_requests <= most]
    alike = alike or memory.measured
    longest_s = max([each.took_s for each in alike])
    held = max([each.in_flight_requests for each in alike])
    return longest_s * in_flight / held if in_flight > held else longest_s
