"""The world: pods come up, serve, drain and die; nodes are had, noticed and lost."""

import pytest

from autoscaler.core.contract.state import CapacityType
from simulations.agenda import NS
from simulations.serving.columns import RequestOutcome
from simulations.serving.gauges import NEVER
from simulations.world.cold_start import ColdStart
from simulations.world.objects import SimulatedDeployment, SimulatedPod
from simulations.world.world import SimulatedWorld
from tests.simulations.world.world_builder import deployment, machine, requests, world

SPOT = CapacityType.SPOT
MIXED = CapacityType.MIXED


def until(made: SimulatedWorld, at_s: float) -> None:
    made.agenda.run_until(int(at_s * NS))
    made.fleet.run_until(int(at_s * NS))


def only(target: SimulatedDeployment) -> SimulatedPod:
    (pod,) = target.pods
    return pod


def outcomes(made: SimulatedWorld) -> list[RequestOutcome]:
    return [RequestOutcome(value) for value in made.fleet.results.outcome]


def paid_s(made: SimulatedWorld, *, at_s: float) -> list[tuple[float, float]]:
    payments = made.ledger.closed(at_ns=int(at_s * NS))
    return sorted((p.from_ns / NS, p.to_ns / NS) for p in payments)


def test_a_deployment_begins_with_its_replicas_ready():
    made = world(deployment(replicas=3))
    assert [pod.ready for pod in made.deployments[0].pods] == [True] * 3
    assert len(made.nodes) == 3
    assert made.ledger.starts == 0


def test_a_new_replica_takes_its_cold_start_and_is_paid_from_its_binding():
    made = world()
    target = made.deployments[0]
    made.scale(target, 2, at_ns=10 * NS)
    until(made, 10.3)
    new = next(pod for pod in target.pods if not pod.ready)
    assert new.created_ns == new.bound_ns == int(10.2 * NS)
    times = new.start_times
    ready_s = 10.2 + (times.load_ns + times.warm_up_ns) / NS
    until(made, ready_s - 0.1)
    assert not new.ready
    until(made, ready_s + 0.1)
    assert new.ready
    assert paid_s(made, at_s=500) == [(0.0, 500.0), (10.2, 500.0)]
    assert made.ledger.starts == 1


def test_a_node_that_has_to_be_started_is_paid_from_its_start_and_its_image_is_pulled_once():
    phases = ColdStart(name="test", node_s=50.0, pull_s=30.0, load_s=10.0, warm_up_s=0.0)
    made = world(deployment(replicas=0), cold_start=phases, replicas_per_node=2)
    target = made.deployments[0]
    made.scale(target, 1, at_ns=0)
    until(made, 1)
    first = only(target)
    assert first.bound_ns == NEVER
    assert first.unschedulable_ns == NEVER  # a node is on its way for it
    until(made, 400)
    assert first.ready
    times = first.start_times
    assert first.bound_ns - first.created_ns == times.node_ns
    assert first.ready_ns - first.bound_ns == times.pull_ns + times.load_ns
    made.scale(target, 2, at_ns=400 * NS)
    until(made, 500)
    second = next(pod for pod in target.pods if pod is not first)
    assert second.node is first.node
    assert second.ready_ns - second.created_ns == second.start_times.load_ns
    assert paid_s(made, at_s=500)[0][0] == pytest.approx(0.2)


def test_the_last_pod_gives_its_node_back():
    made = world(deployment(replicas=2))
    made.scale(made.deployments[0], 0, at_ns=0)
    until(made, 10)
    assert made.nodes == {}
    assert made.deployments[0].pods == []


def test_a_replica_scaled_down_serves_out_what_it_has_and_gets_nothing_new():
    traffic = requests([1.0, 30.0], output_tokens=500)
    made = world(deployment(replicas=2), traffic=traffic)
    until(made, 2)
    target = made.deployments[0]
    busy = next(pod for pod in target.pods if made.fleet.in_flight(pod.replica_id))
    made.evict(busy, grace_s=150, at_ns=2 * NS)
    until(made, 5)
    assert busy.deleting
    assert busy.ready
    assert made.fleet.in_flight(busy.replica_id) == 1
    until(made, 120)
    assert busy not in target.pods
    assert outcomes(made) == [RequestOutcome.COMPLETED] * 2
    # its end: about two seconds after its last answer (a look a second, then the exit)
    ended = int(made.fleet.results.finished_ns[0]) / NS
    gone = min(to for _, to in paid_s(made, at_s=120))
    assert ended < gone <= ended + 2


def test_the_grace_period_ends_what_has_not_ended():
    made = world(traffic=requests([1.0], output_tokens=2000))
    until(made, 2)
    made.evict(only(made.deployments[0]), grace_s=10, at_ns=2 * NS)
    until(made, 20)
    assert outcomes(made) == [RequestOutcome.LOST]
    assert made.fleet.results.finished_ns[0] == 12 * NS


def test_a_second_deletion_may_only_shorten_the_grace():
    made = world(traffic=requests([1.0], output_tokens=2000))
    until(made, 2)
    pod = only(made.deployments[0])
    made.evict(pod, grace_s=60, at_ns=2 * NS)
    made.evict(pod, grace_s=90, at_ns=3 * NS)
    assert pod.gone_by_ns == 62 * NS
    made.evict(pod, grace_s=5, at_ns=4 * NS)
    until(made, 10)
    assert made.fleet.results.finished_ns[0] == 9 * NS


def test_an_evicted_pod_is_replaced_by_its_replica_set_and_the_scale_stays():
    made = world()
    target = made.deployments[0]
    made.evict(only(target), grace_s=30, at_ns=10 * NS)
    until(made, 10.5)
    assert target.replicas == 1
    assert len(target.pods) == 2
    assert [pod.deleting for pod in target.pods].count(True) == 1
    assert made.ledger.starts == 1


def test_a_loading_replica_is_deleted_at_once_and_never_serves():
    made = world()
    target = made.deployments[0]
    made.scale(target, 2, at_ns=0)
    until(made, 20)
    made.scale(target, 1, at_ns=20 * NS)
    until(made, 25)
    assert only(target).ready
    until(made, 300)
    assert len(target.pods) == 1


def test_what_cannot_be_had_is_unschedulable_until_it_can():
    made = world(deployment(replicas=1), on_demand_max=1)
    target = made.deployments[0]
    first = only(target)
    made.scale(target, 2, at_ns=0)
    until(made, 50)
    waiting = next(pod for pod in target.pods if pod is not first)
    assert waiting.unschedulable_ns == int(0.2 * NS)
    assert waiting.bound_ns == NEVER
    made.evict(first, grace_s=10, at_ns=50 * NS)
    until(made, 60)
    assert waiting.bound_ns != NEVER
    assert waiting.unschedulable_ns == NEVER


def test_spot_comes_when_a_machine_does():
    made = world(deployment(capacity_type=SPOT, replicas=0), spot=[machine(100.0)])
    target = made.deployments[0]
    made.scale(target, 2, at_ns=0)
    until(made, 99)
    assert [pod.bound_ns for pod in target.pods] == [NEVER, NEVER]
    until(made, 101)
    assert sorted(pod.bound_ns for pod in target.pods) == [NEVER, 100 * NS]


def test_mixed_takes_spot_first_and_on_demand_where_there_is_none():
    made = world(deployment(capacity_type=MIXED, replicas=3), spot=[machine(), machine()])
    assert sorted(node.capacity_type for node in made.nodes.values()) == [
        CapacityType.ON_DEMAND,
        SPOT,
        SPOT,
    ]


def test_a_cordoned_node_takes_nothing_more():
    made = world(deployment(replicas=1), replicas_per_node=4)
    (node,) = made.nodes.values()
    made.cordon(node, by_us=True)
    made.scale(made.deployments[0], 2, at_ns=0)
    until(made, 5)
    assert len(made.nodes) == 2
    made.mark_drained(node)
    made.uncordon(node, at_ns=5 * NS)
    assert node.schedulable
    assert not node.cordoned_by_us
    assert not node.marked_drained


def spot_fleet(*, down_s: float, lead_s: float, grace_s: float = 30.0, load_s: float = 10.0):
    traffic = requests([1.0], output_tokens=4000)
    start = ColdStart(name="test", load_s=load_s, warm_up_s=0.0)
    return world(
        deployment(capacity_type=SPOT, grace_s=grace_s),
        traffic=traffic,
        spot=[machine(0.0, down_s), machine(0.0)],
        spot_lead_s=lead_s,
        cold_start=start,
        seed=next(s for s in range(20) if _takes_the_short_one(s, down_s)),
    )


def _takes_the_short_one(seed: int, down_s: float) -> bool:
    probe = world(
        deployment(capacity_type=SPOT), spot=[machine(0.0, down_s), machine(0.0)], seed=seed
    )
    (node,) = probe.nodes.values()
    return node.machine is not None and node.machine.down_ns == int(down_s * NS)


def test_a_notice_comes_its_lead_before_the_loss():
    made = spot_fleet(down_s=60, lead_s=45)
    heard = []
    made.notice_listeners.append(lambda node, at: heard.append((node.name, at, node.deadline_ns)))
    until(made, 20)
    assert heard == [("spot-00001", 16 * NS, 60 * NS)]  # a second until it can be seen


def test_a_lost_node_takes_its_requests_with_it_and_is_told_of_later():
    made = spot_fleet(down_s=60, lead_s=0)
    heard = []
    made.notice_listeners.append(lambda node, _: heard.append(node))
    pod = only(made.deployments[0])
    until(made, 61)
    assert outcomes(made) == [RequestOutcome.LOST]
    assert heard == []
    assert pod.ready  # nobody has noticed yet
    until(made, 111)
    assert not pod.ready
    until(made, 121)
    assert pod not in made.deployments[0].pods  # with its Node, a minute after the loss
    until(made, 140)
    assert only(made.deployments[0]).ready
    assert paid_s(made, at_s=60) == [(0.0, 60.0)]
    assert paid_s(made, at_s=130)[0] == (0.0, 60.0)


def test_the_ledger_knows_who_serves():
    """A replica serves from ready until it is deleted, or its machine is gone; each once."""
    made = spot_fleet(down_s=60, lead_s=50)
    target = made.deployments[0]
    made.scale(target, 2, at_ns=5 * NS)
    until(made, 20)
    assert [count for _, count in made.ledger.serving] == [1, 2]
    doomed = next(pod for pod in target.pods if pod.node is not None and pod.node.noticed_ns > 0)
    made.evict(doomed, grace_s=20, at_ns=20 * NS)
    assert made.ledger.serving[-1] == (20 * NS, 1)
    made.scale(target, 1, at_ns=21 * NS)
    until(made, 130)
    lost = spot_fleet(down_s=60, lead_s=0)
    until(lost, 140)
    assert [(at // NS, count) for at, count in lost.ledger.serving] == [(0, 1), (60, 0), (130, 1)]
    for of in (made, lost):
        serving = [
            pod for each in of.deployments for pod in each.pods if pod.ready and not pod.deleting
        ]
        assert of.ledger.serving[-1][1] == len(serving)


def test_a_drained_node_stays_until_its_deadline_and_is_not_paid():
    made = spot_fleet(down_s=60, lead_s=50)
    pod = only(made.deployments[0])
    until(made, 11)
    made.evict(pod, grace_s=20, at_ns=11 * NS)
    until(made, 40)
    assert pod not in made.deployments[0].pods
    assert "spot-00001" in made.nodes
    assert made.ledger.interruptions == 1
    assert list(made.ledger.ended_in_notice) == [pod.replica_id]
    assert (0.0, 31.0) in paid_s(made, at_s=40)
    until(made, 125)
    assert "spot-00001" not in made.nodes


def test_a_terminating_pod_on_a_lost_node_stays_until_its_node_is_deleted():
    made = spot_fleet(down_s=60, lead_s=0)
    pod = only(made.deployments[0])
    until(made, 55)
    made.evict(pod, grace_s=20, at_ns=55 * NS)
    until(made, 100)
    assert pod in made.deployments[0].pods
    until(made, 121)
    assert pod not in made.deployments[0].pods


def test_a_pod_being_deleted_when_its_node_comes_up_is_not_bound():
    phases = ColdStart(name="test", node_s=50.0, pull_s=0.0, load_s=10.0, warm_up_s=0.0)
    made = world(deployment(replicas=0), cold_start=phases)
    target = made.deployments[0]
    made.scale(target, 1, at_ns=0)
    until(made, 5)
    made.scale(target, 0, at_ns=5 * NS)
    until(made, 200)
    assert target.pods == []
    assert made.nodes == {}


def test_a_scrape_reads_the_pages_that_answer():
    made = world(deployment(replicas=2), traffic=requests([1.0, 1.1], output_tokens=500))
    made.scale(made.deployments[0], 3, at_ns=0)
    until(made, 5)
    made.scrape(5 * NS)
    pages = [made.pages.page(pod.replica_id) for pod in made.deployments[0].pods]
    assert [None if page is None else page.running_requests for page in pages] == [1, 1, None]


def test_cold_starts_do_not_depend_on_who_else_draws():
    starts = []
    for spot in ((), [machine(), machine()]):
        made = world(deployment(), deployment("spot", SPOT, replicas=0), spot=spot)
        made.scale(made.deployments[0], 4, at_ns=0)
        until(made, 1)
        starts.append([pod.start_times for pod in made.deployments[0].pods])
    assert starts[0] == starts[1]
