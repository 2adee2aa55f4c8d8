"""Where nodes come from: on demand always, on the spot market while a machine can be had."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.core.contract.state import CapacityType
from simulations.world.market.spot import SpotMarket
from simulations.world.objects import SimulatedNode


class Provider:
    """One cloud. A node's name says how it was bought; nodes are never used again."""

    def __init__(
        self, *, slots: int = 1, market: SpotMarket | None = None, on_demand_max: int | None = None
    ) -> None:
        """Sell nodes with room for `slots` replicas each.

        Spot where `market` has a machine (None: never), on demand `on_demand_max` at once at most.
        """
        self.nodes: dict[str, SimulatedNode] = {}
        self._slots = slots
        self._market = market
        self._on_demand_max = on_demand_max
        self._named = {CapacityType.ON_DEMAND: 0, CapacityType.SPOT: 0}

    def place(
        self, capacity_type: CapacityType, *, at_ns: int, zone: str = ""
    ) -> tuple[SimulatedNode, bool] | None:
        """A node with room, and whether it has to be started; None: none can be had.

        A spot node is of `zone`, unless that is empty; on demand can be had in all of them.
        """
        for preferred in _preference(capacity_type):
            pinned = zone if preferred is CapacityType.SPOT else ""
            for node in self.nodes.values():
                if (
                    node.capacity_type is preferred
                    and node.schedulable
                    and pinned in ("", node.zone)
                ):
                    return node, False
            started = self._started(preferred, at_ns, pinned)
            if started is not None:
                return started, True
        return None

    def release(self, node: SimulatedNode) -> None:
        """The last pod has left it: it is given back."""
        self.nodes.pop(node.name, None)
        node.exists = False
        if node.machine is not None and self._market is not None:
            self._market.give_back(node.machine)

    def next_change_ns(self) -> int | None:
        """When something can be had that cannot be had now; None: nobody knows."""
        return self._market.next_change_ns() if self._market is not None else None

    def _started(self, capacity_type: CapacityType, at_ns: int, zone: str) -> SimulatedNode | None:
        machine = None
        if capacity_type is CapacityType.SPOT:
            machine = self._market.take(at_ns, zone=zone) if self._market is not None else None
            if machine is None:
                return None
        elif self._on_demand_max is not None:
            bought = sum(n.capacity_type is capacity_type for n in self.nodes.values())
            if bought >= self._on_demand_max:
                return None
        self._named[capacity_type] += 1
        prefix = "spot" if capacity_type is CapacityType.SPOT else "on-demand"
        node = SimulatedNode(
            name=f"{prefix}-{self._named[capacity_type]:05d}",
            capacity_type=capacity_type,
            slots=self._slots,
            machine=machine,
        )
        self.nodes[node.name] = node
        return node


def _preference(capacity_type: CapacityType) -> Iterator[CapacityType]:
    if capacity_type in (CapacityType.SPOT, CapacityType.MIXED):
        yield CapacityType.SPOT
    if capacity_type in (CapacityType.ON_DEMAND, CapacityType.MIXED):
        yield CapacityType.ON_DEMAND
