"""Nodes, pods and Deployments of the replay, with the times an API server would show.

Times are nanoseconds on the trace's clock; NEVER means that it has not happened.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.core.contract.state import CapacityType
from simulations.serving.gauges import NEVER, Gauges
from simulations.world.cold_start import StartTimes
from simulations.world.market.spot import MachineLife


@dataclass(slots=True, kw_only=True, eq=False)
class SimulatedNode:
    """One node; it is given back as soon as the last pod has left it."""

    name: str
    capacity_type: CapacityType
    slots: int
    """Replicas that fit on it."""
    machine: MachineLife | None = None
    """Of the spot market; None on demand."""
    pods: list[SimulatedPod] = field(default_factory=list)
    has_image: bool = False
    exists: bool = True
    ready: bool = True
    unschedulable: bool = False
    cordoned_by_us: bool = False
    marked_drained: bool = False
    noticed_ns: int = NEVER
    deadline_ns: int = NEVER
    """When it is taken away, as the notice says."""
    lost_ns: int = NEVER
    """When it was taken away; the API server learns of it later."""

    @property
    def zone(self) -> str:
        """Of its machine; empty: not said."""
        return "" if self.machine is None else self.machine.zone

    @property
    def instance_type(self) -> str:
        """Likewise."""
        return "" if self.machine is None else self.machine.instance_type

    @property
    def schedulable(self) -> bool:
        """Whether a pod may be bound to it."""
        return self.exists and self.ready and not self.unschedulable and len(self.pods) < self.slots


@dataclass(slots=True, kw_only=True, eq=False)
class SimulatedPod:
    """One replica."""

    name: str
    replica_id: int
    """Its number in the serving fleet, never used again."""
    deployment: SimulatedDeployment
    start_times: StartTimes
    tie_break: float
    """What its UID is to the ReplicaSet: decides where nothing else does."""
    created_ns: int
    stuck: bool = False
    """A fault keeps it from ever becoming ready."""
    node: SimulatedNode | None = None
    """Bound to it, or waiting for it to come up."""
    bound_ns: int = NEVER
    unschedulable_ns: int = NEVER
    ready_ns: int = NEVER
    ready: bool = False
    deleting_ns: int = NEVER
    gone_by_ns: int = NEVER
    """End of its grace period."""
    serving: bool = False
    """Its process is in the serving fleet."""
    deletion_cost: int = 0
    """Of its annotation `controller.kubernetes.io/pod-deletion-cost`; 0 where it has none."""
    deletion_cost_ours: bool = False
    """The autoscaler set it."""
    sample: Gauges | None = None
    """As last scraped, where somebody looked at it here; all readings are in `World.pages`."""
    sampled_ns: int = NEVER

    @property
    def deleting(self) -> bool:
        """Has a deletionTimestamp."""
        return self.deleting_ns != NEVER


@dataclass(slots=True, kw_only=True, eq=False)
class SimulatedDeployment:
    """One scale target with its one ReplicaSet."""

    name: str
    capacity_type: CapacityType
    """MIXED: spot where it can be had, else on demand, as Karpenter places it."""
    grace_s: float
    """terminationGracePeriodSeconds."""
    zone: str = ""
    """That its node selector names; empty: none, its spot replicas land in any."""
    replicas: int = 0
    """spec.replicas."""
    pods: list[SimulatedPod] = field(default_factory=list)
    """All that exist, deleting ones included, in order of name."""
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def active(self) -> list[SimulatedPod]:
        """The pods that its ReplicaSet counts: those that are not being deleted."""
        return [pod for pod in self.pods if pod.deleting_ns == NEVER]
