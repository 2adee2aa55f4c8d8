"""What a baseline is and what it may look at.

A baseline sees what its original would see in a cluster: one Deployment's scale and pods, each pod's
page as its monitoring last read it, and, for those that run a router of their own, that router's
counts. It never sees the trace's future, but for static fleets, which are sized in hindsight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, runtime_checkable

from autoscaler.core.contract.spec import Objective
from simulations.serving.columns import Gauges, RequestColumns
from simulations.serving.profiles.profiles import Profile
from simulations.world.objects import SimulatedPod


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineSetting:
    """What a user of any of them would tell it."""

    profile: Profile
    objective: Objective
    replicas_min: int = 1
    replicas_max: int = 10
    replicas_initial: int = 1
    """Ready when the trace begins: what its first minutes need, for all alike."""
    cold_start_s: float = 180.0
    """Its mean; for those that ask for one."""
    requests: RequestColumns
    """The trace, for fleets that are sized in hindsight; nobody else may look."""
    score_from_ns: int = 0
    """Where the score begins: hindsight sizes a fleet for what is scored."""

    @property
    def scored_requests(self) -> RequestColumns:
        """Those that are scored, on a clock that begins with the score."""
        scored = self.requests.part(self.requests.rows_from(self.score_from_ns))
        return replace(scored, arrival_ns=scored.arrival_ns - self.score_from_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterView:
    """What a router in front of the fleet has counted."""

    arrived_total: int
    outstanding_requests: int
    """At replicas and waiting for one."""
    waiting_requests: int
    """For want of any replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """One Deployment at one sync."""

    at: float
    """Seconds; differences are what counts."""
    spec_replicas: int
    status_replicas: int
    pods: Sequence[SimulatedPod]
    """Those that exist, deleting ones included; their `sample` is what was scraped last."""
    scraped_ns: int
    """When the last scrape was."""
    writable: bool = True
    """A write of this sync will be stored; an HPA remembers only those."""
    router: Callable[[], RouterView]
    show: Callable[[], None] = lambda: None
    """Puts the pages of the last scrape onto the pods, where they are not there yet."""

    @property
    def ready(self) -> list[SimulatedPod]:
        """Ready and not deleting."""
        return [pod for pod in self.pods if pod.ready and not pod.deleting]

    @property
    def samples(self) -> dict[str, Gauges]:
        """By pod: the pages that the last scrape read."""
        self.show()
        return {
            pod.name: pod.sample
            for pod in self.pods
            if pod.sample is not None and pod.sampled_ns == self.scraped_ns
        }


class Baseline(Protocol):
    """One autoscaler over one run: it remembers what its original remembers."""

    @property
    def sync_s(self) -> float:
        """Seconds between two of its syncs."""

    @property
    def initial_replicas(self) -> int:
        """Ready at the first moment."""

    def sync(self, view: TargetView) -> int | None:
        """Replicas to set now; None: leave them."""


@runtime_checkable
class SpotAware(Protocol):
    """A baseline that runs spot and on-demand replicas apart, and drains, or not, by itself."""

    hears_notices: bool
    """Whether anybody cordons and evicts for it at a notice."""

    def sync_spot(self, spot: Sequence[TargetView], on_demand: TargetView) -> Sequence[int]:
        """Replicas to set now: of each spot Deployment (one a zone), and on demand."""


Parameters: TypeAlias = Mapping[str, float]
"""What a sweep varies, by the name of the constructor's argument."""


MakeBaseline: TypeAlias = Callable[..., Baseline]
"""A baseline's class: called with the setting, and with parameters by name, which have defaults."""
