"""The cluster in a box, put together: an API server, and what acts on its objects."""

from __future__ import annotations

import asyncio
import copy
import random
import shutil
import tempfile
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

import yaml

from simulations.box.local_cluster.api.faults import ApiFaults
from simulations.box.local_cluster.api.server import ApiServer
from simulations.box.local_cluster.api.writes import with_defaults
from simulations.box.local_cluster.controllers.scheduler import Scheduler
from simulations.box.local_cluster.controllers.service import Service
from simulations.box.local_cluster.controllers.workloads import Workloads
from simulations.box.local_cluster.machines.kubelet import Kubelets
from simulations.box.local_cluster.machines.nodes import ClusterDelays, Nodes
from simulations.box.local_cluster.machines.pod_runner import PodEnd
from simulations.box.local_cluster.objects import BY_KIND, Object
from simulations.box.local_cluster.store import WINDOW_CHANGES, Store


class LocalCluster:
    """A small cluster on loopback; an asynchronous context manager.

    `kubeconfig` is a file for real clients, `api` the server with its faults and requests, `store`
    the objects, which a test may write directly.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        port: int = 0,
        controllers: bool = True,
        delays: ClusterDelays | None = None,
        bookmark_every_s: float = 60.0,
        window: int = WINDOW_CHANGES,
        folder: Path | None = None,
    ) -> None:
        """Set it up; it starts when it is entered.

        Args:
            seed: Of generated names, uids and lots.
            port: Of the API server; 0 takes a free one.
            controllers: False leaves the objects to the test: nothing but the API server acts.
            delays: Of what nobody does; Kubernetes' own unless given.
            bookmark_every_s: How often a watch that asked for them gets a bookmark.
            window: Changes kept for watches; a watch from an older resourceVersion gets 410.
            folder: For the kubeconfig and the pods' logs; a temporary one unless given.
        """
        rng = random.Random(seed)
        self.store = Store(rng=rng, window=window)
        self.api = ApiServer(self.store, bookmark_every_s=bookmark_every_s)
        self.folder = folder or Path(tempfile.gettempdir(), f"local-cluster-{uuid.uuid4().hex}")
        self.delays = delays or ClusterDelays()
        self.kubelets = Kubelets(
            self.store, folder=self.folder, restart_after_s=self.delays.restart_after_s
        )
        self.nodes = Nodes(
            self.store,
            self.kubelets,
            orphans_gone_after_s=self.delays.orphans_gone_after_s,
            spawn=self._spawn,
        )
        self._rng = rng
        self._port = port
        self._controllers = controllers
        self._temporary = folder is None
        self._main: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._services: list[Service] = []

    @property
    def faults(self) -> ApiFaults:
        """What goes wrong at the API server."""
        return self.api.faults

    @property
    def kubeconfig(self) -> Path:
        """For clients: a file that names this cluster."""
        return self.folder / "kubeconfig"

    @property
    def endings(self) -> list[PodEnd]:
        """How pods ended that were deleted while their machine ran."""
        return self.kubelets.endings

    async def __aenter__(self) -> Self:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=not self._temporary)
        for namespace in ("default", "kube-system"):
            self.apply({"kind": "Namespace", "metadata": {"name": namespace}})
        started = asyncio.get_running_loop().create_future()
        self._main = asyncio.create_task(self._run(started))
        await asyncio.wait({self._main, started}, return_when=asyncio.FIRST_COMPLETED)
        if self._main.done():
            self._main.result()
        await self.api.start(port=self._port)
        config = _kubeconfig(self.api.url)
        self.kubeconfig.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.stop()
        for service in self._services:
            service.stop()
        try:
            if self._main is not None:
                self._main.cancel()
                await asyncio.wait({self._main})
                if not self._main.cancelled():
                    self._main.result()  # what broke a controller breaks the test that used it
        finally:
            if self._temporary:
                await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def _run(self, started: asyncio.Future[None]) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            started.set_result(None)
            if self._controllers:
                group.create_task(self._control())
                group.create_task(self.kubelets.run())
            await asyncio.Event().wait()

    async def _control(self) -> None:
        workloads, scheduler = Workloads(self.store), Scheduler(self.store)
        while True:
            version = self.store.version
            workloads.reconcile()
            scheduler.reconcile()
            await self.store.changed(version)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._group is None:
            work.close()
            raise RuntimeError("the cluster is used before it is entered")
        return self._group.create_task(work)

    async def expose(self, namespace: str, selector: dict[str, str], *, port: int | str) -> Service:
        """A Service for clients over the pods with these labels.

        Their containers listen on `port`, or on the port of that name.
        """
        service = Service(
            self.store,
            namespace=namespace,
            selector=selector,
            port=port,
            delay_s=self.delays.endpoints_after_s,
            rng=self._rng,
        )
        await service.start()
        self._services.append(service)
        self._spawn(service.run())
        return service

    def apply(self, document: Object) -> Object:
        """Create an object from a manifest, or replace its spec and metadata; makes its namespace.

        The status that a manifest carries is taken as it is: tests set the scene with it.
        """
        resource = BY_KIND[document["kind"]]
        body = copy.deepcopy(document)
        namespace = ""
        if resource.namespaced:
            namespace = body["metadata"].setdefault("namespace", "default")
            if not self.store.find("namespaces", "", namespace):
                self.store.create("namespaces", {"metadata": {"name": namespace}})
        found = self.store.find(resource.plural, namespace, body["metadata"].get("name", ""))
        if found is None:
            return self.store.create(resource.plural, with_defaults(resource.plural, body))
        # labels, annotations and status that the manifest does not speak of are kept
        body = {**found, **body, "metadata": {**found["metadata"], **body["metadata"]}}
        return self.store.replace(resource.plural, with_defaults(resource.plural, body))

    async def until(self, holds: Callable[[], bool], *, timeout_s: float | None = 60.0) -> None:
        """Wait until a statement about the objects holds; raises TimeoutError (None: waits on).

        It is asked again at every change, so it must depend on the store (or on a Service's endpoints) alone.
        """
        async with asyncio.timeout(timeout_s):
            while not holds():
                changed = asyncio.create_task(self.store.changed(self.store.version))
                await asyncio.wait(
                    {changed, *filter(None, (self._main,))},
                    return_when=asyncio.FIRST_COMPLETED,
                )
                changed.cancel()
                if self._main is not None and self._main.done():
                    self._main.result()  # a controller broke: say so now, not at the time-out


def _kubeconfig(url: str) -> Object:
    """One context without credentials: plain HTTP on loopback asks for none."""
    name = "local-cluster"
    context = {"cluster": name, "user": name, "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
