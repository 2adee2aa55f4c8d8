"""SkyServe's placer of spot replicas (SpotHedge): zones that were preempted are avoided until few are left.

A zone is active until a replica of it is preempted, or cannot be launched. A new replica goes to an active
zone that has the fewest (of one price, the first). Where fewer than two zones are active all are active
again. So it is written in its authors' paper; the release that was read filters by the zones in use the
other way round. With one zone there is nothing to place.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulations.agenda import EPOCH_S, NS
from simulations.peers.baseline import TargetView
from simulations.serving.gauges import NEVER

LAUNCH_S = 60.0
"""After which a launch that finds no machine has failed; a cloud says so within about a minute."""


class SpotPlacer:
    """Replicas by zone, over one run."""

    def __init__(self) -> None:
        """All zones are active."""
        self._wanted: list[int] = []
        self._alive: list[set[str]] = []
        """Pods of each zone that were ready and not deleted by us at the last look."""
        self._preempted: set[int] = set()

    def place(self, views: Sequence[TargetView], replicas: int) -> list[int]:
        """Replicas of each zone, `replicas` in all."""
        if len(views) == 1:
            return [replicas]
        if not self._wanted:
            self._wanted = [view.spec_replicas for view in views]
            self._alive = [set() for _ in views]
        for zone, view in enumerate(views):
            self._look(zone, view)
        while sum(self._wanted) < replicas:
            self._wanted[self._next_zone()] += 1
        while sum(self._wanted) > replicas:
            self._wanted[self._fullest(views)] -= 1
        return list(self._wanted)

    def _look(self, zone: int, view: TargetView) -> None:
        """Take what was preempted, or found no machine, from its zone."""
        ready = {pod.name for pod in view.ready}
        # Of those that we gave up ourselves the Deployment asks for fewer; the rest was taken.
        gone = len(self._alive[zone] - ready)
        given_up = max(0, len(self._alive[zone]) - view.spec_replicas)
        taken = max(0, gone - given_up)
        failed = sum(
            pod.unschedulable_ns != NEVER
            and not pod.deleting
            and view.at - EPOCH_S - pod.unschedulable_ns / NS >= LAUNCH_S
            for pod in view.pods
        )
        self._alive[zone] = ready
        if taken + failed:
            self._wanted[zone] = max(0, self._wanted[zone] - taken - failed)
            self._preempted.add(zone)
            if len(self._wanted) - len(self._preempted) < 2:
                self._preempted.clear()

    def _next_zone(self) -> int:
        active = [zone for zone in range(len(self._wanted)) if zone not in self._preempted]
        return min(active, key=lambda zone: (self._wanted[zone], zone))

    def _fullest(self, views: Sequence[TargetView]) -> int:
        """Whose replica goes: of a zone with one that is not ready, then of the fullest."""

        def rank(zone: int) -> tuple[bool, int, int]:
            starting = self._wanted[zone] > len(views[zone].ready)
            return (starting, self._wanted[zone], zone)

        return max((z for z in range(len(self._wanted)) if self._wanted[z]), key=rank)
