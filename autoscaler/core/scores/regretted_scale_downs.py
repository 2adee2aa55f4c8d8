"""Regretted scale-downs: replicas that were given up and asked for again within one cold start.

What is looked at is what was asked of the API, by whomever. A replica that comes back has cost a start,
which is paid for and serves nobody, and has saved the time that it was gone: within one cold start that is
never a gain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

REMEMBERED_MAX = 8
"""Scale-downs that may still be regretted; of more the two oldest are taken for one."""


class GivenUp(NamedTuple):
    """Replicas that one scale-down gave up, by their number in the fleet: those above `low`, up to `high`."""

    at: float
    low: int
    high: int
    regretted: bool
    """Some that it gave up are back already."""


@dataclass(slots=True, kw_only=True)
class RegrettedScaleDowns:
    """What was regretted so far. Part of the engine's memory."""

    scale_downs: int = 0
    regretted: int = 0
    replicas: int = 0
    gpu_s: float = 0.0
    asked: int | None = None
    """At the last look; None: unknown."""
    given_up: list[GivenUp] = field(default_factory=list)
    """Within the last cold start, the oldest first: each lies below the one before."""

    def forget(self) -> None:
        """What is asked for is not known any more: a change that is seen later has no moment."""
        self.asked = None
        self.given_up.clear()

    def observe(
        self, at: float, *, asked: int, cold_start_s: float, gpus_per_replica: float
    ) -> str | None:
        """Take in what is asked for now; return a sentence when a scale-down turns out to be regretted.

        Args:
            at: now, seconds.
            asked: replicas that are to serve, as asked of the API.
            cold_start_s: what a start takes.
            gpus_per_replica: of one.
        """
        before, self.asked = self.asked, asked
        given_up = self.given_up
        if before == asked or before is None:
            return None
        while given_up and at - given_up[0].at > cold_start_s:
            del given_up[0]
        if asked < before:
            self.scale_downs += 1
            given_up.append(GivenUp(at=at, low=asked, high=before, regretted=False))
            if len(given_up) > REMEMBERED_MAX:
                older, newer = given_up[:2]
                given_up[:2] = [newer._replace(high=older.high)]
            return None
        return self._take_back(
            at, asked=asked, cold_start_s=cold_start_s, gpus_per_replica=gpus_per_replica
        )

    def _take_back(
        self, at: float, *, asked: int, cold_start_s: float, gpus_per_replica: float
    ) -> str | None:
        """Take off, from the lowest up, what was given up and is asked for again."""
        given_up = self.given_up
        back, first_at = 0, at
        while given_up and given_up[-1].low < asked:
            last = given_up.pop()
            again = min(asked, last.high) - last.low
            back += again
            first_at = last.at
            self.gpu_s += again * (cold_start_s - (at - last.at)) * gpus_per_replica
            self.regretted += not last.regretted
            if last.high > asked:
                given_up.append(last._replace(low=asked, regretted=True))
        if not back:
            return None
        self.replicas += back
        some = "1 replica was" if back == 1 else f"{back} replicas were"
        return (
            f"the scale-down of {_clock(first_at)} was regretted: {some} asked for again after "
            f"{at - first_at:.0f} s, within a cold start of {cold_start_s:.0f} s"
        )


def _clock(at: float) -> str:
    minutes = int(at // 60.0) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d} UTC"
