"""A baseline in the loop: its monitoring's scrapes, its syncs, its writes, and who drains for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from autoscaler.core.contract.state import CapacityType
from simulations.agenda import NS, Agenda, Priority, seconds
from simulations.peers.baseline import (
    Baseline,
    BaselineSetting,
    MakeBaseline,
    Parameters,
    RouterView,
    SpotAware,
    TargetView,
)
from simulations.replay.conditions import Conditions
from simulations.replay.stage import (
    MIXED,
    ON_DEMAND,
    WRITE_NS,
    ReplayStage,
    drain_at_notices,
    initial_replicas,
    make_stage,
    new_deployment,
    spot_deployments,
)
from simulations.traces.trace import Trace
from simulations.world.objects import SimulatedDeployment
from simulations.world.world import SimulatedWorld

SCRAPE_AGE_NS = 7 * NS + NS // 2
"""Age of what a sync reads: the mean of a 15 s scrape, at syncs every 15 s."""


class BaselineLoop:
    """One baseline over a world with one Deployment, or with several: spot by zone, then on demand."""

    def __init__(
        self, baseline: Baseline, *, world: SimulatedWorld, agenda: Agenda, end_ns: int
    ) -> None:
        """The last sync is not after `end_ns`."""
        self._baseline = baseline
        self._world = world
        self._agenda = agenda
        self._end_ns = end_ns
        self._scraped_ns = 0
        self._shown_ns = -1
        """The scrape that stands on the pods."""
        self._sync_ns = int(baseline.sync_s * NS)
        self._age_ns = min(SCRAPE_AGE_NS, self._sync_ns // 2)

    def start(self) -> None:
        """Begin to scrape and sync."""
        self._schedule(self._sync_ns)
        if not isinstance(self._baseline, SpotAware) or self._baseline.hears_notices:
            drain_at_notices(self._world, self._agenda)

    def _schedule(self, sync_ns: int) -> None:
        if sync_ns <= self._end_ns:
            self._agenda.add(sync_ns - self._age_ns, self._scrape, priority=Priority.SCRAPE)
            self._agenda.add(sync_ns, self._sync, priority=Priority.OBSERVED)

    def _scrape(self, at_ns: int) -> None:
        self._scraped_ns = at_ns
        self._world.scrape(at_ns)

    def _sync(self, at_ns: int) -> None:
        deployments = self._world.deployments
        views = [self._view(deployment, at_ns) for deployment in deployments]
        answers: Sequence[int | None]
        if len(views) > 1 and isinstance(self._baseline, SpotAware):
            answers = self._baseline.sync_spot(views[:-1], views[-1])
        else:
            answers = [self._baseline.sync(views[0])]
        write_ns = at_ns + WRITE_NS + self._world.faults.write_delay_ns(at_ns)
        for view, deployment, replicas in zip(views, deployments, answers, strict=True):
            if replicas is not None and replicas != deployment.replicas and view.writable:
                self._agenda.add(write_ns, partial(self._write, deployment, replicas))
        self._schedule(at_ns + self._sync_ns)

    def _write(self, deployment: SimulatedDeployment, replicas: int, at_ns: int) -> None:
        self._world.scale(deployment, replicas, at_ns=at_ns)

    def _view(self, deployment: SimulatedDeployment, at_ns: int) -> TargetView:
        return TargetView(
            at=seconds(at_ns),
            spec_replicas=deployment.replicas,
            status_replicas=len(deployment.active),
            pods=tuple(deployment.pods),
            scraped_ns=self._scraped_ns,
            writable=not self._world.faults.refuses(at_ns),
            show=self._show,
            router=partial(self._router, at_ns),
        )

    def _show(self) -> None:
        """Put the pages of the last scrape onto the pods; done only for a baseline that reads them."""
        if self._shown_ns == self._scraped_ns:
            return
        self._shown_ns = self._scraped_ns
        pages, scraped_at = self._world.pages, seconds(self._scraped_ns)
        for deployment in self._world.deployments:
            for pod in deployment.pods:
                if pages.read_at(pod.replica_id) == scraped_at:
                    pod.sample, pod.sampled_ns = pages.page(pod.replica_id), self._scraped_ns

    def _router(self, at_ns: int) -> RouterView:
        fleet = self._world.fleet
        fleet.run_until(at_ns)
        return RouterView(
            arrived_total=fleet.arrived(),
            outstanding_requests=fleet.outstanding(),
            waiting_requests=fleet.waiting_at_router(),
        )


def start_baseline(
    trace: Trace,
    make: MakeBaseline,
    conditions: Conditions,
    *,
    seed: int,
    parameters: Parameters,
) -> ReplayStage:
    """Set up a run under a baseline; its first scrape and sync are on the agenda."""
    baseline = make(
        BaselineSetting(
            profile=conditions.profile,
            objective=conditions.objective.of_model(trace.requests, conditions.profile),
            replicas_max=conditions.replicas_max,
            replicas_initial=initial_replicas(trace, conditions),
            cold_start_s=conditions.cold_start.mean_s,
            requests=trace.requests,
            score_from_ns=conditions.score_from_ns,
        ),
        **parameters,
    )
    replicas = baseline.initial_replicas
    if conditions.spot is None:
        deployments = [new_deployment(ON_DEMAND, CapacityType.ON_DEMAND, replicas=replicas)]
    elif isinstance(baseline, SpotAware):
        deployments = [
            *spot_deployments(conditions.spot),
            new_deployment(ON_DEMAND, CapacityType.ON_DEMAND, replicas=replicas),
        ]
    else:
        deployments = [new_deployment(MIXED, CapacityType.MIXED, replicas=replicas)]
    stage = make_stage(trace, conditions, deployments, seed=seed)
    BaselineLoop(baseline, world=stage.world, agenda=stage.agenda, end_ns=stage.end_ns).start()
    return stage
