"""The simulated cluster: API server, controllers, kubelets, machines that come and go, one clock."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from autoscaler.core.contract.commands import INTERRUPTION_ANNOTATION
from simulations.box.local_cluster.api.writes import with_defaults
from simulations.box.local_cluster.controllers.scheduler import Scheduler
from simulations.box.local_cluster.controllers.workloads import Workloads
from simulations.box.local_cluster.machines.nodes import CAPACITY_TYPE_LABEL, Machine
from simulations.box.local_cluster.objects import (
    BY_KIND,
    Object,
    condition,
    key_of,
    moment,
    set_condition,
    timestamp,
)
from simulations.box.local_cluster.store import Store
from tests.seeded.api import ApiWrite, SimulatedApi
from tests.seeded.history import History
from tests.seeded.kubelets import PORT, SimulatedKubelets
from tests.seeded.network import Network
from tests.seeded.scenario import Scenario
from tests.seeded.serving import ServedModel

EPOCH = 1_800_000_000.0
API = ("api", 80)
_CONTROL_S = 0.05
"""From a change to what the controllers make of it; what comes meanwhile is taken together."""
NOT_READY_AFTER_S = 40.0
"""From a machine's last word to its Node's Ready being Unknown."""
ORPHANS_GONE_AFTER_S = 60.0
_PROVISION_S = (20.0, 60.0)
_PROVIDED_MAX = 4
"""Machines of a kind that may be had on top of those at the start."""


@dataclass(slots=True, kw_only=True, eq=False)
class Notice:
    """What the provider says of one machine."""

    node: str
    dialect: str
    at: float
    deadline_at: float
    """The machine's true end, in simulated seconds."""
    withdrawn_at: float | None = None
    pods: frozenset[str] = frozenset()
    """uids of those that were on it when it came."""


LEADS_S = {
    "rehearsal": (30.0, 120.0),
    "nth": (120.0,),
    "gke": (30.0,),
    "aks": (30.0, 45.0),
    "kubelet": (30.0,),
}
"""By dialect: from the notice to the end."""


class World:
    """All of it. Enter `control` and `provide` as tasks."""

    def __init__(
        self,
        scenario: Scenario,
        history: History,
        *,
        rng: random.Random,
        before_write: Callable[[], bool],
        after_write: Callable[[ApiWrite], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.scenario, self.history = scenario, history
        self.now = loop.time
        self.clock_skew_s = 0.0
        """Of the cluster's wall clock."""
        self.network = Network()
        self.store = Store(rng=rng, clock=lambda: EPOCH + loop.time() + self.clock_skew_s)
        self.api = SimulatedApi(
            self.store, rng=rng, before_write=before_write, after_write=after_write
        )
        self.api_host = self.network.listen(API, self.api.connections())
        self.models = {
            model.name: ServedModel(load=model.load, service_s=model.service_s)
            for model in scenario.models
        }
        self.kubelets = SimulatedKubelets(
            self.store,
            self.network,
            self.models,
            rng=rng,
            start_s=self._start_s,
            on_run=self.store.wake,
        )
        self.notices: list[Notice] = []
        self.market_open = True
        """Spot machines can be had."""
        self._rng = rng
        self._machines = {machine.name: machine for machine in scenario.machines}
        self._provided = {"spot": 0, "on-demand": 0}
        self._coming: set[str] = set()
        for namespace in ("default", "alpha", "beta", "gpu-operator"):
            self.store.create("namespaces", {"metadata": {"name": namespace}})
        for machine in scenario.machines:
            self.add(machine)
        for model in scenario.models:
            for deployment in model.deployments():
                self.store.create("deployments", with_defaults("deployments", deployment))
            if model.budget is not None:
                self.store.create(
                    "poddisruptionbudgets",
                    {
                        "metadata": {"name": model.name, "namespace": model.namespace},
                        "spec": {
                            "maxUnavailable": model.budget,
                            "selector": {"matchLabels": {"model": model.name}},
                        },
                    },
                )

    def _start_s(self, model: str) -> float:
        (found,) = (each for each in self.scenario.models if each.name == model)
        return found.cold_start_s * self._rng.uniform(0.8, 1.4)

    # -- what acts by itself

    async def control(self) -> None:
        """Deployments, ReplicaSets, the scheduler and the kubelets, for ever."""
        workloads, scheduler = Workloads(self.store), Scheduler(self.store)
        while True:
            version = self.store.version
            workloads.reconcile()
            scheduler.reconcile()
            self.kubelets.look()
            if not await self.store.changed(version, timeout_s=10.0):
                continue
            await asyncio.sleep(_CONTROL_S)

    async def provide(self) -> None:
        """Machines for pods that fit nowhere, for ever."""
        while True:
            await asyncio.sleep(5.0)
            for kind in ("spot", "on-demand"):
                if kind in self._coming or self._provided[kind] >= _PROVIDED_MAX:
                    continue
                if (kind == "spot" and not self.market_open) or not self._unschedulable(kind):
                    continue
                self._coming.add(kind)
                asyncio.get_running_loop().call_later(
                    self._rng.uniform(*_PROVISION_S), self._deliver, kind
                )

    def _unschedulable(self, kind: str) -> bool:
        for pod in self.store.all("pods"):
            wanted = pod["spec"].get("nodeSelector", {}).get(CAPACITY_TYPE_LABEL)
            scheduled = condition(pod, "PodScheduled")
            if wanted == kind and scheduled and scheduled["status"] == "False":
                waits_s = self.store.clock() - moment(scheduled["lastTransitionTime"])
                if waits_s > 15.0:
                    return True
        return False

    def _deliver(self, kind: str) -> None:
        self._coming.discard(kind)
        if kind == "spot" and not self.market_open:
            return
        self._provided[kind] += 1
        name = f"{kind}-new-{self._provided[kind]}"
        self.add(Machine(name=name, spot=kind == "spot", gpus=3))

    # -- machines

    def add(self, machine: Machine) -> None:
        """A machine joins."""
        self._machines[machine.name] = machine
        self.kubelets.powered.add(machine.name)
        if self.store.find("nodes", "", machine.name) is None:
            self.store.create("nodes", machine.node(self.store.clock()))

    def spot_nodes(self) -> list[str]:
        """Names of spot machines that run and are not noticed."""
        doomed = {each.node for each in self.notices if each.withdrawn_at is None}
        return [
            node["metadata"]["name"]
            for node in self.store.all("nodes")
            if node["metadata"]["labels"][CAPACITY_TYPE_LABEL] == "spot"
            and node["metadata"]["name"] in self.kubelets.powered
            and node["metadata"]["name"] not in doomed
        ]

    def pods_on(self, node: str) -> list[Object]:
        """Of the fleet, bound to it."""
        return [
            pod
            for pod in self.store.all("pods")
            if pod["spec"].get("nodeName") == node
            and pod["metadata"].get("labels", {}).get("model")
        ]

    def give_notice(self, node: str, dialect: str, lead_s: float) -> Notice:
        """The provider takes it back in so many seconds."""
        notice = self.note_notice(node, dialect, deadline_at=self.now() + lead_s)
        self.store.modify(
            "nodes", "", node, lambda obj: _mark(obj, dialect, self.store.clock(), lead_s)
        )
        return notice

    def note_notice(self, node: str, dialect: str, *, deadline_at: float) -> Notice:
        """Remember that somebody says, in whatever words, that a machine goes."""
        notice = Notice(
            node=node,
            dialect=dialect,
            at=self.now(),
            deadline_at=deadline_at,
            pods=frozenset(pod["metadata"]["uid"] for pod in self.pods_on(node)),
        )
        self.notices.append(notice)
        return notice

    def withdraw(self, notice: Notice) -> None:
        """It was a rehearsal after all."""
        notice.withdrawn_at = self.now()

        def clean(obj: Object) -> None:
            obj["metadata"].get("annotations", {}).pop(INTERRUPTION_ANNOTATION, None)
            obj["spec"]["taints"] = []

        self.store.modify("nodes", "", notice.node, clean)

    def take(self, node: str, *, node_object: bool = True) -> None:
        """The machine is gone, and its Node object if so said."""
        self.kubelets.power_off(node)
        if node_object and self.store.find("nodes", "", node) is not None:
            self.store.remove("nodes", "", node)
        loop = asyncio.get_running_loop()
        if node_object:
            loop.call_later(ORPHANS_GONE_AFTER_S, self._forget_orphans, node)
        else:
            loop.call_later(NOT_READY_AFTER_S, self.say_unknown, node)

    def say_unknown(self, node: str) -> None:
        """The node's controller has not heard of it for long."""
        at = self.store.clock()
        self.store.modify(
            "nodes",
            "",
            node,
            lambda obj: set_condition(
                obj, "Ready", status="Unknown", at=at, reason="NodeStatusUnknown"
            ),
        )
        for pod in self.pods_on(node):
            self.store.modify(
                "pods",
                *key_of(pod),
                lambda obj: set_condition(obj, "Ready", status="False", at=at),
            )

    def say_ready(self, node: str) -> None:
        """It is heard of again, and so are its pods."""
        at = self.store.clock()
        self.store.modify(
            "nodes",
            "",
            node,
            lambda obj: set_condition(obj, "Ready", status="True", at=at, reason="KubeletReady"),
        )
        for pod in self.kubelets.pods.values():
            if pod.node == node and pod.loaded:
                self.store.modify(
                    "pods",
                    pod.namespace,
                    pod.name,
                    lambda obj: set_condition(obj, "Ready", status="True", at=at),
                )

    def cut_off(self, node: str, *, off: bool) -> None:
        """Its pods answer nobody; or do so again."""
        for pod in self.kubelets.pods.values():
            host = self.network.host((pod.ip, PORT))
            if pod.node == node and host is not None:
                host.mute = off
                for end in host.ends:
                    end.silent = end.silent or off

    def _forget_orphans(self, node: str) -> None:
        if self.store.find("nodes", "", node) is None:
            for pod in self.pods_on(node):
                self.store.remove("pods", *key_of(pod))

    # -- truth

    def deployment(self, namespace: str, name: str) -> Object:
        return self.store.get("deployments", namespace, name)

    def apply(self, document: Object) -> Object:
        return self.store.create(BY_KIND[document["kind"]].plural, document)


def _mark(obj: Object, dialect: str, at: float, lead_s: float) -> None:
    """What the provider or its agent writes on the Node."""
    spec, deadline = obj["spec"], datetime.fromtimestamp(math.ceil(at + lead_s), UTC)
    match dialect:
        case "rehearsal":
            annotations = obj["metadata"].setdefault("annotations", {})
            annotations[INTERRUPTION_ANNOTATION] = deadline.isoformat()
        case "nth":
            key = "aws-node-termination-handler/spot-itn"
            spec.setdefault("taints", []).append({"key": key, "effect": "NoSchedule", "value": "x"})
        case "gke":
            key = "cloud.google.com/impending-node-termination"
            spec.setdefault("taints", []).append(
                {"key": key, "effect": "NoSchedule", "timeAdded": timestamp(at)}
            )
        case "aks":
            message = deadline.strftime("Preempt Scheduled: %a, %d %b %Y %H:%M:%S GMT. More")
            set_condition(obj, "PreemptScheduled", status="True", at=at, message=message)
        case _:
            set_condition(
                obj, "Ready", status="False", at=at, reason="KubeletNotReady",
                message="node is shutting down",
            )  # fmt: skip
