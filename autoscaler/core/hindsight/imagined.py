"""One imagined fleet: its replicas that serve, and those that start.

Each replica has a queue of its own, so one that becomes ready relieves those that are full of new arrivals alone:
as long as it holds less than they do, all that comes goes to it. So a fleet is two crowds, the old
replicas and the new ones, until they hold the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.core.hpa import HpaMemory

ALIKE = 0.9
"""Of what an old replica holds: a new one that holds so much is one of them. Judgement."""


@dataclass(slots=True, kw_only=True)
class ImaginedFleet:
    """Of one model. Part of the engine's memory."""

    old: int
    """Ready replicas."""
    new: int = 0
    """Those that became ready since these held as much."""
    old_held: float = 0.0
    """Requests that the old ones hold."""
    new_held: float = 0.0
    starting: list[tuple[float, int]] = field(default_factory=list)
    """When (seconds) how many will be ready, in the order in which they were asked for."""
    hpa: HpaMemory = field(default_factory=HpaMemory)

    @property
    def ready(self) -> int:
        """Replicas that serve."""
        return self.old + self.new

    @property
    def asked(self) -> int:
        """Replicas that serve or start."""
        return self.ready + sum([count for _, count in self.starting])

    def begin(self, *, at: float) -> None:
        """Let those be ready whose start is over."""
        if not self.starting:
            return
        self.new += sum([count for ready_at, count in self.starting if ready_at <= at])
        self.starting = [each for each in self.starting if each[0] > at]

    def share(self, arrivals: float) -> float:
        """Return how many of the arrivals go to the new replicas: whoever holds less has the next one."""
        old, new = self.old, self.new
        if not new:
            return 0.0
        if not old:
            return arrivals
        to_new = min(arrivals, max(0.0, new * self.old_held / old - self.new_held))
        to_old = min(arrivals - to_new, max(0.0, old * self.new_held / new - self.old_held))
        return to_new + (arrivals - to_new - to_old) * new / (old + new)

    def take(self, *, old_held: float, new_held: float) -> None:
        """Take what the step left, and make one crowd of two that hold the same."""
        self.old_held, self.new_held = old_held, new_held
        if self.new and (not self.old or new_held * self.old >= ALIKE * old_held * self.new):
            self.old, self.new = self.old + self.new, 0
            self.old_held, self.new_held = old_held + new_held, 0.0

    def resize(self, asked: int, *, at: float, start_s: float) -> int:
        """Ask for so many; return how many ready replicas were given up, which finish what they hold elsewhere.

        Those that start go first, the youngest of them before the others, as a ReplicaSet deletes.
        """
        more = asked - self.asked
        if more > 0:
            self.starting.append((at + start_s, more))
            return 0
        fewer = -more
        while fewer and self.starting:
            ready_at, count = self.starting.pop()
            if count > fewer:
                self.starting.append((ready_at, count - fewer))
            fewer -= min(count, fewer)
        self.give_up(fewer)
        return fewer

    def give_up(self, ready: int) -> None:
        """Give up so many ready replicas, the new ones first, with what they hold."""
        of_new = min(ready, self.new)
        if of_new:
            self.new_held *= 1.0 - of_new / self.new
            self.new -= of_new
        of_old = min(ready - of_new, self.old)
        if of_old:
            self.old_held *= 1.0 - of_old / self.old
            self.old -= of_old
