"""Whom a ReplicaSet deletes first."""

from autoscaler.core.contract.state import CapacityType
from simulations.agenda import NS
from simulations.serving.gauges import NEVER
from simulations.world.cold_start import StartTimes
from simulations.world.objects import SimulatedNode, SimulatedPod
from simulations.world.replica_set import victims
from tests.simulations.world.world_builder import deployment

START = StartTimes(node_ns=0, pull_ns=0, load_ns=0, warm_up_ns=0)


def node(name: str) -> SimulatedNode:
    return SimulatedNode(name=name, capacity_type=CapacityType.ON_DEMAND, slots=8)


def pod(
    name: str,
    *,
    on: SimulatedNode | None = None,
    created_s: int = 0,
    ready_s: int | None = None,
    tie_break: float = 0.5,
) -> SimulatedPod:
    made = SimulatedPod(
        name=name,
        replica_id=0,
        deployment=deployment(),
        start_times=START,
        tie_break=tie_break,
        created_ns=created_s * NS,
        node=on,
        bound_ns=NEVER if on is None else created_s * NS,
        ready_ns=NEVER if ready_s is None else ready_s * NS,
        ready=ready_s is not None,
    )
    if on is not None:
        on.pods.append(made)
    return made


def order(*pods: SimulatedPod, at_s: int = 10_000) -> list[str]:
    return [victim.name for victim in victims(pods, count=len(pods), at_ns=at_s * NS)]


def test_not_bound_then_starting_then_ready():
    ready, starting = pod("ready", on=node("a"), ready_s=10), pod("starting", on=node("b"))
    assert order(ready, starting, pod("unbound")) == ["unbound", "starting", "ready"]


def test_the_fuller_node_gives_first():
    full, empty = node("full"), node("empty")
    alone = pod("alone", on=empty, ready_s=9_000)
    first, second = (pod(name, on=full, ready_s=5) for name in ("x", "y"))
    assert order(alone, first, second)[-1] == "alone"


def test_the_one_that_is_ready_for_the_shorter_time_in_powers_of_two():
    old = pod("old", on=node("a"), ready_s=0, tie_break=0.1)
    new = pod("new", on=node("b"), ready_s=9_000, tie_break=0.9)
    assert order(old, new) == ["new", "old"]


def test_within_a_power_of_two_the_uid_decides():
    older = pod("older", on=node("a"), ready_s=0, tie_break=0.1)
    newer = pod("newer", on=node("b"), ready_s=1_000, tie_break=0.9)  # 9,000 and 10,000 s ago
    assert order(older, newer) == ["older", "newer"]


def test_the_lower_deletion_cost_before_anything_but_readiness():
    idle, busy = pod("idle", on=node("a"), ready_s=0), pod("busy", on=node("b"), ready_s=9_990)
    idle.deletion_cost = -1
    assert order(idle, busy, pod("starting", on=node("c"))) == ["starting", "idle", "busy"]
