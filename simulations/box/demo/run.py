"""The demo from beginning to end: start cluster and daemon, send requests, stop all, sum up."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from autoscaler.errors import AutoscalerError
from simulations.box.demo import scenario as stage
from simulations.box.demo.bill import Bill
from simulations.box.demo.daemon import DemoDaemon, replay, running_daemon, segments
from simulations.box.demo.exporters import export_gpus
from simulations.box.demo.load import Load, columns, schedule
from simulations.box.demo.picture import Picture
from simulations.box.demo.reclaim import Reclaim
from simulations.box.demo.scenario import Scenario
from simulations.box.demo.static_fleet import smallest
from simulations.box.demo.summary import Served, comparison, served_to
from simulations.box.demo.view import View
from simulations.box.local_cluster import LocalCluster
from simulations.box.local_cluster.controllers.service import Service

TICK_S = 1.0
_READY_S = 180.0
"""For the daemon's imports and the first server, on a machine that is busy with other things."""
_LOOK_EVERY_S = 0.5


def run_demo(*, plain: bool, record: Path | None, seed: int) -> int:
    """Run it; 0 if no request was lost and the recording replays to equal decisions.

    Args:
        plain: Lines instead of the live view, which also needs a terminal.
        record: A folder for the daemon's recording; kept nowhere unless given.
        seed: Of the load.
    """
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="autoscaler-demo-") as folder:
            demo = Demo(
                console=console,
                folder=Path(folder),
                recording=record or Path(folder) / "recording",
                plain=plain,
                seed=seed,
            )
            return asyncio.run(demo.run())
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started has ended")
        return 130
    except asyncio.CancelledError:
        console.print("terminated; everything that was started has ended")
        return 143


@dataclass(slots=True, kw_only=True)
class Demo:
    """One run."""

    console: Console
    folder: Path
    """For logs and the kubeconfig."""
    recording: Path
    plain: bool
    seed: int
    scenario: Scenario = field(default_factory=Scenario)

    async def run(self) -> int:
        """Play, then sum up."""
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        already_there = segments(self.recording)
        load = Load(
            url="",
            model=stage.MODEL,
            arrivals=schedule(
                self.scenario.rate_per_s,
                seconds=self.scenario.seconds,
                rate_max=self.scenario.rate_high_per_s,
                seed=self.seed,
            ),
        )
        try:
            with View(self.console, plain=self.plain) as view:
                played = await self._play(load, view)
        except* AutoscalerError as failed:
            for problem in failed.exceptions:
                self._print(str(problem))
            played = None
        if played is None:
            return 1
        bill, reclaim = played
        result = served_to(load.requests, ramp_s=self.scenario.ramp_s)
        replicas, static = smallest(columns(load.arrivals), ramp_s=self.scenario.ramp_s)
        self.console.print(
            comparison(
                ours=result,
                paid_s=bill.paid_s,
                replicas=replicas,
                static=static,
                seconds=bill.seconds,
            )
        )
        recorded = segments(self.recording) - already_there
        difference = await replay(recorded, log=self.folder / "replay.log")
        return self._verdict(result, load, reclaim, difference=difference)

    async def _play(self, load: Load, view: View) -> tuple[Bill, Reclaim]:
        """Everything that runs; when this returns, nothing does any more."""
        picture = Picture(seconds=self.scenario.seconds, at_s=-1.0)
        picture.phase = "starting an API server, three machines, one server and the daemon"
        view.show(picture)
        loop = asyncio.get_running_loop()
        async with self._stage() as (cluster, service, daemon):
            await daemon.ready(timeout_s=_READY_S)
            await cluster.until(lambda: bool(service.endpoints), timeout_s=_READY_S)
            bill, reclaim = Bill(cluster.store, now=loop.time), Reclaim(cluster, self.scenario)
            load.url = service.url
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(bill.run()),
                    group.create_task(reclaim.run(tell=picture.tell)),
                    group.create_task(self._look(cluster, daemon, load, reclaim, picture, view)),
                ]
                await load.play()
                for each in beside:
                    each.cancel()
            bill.note()
        return bill, reclaim

    @asynccontextmanager
    async def _stage(self) -> AsyncIterator[tuple[LocalCluster, Service, DemoDaemon]]:
        """The cluster, its Service and the daemon, from their start to their end."""
        async with LocalCluster(
            seed=self.seed, delays=stage.DELAYS, folder=self.folder / "cluster"
        ) as cluster:
            for machine in stage.MACHINES:
                cluster.nodes.add(machine)
                export_gpus(cluster, machine.name)
            for manifest in stage.manifests():
                cluster.apply(manifest)
            selector = {"app": stage.MODEL}
            service = await cluster.expose(stage.NAMESPACE, selector, port=stage.PORT)
            async with running_daemon(
                config=stage.RESOURCE_FILE,
                kubeconfig=cluster.kubeconfig,
                folder=self.folder,
                recording=self.recording,
                tick_s=TICK_S,
            ) as daemon:
                yield cluster, service, daemon

    async def _look(
        self,
        cluster: LocalCluster,
        daemon: DemoDaemon,
        load: Load,
        reclaim: Reclaim,
        picture: Picture,
        view: View,
    ) -> None:
        """Show what there is, until cancelled; raises `DaemonFailed`."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        self._print(f"the daemon's own page, as long as this runs: {daemon.people_page}")
        while True:
            page = await daemon.page()
            picture.at_s = loop.time() - began_at
            picture.phase = self.scenario.phase(picture.at_s)
            for decision in page.get("models", ()):
                picture.decide(decision)
            picture.see_gpus(page)
            picture.sent, picture.completed = len(load.requests), load.completed
            picture.lost, picture.in_flight = len(load.lost), load.in_flight
            picture.count(cluster.store, reclaim.doomed)
            picture.remember()
            view.show(picture)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _verdict(self, result: Served, load: Load, reclaim: Reclaim, *, difference: str) -> int:
        """Say what is right and what is not; 0 if all is right."""
        self._print(reclaim.account())
        if result.lost:
            first = load.lost[0]
            self._print(
                f"{result.lost} of {result.sent} requests were lost; the first, sent "
                f"{first.arrival.at_s:.1f} s in, got {first.tokens} of "
                f"{first.arrival.output_tokens} tokens: {first.problem or 'its stream ended early'}"
            )
        else:
            self._print(f"none of the {result.sent} requests was lost")
        if difference:
            self._print(f"the recording does not replay to the same decisions: {difference}")
        else:
            self._print("the daemon's recording replays to the same decisions, byte for byte")
        return 1 if result.lost or difference else 0

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
