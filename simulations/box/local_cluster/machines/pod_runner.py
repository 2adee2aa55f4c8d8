"""One pod's life on its machine: start, probes, restarts, and the end with its grace period."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from simulations.box.local_cluster.machines.containers import Container, kill_group
from simulations.box.local_cluster.machines.probes import Probe
from simulations.box.local_cluster.objects import Object, StatusError, set_condition, timestamp
from simulations.box.local_cluster.store import Store

_OVERRUN_S = 2.0
"""What a container still gets for its SIGTERM when preStop took the whole grace period."""
_RESTART_S_MAX = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEnd:
    """How a pod ended, for those who count."""

    pod: str
    grace_s: float
    """As last asked for."""
    hook_exit_code: int | None
    """Of preStop; None: it has none, or it ran out of time."""
    exit_code: int | None
    """Of the container; negative: of a signal; None: it never ran."""

    @property
    def was_killed(self) -> bool:
        """The grace period ran out."""
        return self.exit_code == -signal.SIGKILL


class PodRunner:
    """Runs one pod as a process and keeps its status in the store."""

    def __init__(
        self,
        store: Store,
        pod: Object,
        *,
        address: str,
        folder: Path,
        http: aiohttp.ClientSession,
        restart_after_s: float,
        ended: Callable[[PodEnd], None],
    ) -> None:
        self.node = str(pod["spec"]["nodeName"])
        self.task: asyncio.Task[None] | None = None
        """Whoever runs it sets this, so that `kill` can end it."""
        self.was_killed = False
        self._store = store
        self._pod = pod
        self._namespace, self._name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._spec: Object = pod["spec"]["containers"][0]
        self._address = address
        self._folder = folder
        self._http = http
        self._restart_after_s = restart_after_s
        self._ended = ended
        self._log = folder / "logs" / f"{self._name}.log"
        self._container: Container | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._restarts = 0
        self._grace_s = 0.0
        self._ends_at = 0.0

    @property
    def is_over(self) -> bool:
        """Nothing of it runs any more."""
        return self.task is not None and self.task.done()

    def kill(self) -> None:
        """The machine is dead: the process ends this instant, the pod's object stays as it is."""
        self.was_killed = True
        if self._process is not None:
            kill_group(self._process)
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Until the pod is gone, or this task is cancelled: then the process is killed."""
        deletion = asyncio.create_task(self._deletion())
        try:
            await self._live(deletion)
            await deletion
            await self._end()
        finally:
            deletion.cancel()
            if self._process is not None and self._process.returncode is None:
                kill_group(self._process)
                await self._process.wait()

    # -- life

    async def _live(self, deletion: asyncio.Task[None]) -> None:
        """Run the container, again and again if need be, until the pod is being deleted."""
        while not deletion.done():
            try:
                code = await self._run_once(deletion)
            except (StatusError, ValueError, OSError) as problem:
                self._write(partial(self._cannot_start, message=str(problem)))
                return
            if code is None:
                return
            again = self._pod["spec"].get("restartPolicy", "Always") == "Always"
            self._write(partial(self._exited, code=code, again=again))
            if not again:
                return
            backoff = min(_RESTART_S_MAX, self._restart_after_s * 2**self._restarts)
            self._restarts += 1
            await asyncio.wait({deletion}, timeout=backoff)

    async def _run_once(self, deletion: asyncio.Task[None]) -> int | None:
        """One run of the container: its exit code; None: it runs, and the pod is being deleted."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._container = Container.of(
            self._store,
            self._pod,
            address=self._address,
            folder=self._folder / "pods" / self._name,
        )
        self._process = await self._container.start(self._container.argv, self._log)
        self._write(self._started)
        exited = asyncio.create_task(self._process.wait())
        probing = asyncio.create_task(self._probe())
        try:
            await asyncio.wait({deletion, exited, probing}, return_when=asyncio.FIRST_COMPLETED)
            if probing.done() and not exited.done() and not deletion.done():
                probing.result()  # it ends by itself only when the container is to be restarted
                self._process.terminate()
                grace_s = self._pod["spec"]["terminationGracePeriodSeconds"]
                await asyncio.wait(
                    {exited, deletion}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not exited.done() and not deletion.done():
                    kill_group(self._process)
                    await exited
            return exited.result() if exited.done() else None
        finally:
            exited.cancel()
            probing.cancel()

    async def _probe(self) -> None:
        """Keep the Ready condition; return when the container is to be restarted."""
        startup, readiness, liveness = (
            Probe.of(self._spec, name, self._address)
            for name in ("startupProbe", "readinessProbe", "livenessProbe")
        )
        if startup is not None and not await startup.follow(self._http, lambda _verdict: True):
            return
        following = asyncio.create_task(self._follow_readiness(readiness))
        try:
            if liveness is None:
                await following
            else:
                await liveness.follow(self._http, lambda lives: not lives)
        finally:
            following.cancel()

    async def _follow_readiness(self, readiness: Probe | None) -> None:
        def heard(ready: bool) -> bool:  # noqa: FBT001  a verdict of a probe, called by it
            self._write(partial(self._ready, ready=ready))
            return False

        if readiness is None:
            heard(True)
            await asyncio.Event().wait()
        else:
            await readiness.follow(self._http, heard)

    # -- end

    async def _deletion(self) -> None:
        """Return once the pod has a deletionTimestamp, or is gone."""
        while True:
            version = self._store.version
            pod = self._find()
            if pod is None or "deletionTimestamp" in pod["metadata"]:
                return
            await self._store.changed(version)

    async def _end(self) -> None:
        """preStop, SIGTERM, and SIGKILL when the grace period is over; then the object goes."""
        loop = asyncio.get_running_loop()
        self._ends_at = float("inf")
        self._heed_grace()
        process, hook_code = self._process, None
        if process is not None and process.returncode is None:
            hook = (self._spec.get("lifecycle") or {}).get("preStop")
            if hook:
                hook_code = await self._run_hook(hook)
            if process.returncode is None:
                process.terminate()
                self._ends_at = max(self._ends_at, loop.time() + (_OVERRUN_S if hook else 0.0))
                if not await self._within_grace(asyncio.create_task(process.wait())):
                    kill_group(process)
                    await process.wait()
        self._ended(
            PodEnd(
                pod=self._name,
                grace_s=self._grace_s,
                hook_exit_code=hook_code,
                exit_code=process.returncode if process is not None else None,
            )
        )
        if self._find() is not None:
            self._store.remove("pods", self._namespace, self._name)

    async def _run_hook(self, hook: Object) -> int | None:
        """Run preStop within the grace period; None: it did not end by itself."""
        if "sleep" in hook:
            pause = asyncio.create_task(asyncio.sleep(float(hook["sleep"]["seconds"])))
            return 0 if await self._within_grace(pause) else None
        if self._container is None or "exec" not in hook:
            return None
        argv = self._container.resolve(list(hook["exec"]["command"]))
        try:
            process = await self._container.start(argv, self._log)
        except OSError:
            return None  # FailedPreStopHook: Kubernetes goes on with the SIGTERM
        try:
            await self._within_grace(asyncio.create_task(process.wait()))
        finally:
            kill_group(process)
            await process.wait()
        return process.returncode if process.returncode != -signal.SIGKILL else None

    async def _within_grace(self, work: asyncio.Task[object]) -> bool:
        """Wait for something until the grace period ends, which may be shortened meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            while not work.done():
                version = self._store.version
                self._heed_grace()
                left = self._ends_at - loop.time()
                if left <= 0:
                    return False
                changed = asyncio.create_task(self._store.changed(version))
                await asyncio.wait(
                    {work, changed}, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                changed.cancel()
            return True
        finally:
            work.cancel()

    def _heed_grace(self) -> None:
        """Take over a grace period that was shortened; a pod that is gone has none."""
        now = asyncio.get_running_loop().time()
        pod = self._find()
        if pod is None:
            self._ends_at = now
            return
        grace_s = float(pod["metadata"].get("deletionGracePeriodSeconds", 0))
        if grace_s != self._grace_s:
            self._grace_s = grace_s
            self._ends_at = min(self._ends_at, now + grace_s)

    # -- status

    def _find(self) -> Object | None:
        pod = self._store.find("pods", self._namespace, self._name)
        same = pod is not None and pod["metadata"]["uid"] == self._pod["metadata"]["uid"]
        return pod if same else None

    def _write(self, change: Callable[[Object], None]) -> None:
        if self._find() is not None and not self.was_killed:
            self._store.modify("pods", self._namespace, self._name, change)

    def _started(self, pod: Object) -> None:
        at = self._store.clock()
        status = pod["status"]
        status["phase"] = "Running"
        status["podIP"], status["hostIP"] = self._address, "127.0.0.1"
        status["podIPs"] = [{"ip": self._address}]
        status.setdefault("startTime", timestamp(at))
        set_condition(pod, "Initialized", status="True", at=at)
        self._ready(pod, ready=False)
        self._container_status(pod, {"running": {"startedAt": timestamp(at)}})

    def _ready(self, pod: Object, *, ready: bool) -> None:
        status, reason = ("True", "") if ready else ("False", "ContainersNotReady")
        for kind in ("ContainersReady", "Ready"):
            set_condition(pod, kind, status=status, at=self._store.clock(), reason=reason)
        for container in pod["status"].get("containerStatuses", ()):
            container["ready"] = ready

    def _exited(self, pod: Object, *, code: int, again: bool) -> None:
        self._ready(pod, ready=False)
        state = {"exitCode": code if code >= 0 else 128 - code}
        if again:
            self._container_status(pod, {"waiting": {"reason": "CrashLoopBackOff"}}, last=state)
            return
        self._container_status(pod, {"terminated": state})
        pod["status"]["phase"] = "Failed" if code else "Succeeded"

    def _cannot_start(self, pod: Object, *, message: str) -> None:
        waiting = {"reason": "CreateContainerError", "message": message}
        self._container_status(pod, {"waiting": waiting})

    def _container_status(self, pod: Object, state: Object, *, last: Object | None = None) -> None:
        status: Object = {
            "name": self._spec["name"],
            "image": self._spec.get("image", ""),
            "ready": False,
            "restartCount": self._restarts + (1 if last else 0),
            "state": state,
        }
        if last is not None:
            status["lastState"] = {"terminated": last}
        pod["status"]["containerStatuses"] = [status]
