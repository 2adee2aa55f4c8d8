"""What a baseline sees, made by hand: pods with pages, and a router's counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.core.contract.spec import Objective
from simulations.agenda import NS
from simulations.peers.baseline import BaselineSetting, RouterView, TargetView
from simulations.serving.columns import Gauges, RequestColumns
from simulations.serving.gauges import NEVER
from simulations.world.cold_start import StartTimes
from simulations.world.objects import SimulatedPod
from tests.simulations.world.world_builder import PROFILE, deployment, requests

START = StartTimes(node_ns=0, pull_ns=0, load_ns=0, warm_up_ns=0)
SCRAPED_NS = 1000 * NS


def page(
    *,
    waiting: int = 0,
    running: int = 0,
    kv: float = 0.0,
    finished: int = 0,
    prompt_tokens: int = 0,
    generation_tokens: int = 0,
) -> Gauges:
    return Gauges(
        waiting_requests=waiting,
        running_requests=running,
        kv_usage_ratio=kv,
        finished_requests_total=finished,
        prompt_tokens_total=prompt_tokens,
        generation_tokens_total=generation_tokens,
        preemptions_total=0,
        prefix_queried_tokens_total=0,
        prefix_hit_tokens_total=0,
    )


@dataclass
class PodBuilder:
    """Numbers pods and makes them in one state each."""

    made: int = 0

    def __call__(
        self,
        sample: Gauges | None = None,
        *,
        ready: bool = True,
        deleting: bool = False,
        stale: bool = False,
    ) -> SimulatedPod:
        self.made += 1
        return SimulatedPod(
            name=f"pod-{self.made}",
            replica_id=self.made,
            deployment=deployment(),
            start_times=START,
            tie_break=0.5,
            created_ns=0,
            bound_ns=0,
            ready=ready,
            ready_ns=0 if ready else NEVER,
            deleting_ns=0 if deleting else NEVER,
            serving=ready,
            sample=sample,
            sampled_ns=NEVER if sample is None else SCRAPED_NS - (NS if stale else 0),
        )


pod = PodBuilder()


def view(
    *pods: SimulatedPod,
    at: float = 1000.0,
    spec: int | None = None,
    router: RouterView | None = None,
) -> TargetView:
    active = [pod for pod in pods if not pod.deleting]
    return TargetView(
        at=at,
        spec_replicas=len(active) if spec is None else spec,
        status_replicas=len(active),
        pods=pods,
        scraped_ns=SCRAPED_NS,
        router=lambda: (
            router or RouterView(arrived_total=0, outstanding_requests=0, waiting_requests=0)
        ),
    )


def setting(
    *,
    replicas_min: int = 1,
    replicas_max: int = 10,
    traffic: RequestColumns | None = None,
    arrivals_s: Sequence[float] = (),
) -> BaselineSetting:
    return BaselineSetting(
        profile=PROFILE,
        objective=Objective(),
        replicas_min=replicas_min,
        replicas_max=replicas_max,
        replicas_initial=replicas_min,
        requests=requests(arrivals_s) if traffic is None else traffic,
    )
