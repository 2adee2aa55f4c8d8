"""Payments, starts and changes of size of a run, noted as they happen; the scorecard reads them."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.core.contract.state import CapacityType


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One replica, paid from `from_ns` until `to_ns`."""

    capacity_type: CapacityType
    from_ns: int
    to_ns: int


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Payments, starts and changes of size of one run."""

    payments: list[Payment] = field(default_factory=list)
    started_ns: list[int] = field(default_factory=list)
    """When each pod was created after the first moment, replacements included."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """(moment, replicas asked for over all Deployments), each change."""
    serving: list[tuple[int, int]] = field(default_factory=list)
    """(moment, replicas that are ready and not being deleted), each change."""
    interrupted_ns: list[int] = field(default_factory=list)
    """When each node that carried a replica was noticed, or lost without a notice."""
    ended_in_notice: dict[int, int] = field(default_factory=dict)
    """Replicas that ended on a node with a notice, and when that could be seen: the requests that they
    lost were lost within a notice."""
    _open: dict[int, tuple[CapacityType, int]] = field(default_factory=dict)

    @property
    def starts(self) -> int:
        """Of the whole run."""
        return len(self.started_ns)

    @property
    def interruptions(self) -> int:
        """Of the whole run."""
        return len(self.interrupted_ns)

    def starts_paying(self, replica_id: int, capacity_type: CapacityType, *, at_ns: int) -> None:
        """A node was started for it, or it was bound to one."""
        self._open.setdefault(replica_id, (capacity_type, at_ns))

    def stops_paying(self, replica_id: int, *, at_ns: int) -> None:
        """Its pod, or its node, is gone."""
        entry = self._open.pop(replica_id, None)
        if entry is not None and at_ns > entry[1]:
            self.payments.append(Payment(capacity_type=entry[0], from_ns=entry[1], to_ns=at_ns))

    def interrupted(self, *, at_ns: int) -> None:
        """A node that carried a replica is being taken away."""
        self.interrupted_ns.append(at_ns)

    def resized(self, replicas: int, *, at_ns: int) -> None:
        """So many replicas are asked for now."""
        if not self.sizes or self.sizes[-1][1] != replicas:
            self.sizes.append((at_ns, replicas))

    def serves(self, change: int, *, at_ns: int) -> None:
        """So many more replicas serve from now on, or fewer."""
        before = self.serving[-1][1] if self.serving else 0
        self.serving.append((at_ns, before + change))

    def closed(self, *, at_ns: int, from_ns: int = 0) -> list[Payment]:
        """All payments from `from_ns` up to `at_ns`: what lies before or behind is not charged."""
        running = [
            Payment(capacity_type=capacity, from_ns=start, to_ns=at_ns)
            for capacity, start in self._open.values()
        ]
        cut = [
            Payment(
                capacity_type=p.capacity_type,
                from_ns=max(p.from_ns, from_ns),
                to_ns=min(p.to_ns, at_ns),
            )
            for p in (*self.payments, *running)
        ]
        return [payment for payment in cut if payment.to_ns > payment.from_ns]

    def flaps(self, *, within_ns: int, from_ns: int = 0) -> int:
        """Reversals of direction, from `from_ns` on, within `within_ns` of the change before."""
        count = 0
        direction, changed_at = 0, 0
        for (_, before), (at_ns, after) in zip(self.sizes, self.sizes[1:], strict=False):
            now = 1 if after > before else -1
            if now == -direction and at_ns - changed_at <= within_ns and at_ns >= from_ns:
                count += 1
            direction, changed_at = now, at_ns
        return count
