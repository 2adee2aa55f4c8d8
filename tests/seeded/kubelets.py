"""Kubelets of simulated machines: a pod that is bound becomes ready after its start, and goes with its grace.

The same as `simulations.box.local_cluster.machines`, without processes: containers are rows of the serving
model, and their pages are on the network in memory.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from simulations.box.local_cluster.objects import Object, set_condition, timestamp
from simulations.box.local_cluster.store import Store
from tests.seeded.network import Network
from tests.seeded.pages import HOSTILE, TRUE_AFTER_ALL, Answer, PageServer, good
from tests.seeded.serving import Replica, ServedModel, page_of

PORT = 8000


@dataclass(slots=True, kw_only=True, eq=False)
class Pod:
    """One pod on a machine."""

    namespace: str
    name: str
    uid: str
    node: str
    ip: str
    model: str
    replica: Replica
    loaded: bool = False
    """Its engine answers."""
    ready_at: float | None = None
    ending: bool = False
    over: bool = False
    hostile: str = ""
    """What it answers instead of its page; empty: the page."""
    frozen: str = ""
    """The page that it repeats; empty: the true one."""
    answered_at: float = -1.0
    """When a page of its was last sent: no reader can tell within minutes that it is an old one."""
    restarts: int = 0


class SimulatedKubelets:
    """All of them. `look` is called at every change."""

    def __init__(
        self,
        store: Store,
        network: Network,
        models: dict[str, ServedModel],
        *,
        rng: random.Random,
        start_s: Callable[[str], float],
        on_run: Callable[[], None],
    ) -> None:
        self.powered: set[str] = set()
        self.pods: dict[str, Pod] = {}
        """By uid; those that are over are gone."""
        self.never_ready = False
        """Starts that begin now load for ever."""
        self._store = store
        self._network = network
        self._models = models
        self._rng = rng
        self._start_s = start_s
        self._changed = on_run
        self._numbers = 0

    def power_off(self, node: str) -> None:
        self.powered.discard(node)
        for pod in list(self.pods.values()):
            if pod.node == node:
                self._end(pod)
                self._network.forget((pod.ip, PORT))

    def look(self) -> None:
        """Start what is bound, end what is deleted."""
        there = {}
        for obj in self._store.all("pods"):
            uid, node = obj["metadata"]["uid"], obj["spec"].get("nodeName", "")
            there[uid] = obj
            known = self.pods.get(uid)
            if known is None and node in self.powered and obj["metadata"]["labels"].get("model"):
                if "deletionTimestamp" in obj["metadata"]:
                    self._store.remove(
                        "pods", obj["metadata"]["namespace"], obj["metadata"]["name"]
                    )
                elif obj["status"]["phase"] == "Pending":
                    self._start(obj)
            elif known and not known.ending and "deletionTimestamp" in obj["metadata"]:
                self._begin_end(known, obj)
        for uid in [uid for uid in self.pods if uid not in there]:
            self._end(self.pods[uid])

    # -- life

    def _start(self, obj: Object) -> None:
        self._numbers += 1
        number, metadata = self._numbers, obj["metadata"]
        pod = Pod(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            node=obj["spec"]["nodeName"],
            ip=f"10.{1 + number // 60_000}.{number // 250 % 250}.{1 + number % 250}",
            model=metadata["labels"]["model"],
            replica=Replica(),
        )
        self.pods[pod.uid] = pod
        host = self._network.listen((pod.ip, PORT), lambda: PageServer(partial(self._answer, pod)))
        host.refuses = True
        self._models[pod.model].replicas[pod.name] = pod.replica
        self._later(pod, self._rng.uniform(0.5, 3.0), self._run)
        if not self.never_ready:
            self._later(pod, self._start_s(pod.model), self._ready)

    def restart(self, pod: Pod) -> None:
        """Its container crashes: counters begin anew, ready again after the load."""
        pod.loaded, pod.ready_at = False, None
        pod.restarts += 1
        pod.replica.routed = False
        pod.replica.running = pod.replica.waiting = pod.replica.finished = 0.0
        host = self._network.host((pod.ip, PORT))
        if host is not None:
            host.refuses = True
            for end in host.ends:
                end.abort()
        self._write(pod, partial(self._set_ready, ready=False))
        self._later(pod, self._start_s(pod.model), self._ready)

    def _run(self, pod: Pod) -> None:
        def started(obj: Object) -> None:
            at, status = self._store.clock(), obj["status"]
            status["phase"], status["podIP"] = "Running", pod.ip
            status["podIPs"] = [{"ip": pod.ip}]
            status["startTime"] = timestamp(at)
            set_condition(obj, "Initialized", status="True", at=at)
            self._set_ready(obj, ready=False)

        self._write(pod, started)

    def _ready(self, pod: Pod) -> None:
        pod.loaded = True
        pod.ready_at = asyncio.get_running_loop().time()
        host = self._network.host((pod.ip, PORT))
        if host is not None:
            host.refuses = False
        pod.replica.routed = not pod.ending
        self._write(pod, partial(self._set_ready, ready=True))

    def _set_ready(self, obj: Object, *, ready: bool) -> None:
        status, reason = ("True", "") if ready else ("False", "ContainersNotReady")
        for kind in ("ContainersReady", "Ready"):
            set_condition(obj, kind, status=status, at=self._store.clock(), reason=reason)

    # -- end

    def _begin_end(self, pod: Pod, obj: Object) -> None:
        pod.ending, pod.replica.routed = True, False
        grace_s = float(obj["metadata"].get("deletionGracePeriodSeconds", 30))
        busy = pod.replica.running + pod.replica.waiting > 0.5
        self._later(pod, min(grace_s, self._rng.uniform(2.0, 25.0) if busy else 1.0), self._remove)

    def _remove(self, pod: Pod) -> None:
        found = self._store.find("pods", pod.namespace, pod.name)
        self._end(pod)
        self._network.forget((pod.ip, PORT))
        if found is not None and found["metadata"]["uid"] == pod.uid:
            self._store.remove("pods", pod.namespace, pod.name)

    def _end(self, pod: Pod) -> None:
        pod.over = pod.ending = True
        pod.replica.routed = False
        self.pods.pop(pod.uid, None)
        self._models[pod.model].replicas.pop(pod.name, None)

    # --

    def _later(self, pod: Pod, after_s: float, act: Callable[[Pod], None]) -> None:
        def due() -> None:
            if not pod.over and pod.node in self.powered:
                act(pod)
                self._changed()

        asyncio.get_running_loop().call_later(after_s, due)

    def _write(self, pod: Pod, change: Callable[[Object], None]) -> None:
        found = self._store.find("pods", pod.namespace, pod.name)
        if found is not None and found["metadata"]["uid"] == pod.uid:
            self._store.modify("pods", pod.namespace, pod.name, change)

    def _answer(self, pod: Pod) -> Answer:
        now = asyncio.get_running_loop().time()
        model = self._models[pod.model]
        model.advance(now)
        text = page_of(pod.replica, pod.model)
        if pod.hostile not in HOSTILE.keys() - TRUE_AFTER_ALL:
            pod.answered_at = now
        if pod.hostile:
            return HOSTILE[pod.hostile](text, self._rng)
        return good(pod.frozen or text)

    def page(self, pod: Pod) -> str:
        """What its page says now."""
        return page_of(pod.replica, pod.model)
