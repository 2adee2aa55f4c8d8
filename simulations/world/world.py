"""The world of one run: pods come up, serve, drain and die; nodes are provided, marked with a notice and lost.

It does what controllers, scheduler, kubelet and cloud do after an autoscaler has written a number of
replicas, with their delays, and moves the serving fleet forward in between. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from simulations.agenda import NS, Agenda, seconds
from simulations.rng import stream
from simulations.serving.fleet import ServingFleet
from simulations.serving.gauges import NEVER
from simulations.world.cold_start import ColdStart
from simulations.world.faults import Fault, Faults
from simulations.world.ledger import Ledger
from simulations.world.market.spot import MachineLife, SpotMarket
from simulations.world.objects import SimulatedDeployment, SimulatedNode, SimulatedPod
from simulations.world.pages import ReplicaPages
from simulations.world.provider import Provider
from simulations.world.replica_set import victims

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Of the random part of pod names, as Kubernetes has it: without vowels, so that it spells no word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """How long the machinery between a write and its effect takes, nanoseconds."""

    controller_ns: int = NS // 5
    """From a change of spec.replicas, or a pod gone, to the ReplicaSet's answer."""
    endpoints_ns: int = NS
    """From a deletion to the last router that has heard of it."""
    drain_poll_ns: int = NS
    """How often the drain hook looks whether the replica is idle."""
    exit_ns: int = NS
    """From the end of the hook to the pod's end."""
    mark_ns: int = NS
    """From a cloud's notice to the mark on the Node, as everybody's watch brings it."""
    node_monitor_ns: int = 50 * NS
    """From a node's silence to its NotReady (recorded: about 50 s)."""
    node_deleted_ns: int = 10 * NS
    """From there to the deletion of its Node object by the cloud's controller, and of its pods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSetting:
    """What a world is made of, policies apart."""

    cold_start: ColdStart
    seed: int
    spot: Sequence[MachineLife] = ()
    """Spot machines over time, in order of `up_ns`."""
    spot_lead_ns: int = 120 * NS
    """From notice to loss; 0: no notice."""
    faults: Sequence[Fault] = ()
    replicas_per_node: int = 1
    on_demand_max: int | None = None
    delays: Delays = field(default_factory=Delays)


class SimulatedWorld:
    """One fleet, its Deployments and its nodes, on one clock."""

    def __init__(
        self,
        setting: WorldSetting,
        *,
        fleet: ServingFleet,
        deployments: Sequence[SimulatedDeployment],
        agenda: Agenda,
    ) -> None:
        """Each Deployment starts with its `replicas`, all of them ready."""
        self.setting = setting
        self.fleet = fleet
        self.agenda = agenda
        self.ledger = Ledger()
        self.pages = ReplicaPages()
        self.faults = Faults(setting.faults, seed=setting.seed)
        self.deployments = tuple(deployments)
        self.version = 0
        """Rises with every change that an observer could see, samples apart."""
        self.notice_listeners: list[Callable[[SimulatedNode, int], None]] = []
        """Called with a node and the moment at which its notice can be seen."""
        market = SpotMarket(setting.spot, stream(setting.seed, "spot/choice"))
        self.provider = Provider(
            slots=setting.replicas_per_node, market=market, on_demand_max=setting.on_demand_max
        )
        self._starts = stream(setting.seed, "cold-start")
        self._names = stream(setting.seed, "pod-names")
        self._waiting: list[SimulatedPod] = []
        self._retry_ns = NEVER
        self._next_id = 0
        for deployment in self.deployments:
            for _ in range(deployment.replicas):
                self._ready_at_once(deployment)
        self.ledger.resized(self.replicas, at_ns=0)

    @property
    def replicas(self) -> int:
        """Asked for over all Deployments."""
        return sum(deployment.replicas for deployment in self.deployments)

    @property
    def nodes(self) -> dict[str, SimulatedNode]:
        """Nodes that exist, by name."""
        return self.provider.nodes

    # What an autoscaler may do.

    def scale(self, deployment: SimulatedDeployment, replicas: int, *, at_ns: int) -> None:
        """Set spec.replicas; the ReplicaSet follows."""
        if replicas == deployment.replicas:
            return
        deployment.replicas = replicas
        self.version += 1
        self.ledger.resized(self.replicas, at_ns=at_ns)
        self._reconcile_soon(deployment, at_ns)

    def evict(self, pod: SimulatedPod, *, grace_s: float, at_ns: int) -> None:
        """Delete a pod with a grace period; its ReplicaSet makes another."""
        self._delete(pod, grace_ns=int(grace_s * NS), at_ns=at_ns)
        self._reconcile_soon(pod.deployment, at_ns)

    def cordon(self, node: SimulatedNode, *, by_us: bool) -> None:
        """Nothing more is bound to it."""
        node.unschedulable = True
        node.cordoned_by_us = node.cordoned_by_us or by_us
        node.marked_drained = False
        self.version += 1

    def mark_drained(self, node: SimulatedNode) -> None:
        """Whoever drains says that it is empty; this market takes it at its deadline all the same."""
        node.marked_drained = True
        self.version += 1

    def uncordon(self, node: SimulatedNode, *, at_ns: int) -> None:
        """Pods may be bound to it again."""
        node.unschedulable = node.cordoned_by_us = node.marked_drained = False
        self.version += 1
        self._place_waiting(at_ns)

    def scrape(self, at_ns: int) -> None:
        """Read every page that answers now."""
        self.fleet.run_until(at_ns)
        table = self.pages.table
        hidden = self.faults.hides_pages(at_ns)
        before = table.copy() if hidden else table
        self.fleet.read_pages(table, seconds(at_ns))
        if hidden:
            numbers = [p.replica_id for d in self.deployments for p in d.pods if p.serving]
            self.faults.take_back(table, before, numbers, at_ns=at_ns)

    # Pods.

    def _create(self, deployment: SimulatedDeployment, at_ns: int) -> SimulatedPod:
        suffix = "".join(ALPHABET[i] for i in self._names.integers(len(ALPHABET), size=5))
        pod = SimulatedPod(
            # the number keeps names apart and in order of creation inside equal seconds
            name=f"{deployment.name}-{self._next_id:06d}-{suffix}",
            replica_id=self._next_id,
            deployment=deployment,
            start_times=self.setting.cold_start.draw(self._starts),
            tie_break=float(self._names.random()),
            created_ns=at_ns,
            stuck=self.faults.stuck(self._next_id, at_ns=at_ns),
        )
        self.pages.expect(self._next_id)
        self._next_id += 1
        deployment.pods.append(pod)
        deployment.pods.sort(key=lambda pod: pod.name)
        self.version += 1
        return pod

    def _ready_at_once(self, deployment: SimulatedDeployment) -> None:
        pod = self._create(deployment, 0)
        placed = self.provider.place(deployment.capacity_type, at_ns=0, zone=deployment.zone)
        if placed is None:
            self._wait(pod, 0)
            return
        node = self._take(pod, placed, 0)
        node.has_image = True
        pod.bound_ns = 0
        self._become_ready(pod, 0)

    def _reconcile_soon(self, deployment: SimulatedDeployment, at_ns: int) -> None:
        self.agenda.add(
            at_ns + self.setting.delays.controller_ns, lambda at: self._reconcile(deployment, at)
        )

    def _reconcile(self, deployment: SimulatedDeployment, at_ns: int) -> None:
        active = deployment.active
        surplus = len(active) - deployment.replicas
        for pod in victims(active, count=max(0, surplus), at_ns=at_ns):
            self._delete(pod, grace_ns=int(deployment.grace_s * NS), at_ns=at_ns)
        for _ in range(-surplus):
            self.ledger.started_ns.append(at_ns)
            self._place(self._create(deployment, at_ns), at_ns)

    def _place(self, pod: SimulatedPod, at_ns: int) -> None:
        deployment = pod.deployment
        placed = self.provider.place(deployment.capacity_type, at_ns=at_ns, zone=deployment.zone)
        if placed is None:
            self._wait(pod, at_ns)
            return
        node = self._take(pod, placed, at_ns)
        if pod in self._waiting:
            self._waiting.remove(pod)
        up_ns = at_ns + (pod.start_times.node_ns if placed[1] else 0)
        if up_ns == at_ns:
            self._bind(pod, node, at_ns)
        else:
            self.agenda.add(up_ns, lambda at: self._bind(pod, node, at))

    def _take(
        self, pod: SimulatedPod, placed: tuple[SimulatedNode, bool], at_ns: int
    ) -> SimulatedNode:
        """Give the pod its slot on the node; from here on it is paid."""
        node, started = placed
        node.pods.append(pod)
        pod.node = node
        self.ledger.starts_paying(pod.replica_id, node.capacity_type, at_ns=at_ns)
        if started and node.machine is not None:
            self._foresee_loss(node, node.machine, at_ns)
        self.version += 1
        return node

    def _wait(self, pod: SimulatedPod, at_ns: int) -> None:
        if pod.unschedulable_ns == NEVER:
            pod.unschedulable_ns = at_ns
            self._waiting.append(pod)
            self.version += 1
        change_ns = self.provider.next_change_ns()
        if change_ns is not None and change_ns != self._retry_ns:
            self._retry_ns = change_ns
            self.agenda.add(change_ns, self._place_waiting)

    def _place_waiting(self, at_ns: int) -> None:
        for pod in tuple(self._waiting):
            self._place(pod, at_ns)

    def _bind(self, pod: SimulatedPod, node: SimulatedNode, at_ns: int) -> None:
        if pod.deleting or pod.node is not node or node.lost_ns != NEVER:
            return
        pod.bound_ns = at_ns
        pod.unschedulable_ns = NEVER
        self.version += 1
        times = pod.start_times
        pulled_ns = at_ns + (0 if node.has_image else times.pull_ns)
        self.agenda.add(pulled_ns, lambda _: setattr(node, "has_image", True))
        if not pod.stuck:
            self.agenda.add(
                pulled_ns + times.load_ns + times.warm_up_ns, lambda at: self._become_ready(pod, at)
            )

    def _become_ready(self, pod: SimulatedPod, at_ns: int) -> None:
        if pod.deleting or pod.node is None or pod.node.lost_ns != NEVER:
            return
        pod.ready = pod.serving = True
        pod.ready_ns = at_ns
        self.version += 1
        self.fleet.add_replica(at_ns, pod.replica_id)
        self.ledger.serves(1, at_ns=at_ns)

    def _delete(self, pod: SimulatedPod, *, grace_ns: int, at_ns: int) -> None:
        by_ns = at_ns + grace_ns
        if pod.deleting:
            # a second deletion may only shorten what is left
            if by_ns < pod.gone_by_ns:
                pod.gone_by_ns = by_ns
                self.agenda.add(by_ns, lambda at: self._gone(pod, at))
            return
        if pod.serving:
            self.ledger.serves(-1, at_ns=at_ns)
        pod.deleting_ns, pod.gone_by_ns = at_ns, by_ns
        self.version += 1
        if pod.node is None:
            self._gone(pod, at_ns)
            return
        delays = self.setting.delays
        if pod.serving:
            self.agenda.add(at_ns + delays.endpoints_ns, lambda at: self._stop_routing(pod, at))
            self.agenda.add(by_ns, lambda at: self._gone(pod, at))
        elif pod.node.lost_ns == NEVER:
            self.agenda.add(at_ns + delays.exit_ns, lambda at: self._gone(pod, at))

    def _stop_routing(self, pod: SimulatedPod, at_ns: int) -> None:
        if pod.serving:
            self.fleet.stop_routing(at_ns, pod.replica_id)
            self._drain(pod, at_ns)

    def _drain(self, pod: SimulatedPod, at_ns: int) -> None:
        if not pod.serving:
            return
        delays = self.setting.delays
        self.fleet.run_until(at_ns)
        if self.fleet.in_flight(pod.replica_id):
            self.agenda.add(at_ns + delays.drain_poll_ns, lambda at: self._drain(pod, at))
        else:
            self.agenda.add(at_ns + delays.exit_ns, lambda at: self._gone(pod, at))

    def _gone(self, pod: SimulatedPod, at_ns: int) -> None:
        node = pod.node
        if pod not in pod.deployment.pods:
            return
        if node is not None and node.exists and node.lost_ns != NEVER:
            return  # no kubelet confirms it: it stays, terminating, until its Node is deleted
        self._stop_serving(pod, at_ns)
        pod.ready = False
        self.ledger.stops_paying(pod.replica_id, at_ns=at_ns)
        pod.deployment.pods.remove(pod)
        if pod in self._waiting:
            self._waiting.remove(pod)
        self.version += 1
        self._reconcile_soon(pod.deployment, at_ns)
        if node is not None:
            node.pods.remove(pod)
            if not node.pods and node.noticed_ns == NEVER and node.exists:
                self.provider.release(node)
                self._place_waiting(at_ns)

    def _stop_serving(self, pod: SimulatedPod, at_ns: int) -> None:
        if pod.serving:
            if not pod.deleting:
                self.ledger.serves(-1, at_ns=at_ns)
            pod.serving = False
            self.fleet.kill(at_ns, pod.replica_id)
            if pod.node is not None and pod.node.noticed_ns != NEVER:
                self.ledger.ended_in_notice[pod.replica_id] = pod.node.noticed_ns

    # Nodes.

    def _foresee_loss(self, node: SimulatedNode, machine: MachineLife, at_ns: int) -> None:
        lead_ns = self.setting.spot_lead_ns
        if lead_ns > 0:
            notice_ns = max(at_ns, machine.down_ns - lead_ns)
            self.agenda.add(
                notice_ns + self.setting.delays.mark_ns, lambda at: self._notice(node, machine, at)
            )
        self.agenda.add(machine.down_ns, lambda at: self._lose(node, at))

    def _notice(self, node: SimulatedNode, machine: MachineLife, at_ns: int) -> None:
        if not node.exists or node.lost_ns != NEVER:
            return
        node.noticed_ns, node.deadline_ns = at_ns, machine.down_ns
        if node.pods:
            self.ledger.interrupted(at_ns=at_ns)
        self.version += 1
        for listener in self.notice_listeners:
            listener(node, at_ns)

    def _lose(self, node: SimulatedNode, at_ns: int) -> None:
        """The machine is gone, with all that was in flight; the API server learns of it later."""
        if not node.exists:
            return
        node.lost_ns = at_ns
        if node.noticed_ns == NEVER and node.pods:
            self.ledger.interrupted(at_ns=at_ns)
        for pod in node.pods:
            self._stop_serving(pod, at_ns)
            self.ledger.stops_paying(pod.replica_id, at_ns=at_ns)
        self.agenda.add(
            at_ns + self.setting.delays.node_monitor_ns, lambda at: self._not_ready(node, at)
        )

    def _not_ready(self, node: SimulatedNode, at_ns: int) -> None:
        node.ready = False
        for pod in node.pods:
            pod.ready = False
        self.version += 1
        self.agenda.add(
            at_ns + self.setting.delays.node_deleted_ns, lambda at: self._node_deleted(node, at)
        )

    def _node_deleted(self, node: SimulatedNode, at_ns: int) -> None:
        node.exists = False
        self.provider.nodes.pop(node.name, None)
        self.version += 1
        for pod in tuple(node.pods):
            pod.deleting_ns = at_ns if not pod.deleting else pod.deleting_ns
            self._gone(pod, at_ns)
