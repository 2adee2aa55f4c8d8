"""The cluster in a box, put together: an API server, and what acts on its objects."""

from __future__ import annotations

import asyncio
import copy
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from simulations.local_cluster.faults import Faults
from simulations.local_cluster.kubeconfig import write_kubeconfig
from simulations.local_cluster.objects import BY_KIND, Object
from simulations.local_cluster.server import ApiServer
from simulations.local_cluster.store import WINDOW_CHANGES, Store
from simulations.local_cluster.writes import prepared


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
        bookmark_every_s: float = 60.0,
        window: int = WINDOW_CHANGES,
        folder: Path | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.store = Store(rng=self.rng, window=window)
        self.api = ApiServer(self.store, bookmark_every_s=bookmark_every_s)
        self._port = port
        self._given_folder = folder
        self.folder = folder or Path()
        """Holds the kubeconfig and the pods' logs; a temporary one unless given."""

    @property
    def faults(self) -> Faults:
        """What goes wrong at the API server."""
        return self.api.faults

    @property
    def kubeconfig(self) -> Path:
        """For clients: a file that names this cluster."""
        return self.folder / "kubeconfig"

    async def __aenter__(self) -> Self:
        if self._given_folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="local-cluster-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.api.start(port=self._port)
        write_kubeconfig(self.kubeconfig, url=self.api.url)
        for namespace in ("default", "kube-system"):
            self.apply({"kind": "Namespace", "metadata": {"name": namespace}})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.api.stop()
        if self._given_folder is None:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

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
        body = prepared(resource.plural, body)
        found = self.store.find(resource.plural, namespace, body["metadata"].get("name", ""))
        if found is None:
            return self.store.create(resource.plural, body)
        return self.store.replace(resource.plural, {**found, **body})

    async def until(self, holds: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """Wait until a statement about the objects holds; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not holds():
                await self.store.changed(self.store.version)
