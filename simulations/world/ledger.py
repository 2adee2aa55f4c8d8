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
    starts: int = 0
    """Pods created after the first moment, replacements included."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """(moment, replicas asked for over all Deployments), each change."""
    interruptions: int = 0
    """Nodes taken away, or noticed, that carried a replica."""
    interrupted_ns: list[int] = field(default_factory=list)
    """When each of them was noticed, or lost without a notice."""
    ended_in_notice: set[int] = field(default_factory=set)
    """Replicas that ended on a node with a notice: the requests that they lost were lost within a notice."""
    _open: dict[int, tuple[CapacityType, int]] = field(default_factory=dict)

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
        self.interruptions += 1
        self.interrupted_ns.append(at_ns)

    def resized(self, replicas: int, *, at_ns: int) -> None:
        """So many replicas are asked for now."""
        if not self.sizes or self.sizes[-1][1] != replicas:
            self.sizes.append((at_ns, replicas))

    def closed(self, *, at_ns: int) -> list[Payment]:
        """All payments up to `at_ns`: what lies behind it is not charged."""
        running = [
            Payment(capacity_type=capacity, from_ns=start, to_ns=at_ns)
            for capacity, start in self._open.values()
        ]
        cut = [
            Payment(capacity_type=p.capacity_type, from_ns=p.from_ns, to_ns=min(p.to_ns, at_ns))
            for p in (*self.payments, *running)
        ]
        return [payment for payment in cut if payment.to_ns > payment.from_ns]

    def flaps(self, *, within_ns: int) -> int:
        """Reversals of direction within `within_ns` of the change before."""
        count = 0
        direction, changed_at = 0, 0
        for (_, before), (at_ns, after) in zip(self.sizes, self.sizes[1:], strict=False):
            now = 1 if after > before else -1
            if now == -direction and at_ns - changed_at <= within_ns:
                count += 1
            direction, changed_at = now, at_ns
        return count
