"""Demand in replicas: offered load, backlog, KV cache, and what must never look like arrivals."""

from __future__ import annotations

import math
from dataclasses import replace
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.contract.spec import Targets
from autoscaler.core.demand.demand import Demand, DemandMemory, measure_demand
from tests.core.checkpoints import through_json
from tests.core.pods import Pod, answering, columns

TARGETS = Targets(in_flight_requests=32.0, waiting_requests=5.0, kv_usage_ratio=0.8)


def look(memory: DemandMemory, at: float, *pods: Pod, targets: Targets = TARGETS) -> Demand:
    replicas = columns(*pods)
    return measure_demand(
        memory, at=at, replicas=replicas, fresh=answering(replicas), targets=targets
    )


def served(
    memory: DemandMemory, *, names: str, at: float, ticks: int, running: float, per_tick: float
) -> list[Pod]:
    """Let replicas serve steadily; return them as last seen."""
    pods = [Pod(name=name, sampled_at=at, running=running) for name in names]
    look(memory, at, *pods)
    for tick in range(1, ticks + 1):
        now = at + 5.0 * tick
        pods = [
            replace(pod, sampled_at=now, finished=pod.finished + per_tick, running=running)
            for pod in pods
        ]
        look(memory, now, *pods)
    return pods


# --- the terms, one by one -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pods", "replicas", "basis"),
    [
        ("in flight over target", [Pod(name="a", running=16, sampled_at=0)], 0.5, "InFlight"),
        (
            "waiting counts as in flight",
            [Pod(name="a", running=32, waiting=4, sampled_at=0)],
            36 / 32,
            "InFlight",
        ),
        ("nothing to do is zero", [Pod(name="a", sampled_at=0)], 0.0, "InFlight"),
        (
            "never less than the KV caches hold",
            [Pod(name="a", running=4, kv=0.96, sampled_at=0)],
            1.2,
            "KVCache",
        ),
        (
            "one full cache among four is a matter of routing",
            [Pod(name="a", running=4, kv=1.0, sampled_at=0)]
            + [Pod(name=n, running=4, kv=0.2, sampled_at=0) for n in "bcd"],
            1.6 / 0.8,
            "KVCache",
        ),
        (
            "what a leaving replica holds is still demand",
            [
                Pod(name="a", running=16, sampled_at=0),
                Pod(name="b", running=16, sampled_at=0, deleting=True),
            ],
            1.0,
            "InFlight",
        ),
        (
            "a leaving replica's KV cache is not there to stay",
            [
                Pod(name="a", running=8, kv=0.2, sampled_at=0),
                Pod(name="b", running=8, kv=1.0, sampled_at=0, deleting=True),
            ],
            0.5,
            "InFlight",
        ),
        (
            "a starting replica holds nothing",
            [Pod(name="a", running=16, sampled_at=0), Pod(name="b", ready=False)],
            0.5,
            "InFlight",
        ),
        (
            "a ready one that does not answer is like the others",
            [Pod(name="a", running=16, sampled_at=0), Pod(name="b")],
            1.0,
            "InFlight",
        ),
    ],
)
def test_terms(name, pods, replicas, basis):
    demand = look(DemandMemory(), 0.0, *pods)
    assert demand.replicas == pytest.approx(replicas), name
    assert demand.basis == basis, name


def test_a_full_cache_that_still_flows_asks_for_its_target_and_no_more():
    """All caches full, nothing waits: 1 / 0.8 of what is there, not the backlog's bound."""
    pods = [Pod(name=n, running=8, kv=1.0, sampled_at=0) for n in "abcd"]
    assert look(DemandMemory(), 0.0, *pods).replicas == pytest.approx(5.0)
    demand = look(DemandMemory(), 0.0, *[replace(p, waiting=8) for p in pods])
    assert demand.replicas == pytest.approx(8.0), "N * (1 + W / R), now that they do wait"


@pytest.mark.parametrize(
    "pods",
    [
        [],
        [Pod(name="a", ready=False)],
        [Pod(name="a")],
        [Pod(name="a"), Pod(name="b", ready=False)],
        [Pod(name="a", sampled_at=0, running=nan)],
        [Pod(name="a"), Pod(name="b", sampled_at=0, running=3, deleting=True)],
    ],
)
def test_unknown_is_never_zero(pods):
    demand = look(DemandMemory(), 0.0, *pods)
    assert demand.replicas is None
    assert demand.offered_replicas is None
    assert demand.basis == "Unknown"


def test_one_that_stops_answering_keeps_what_it_held_if_that_was_more():
    """The replica that is overrun is the first to miss its scrape."""
    memory = DemandMemory()
    look(
        memory, 0.0, Pod(name="a", sampled_at=0, running=8), Pod(name="b", sampled_at=0, running=40)
    )
    demand = look(memory, 5.0, Pod(name="a", sampled_at=5, running=8), Pod(name="b"))
    assert demand.replicas == pytest.approx(48 / 32)
    assert "1 of 2 do not answer" in demand.message


# --- the offered load ------------------------------------------------------------------------


def test_service_time_is_running_over_completions():
    """10 running and 5 completions in 5 s: each is served for 10 s, by Little's law."""
    memory = DemandMemory()
    served(memory, names="ab", at=0.0, ticks=20, running=10.0, per_tick=5.0)
    assert memory.service_time.measured_s == pytest.approx(10.0)


def go_on(memory: DemandMemory, pod: Pod, *, ticks: int, running: float, per_tick: float) -> Demand:
    """The same replica, tick by tick, running and finishing so many."""
    demand = None
    for tick in range(1, ticks + 1):
        at = pod.sampled_at + 5.0 * tick
        finished = pod.finished + per_tick * tick
        demand = look(memory, at, replace(pod, sampled_at=at, running=running, finished=finished))
    assert demand is not None
    return demand


def test_a_crowd_that_serves_slowly_is_not_taken_for_more_work():
    """Thrice the requests, each at half the pace: thrice the work, though six times is in flight."""
    memory = DemandMemory()
    [pod] = served(memory, names="a", at=0.0, ticks=60, running=16.0, per_tick=8.0)
    assert memory.offered_requests == pytest.approx(16.0, rel=0.01)
    # the crowd forms, and then stays as large: 24 come and 24 go in a tick, each after 20 s
    demand = go_on(memory, pod, ticks=30, running=96.0, per_tick=24.0)
    assert memory.service_time.measured_s == pytest.approx(15.8, rel=0.05), "what is measured"
    assert demand.offered_replicas == pytest.approx(48 / 32, rel=0.01), (
        "and what it would be in time"
    )


def test_requests_that_become_longer_are_more_work():
    """As many requests, each four times as long: the calm service time says that one replica is
    enough, and it is crowded all the same."""
    memory = DemandMemory()
    [pod] = served(memory, names="a", at=0.0, ticks=60, running=16.0, per_tick=8.0)
    demand = go_on(memory, pod, ticks=60, running=64.0, per_tick=8.0)
    # the window still holds as many short ones: 25 s on average, where the calm ones took 10
    assert demand.offered_replicas == pytest.approx(8 / 5 * 25 / 32, rel=0.05)


def test_what_was_calm_long_ago_says_nothing():
    memory = DemandMemory()
    [pod] = served(memory, names="a", at=0.0, ticks=60, running=16.0, per_tick=8.0)
    demand = go_on(memory, pod, ticks=200, running=96.0, per_tick=24.0)
    assert memory.service_time.calm_s is None
    assert demand.offered_replicas == pytest.approx(96 / 32, rel=0.05)


@pytest.mark.parametrize("service_s", [1.0, 2.0, 10.0, 120.0])
def test_offered_load_is_arrivals_times_service_time(service_s):
    """Whatever the service time is against the tick, a steady load is its own offered load."""
    memory = DemandMemory()
    per_tick = 5.0 * 20.0 / service_s
    ticks = max(60, int(4 * service_s / 5))
    served(memory, names="ab", at=0.0, ticks=ticks, running=20.0, per_tick=per_tick)
    assert memory.offered_requests == pytest.approx(40.0, rel=1e-6)


def test_a_backlog_is_demand_but_not_offered_load():
    """200 arrive at once on one replica of 32 slots: they are offered once, and then only wait."""
    memory = DemandMemory()
    [pod] = served(memory, names="a", at=0.0, ticks=60, running=16.0, per_tick=8.0)
    now = pod.sampled_at + 5.0
    pod = replace(pod, sampled_at=now, running=32, waiting=168, finished=pod.finished + 8)
    demand = look(memory, now, pod)
    assert demand.basis == "Waiting"
    assert demand.replicas == pytest.approx(200 / 32)
    for _ in range(11):  # the flow goes on at 8 a tick; the 32 slots finish 16
        now += 5.0
        pod = replace(pod, sampled_at=now, finished=pod.finished + 16, waiting=pod.waiting - 8)
        demand = look(memory, now, pod)
    assert demand.offered_replicas == pytest.approx(0.5, rel=0.1), "it has fallen to its flow"
    held = (pod.waiting + 32) / 32
    assert demand.replicas < held, "an old backlog does not ask for what held it at first"
    assert demand.replicas == pytest.approx(2 * demand.offered_replicas + 1)


def test_more_waiting_than_its_target_shows_what_a_replica_really_carries():
    """16 slots under a target of 32: with 16 running and 10 waiting, 26 / 16 replicas are due."""
    pods = [Pod(name="a", sampled_at=0, running=16, waiting=10)]
    assert look(DemandMemory(), 0.0, *pods).replicas == pytest.approx(26 / 16)
    few = [Pod(name="a", sampled_at=0, running=16, waiting=5)]
    assert look(DemandMemory(), 0.0, *few).replicas == pytest.approx(21 / 32), "within its target"


def test_where_nobody_serves_the_last_offered_load_stands():
    """A fleet that died together must not come back as one replica."""
    memory = DemandMemory()
    served(memory, names="abcd", at=0.0, ticks=60, running=20.0, per_tick=10.0)
    before = memory.offered_requests
    demand = look(memory, 305.0, *[Pod(name=f"new-{i}", created_at=304, ready=False) for i in "ab"])
    assert demand.basis == "Remembered"
    assert demand.replicas == pytest.approx(before / 32)
    assert demand.offered_replicas is None, "and nothing is learnt from a memory"
    demand = look(memory, 900.0)
    assert demand.replicas == pytest.approx(before / 32), "however long it takes"


# --- what must never look like arrivals ------------------------------------------------------


def steady(names: str = "ab") -> tuple[DemandMemory, list[Pod], float]:
    """Five minutes of 20 in flight and 2 arrivals per second, on each replica."""
    memory = DemandMemory()
    pods = served(memory, names=names, at=0.0, ticks=60, running=20.0, per_tick=10.0)
    assert memory.offered_requests == pytest.approx(20.0 * len(names), rel=1e-6)
    return memory, pods, pods[0].sampled_at


def rates(memory: DemandMemory) -> list[float]:
    """Arrivals per second of each replica, by name."""
    last = memory.last
    return [rate for _, rate in sorted(zip(last.names, last.arrivals_per_s.tolist(), strict=True))]


def on(pod: Pod, at: float, ticks: int = 1) -> Pod:
    """The same, that much later."""
    return replace(pod, sampled_at=at, finished=pod.finished + 10.0 * ticks)


def test_a_replica_seen_for_the_first_time_brings_no_past():
    memory, [a, b], at = steady()
    old = Pod(name="c", created_at=-1e6, sampled_at=at + 5, running=20, finished=1e6)
    look(memory, at + 5, on(a, at + 5), on(b, at + 5), old)
    assert memory.offered_requests < 70.0, "a third one's load, not its million of requests"
    for tick in range(2, 40):
        now = at + 5.0 * tick
        old = on(old, now)
        a, b = on(a, now), on(b, now)
        look(memory, now, a, b, old)
    assert memory.offered_requests == pytest.approx(60.0, rel=1e-2)


def test_a_replica_watched_from_its_creation_began_at_zero():
    """What a new replica holds and has finished at its first sample did arrive since."""
    memory, [a], at = steady("a")
    new = Pod(name="b", created_at=at + 1, ready=False)
    look(memory, at + 5, on(a, at + 5), new)
    look(memory, at + 10, on(a, at + 10, 2), new)
    new = replace(new, ready=True, ready_at=at + 11, sampled_at=at + 15, running=15, finished=5)
    look(memory, at + 15, on(a, at + 15, 3), new)
    assert rates(memory) == pytest.approx([2.0, 4.0]), (
        "20 in the 5 s since it was last seen not serving"
    )


def test_a_gap_in_the_view_makes_nobody_new():
    """Pods that vanish from one look and come back have not begun at zero."""
    memory, pods, at = steady()
    look(memory, at + 5)
    look(memory, at + 10, *[on(pod, at + 10, 2) for pod in pods])
    assert memory.offered_requests == pytest.approx(40.0, rel=0.05)


def test_a_restarted_process_counts_from_zero():
    memory, [a, b], at = steady()
    restarted = replace(a, sampled_at=at + 5, running=6, finished=4)
    look(memory, at + 5, restarted, on(b, at + 5))
    assert rates(memory) == pytest.approx([2.0, 2.0])


def test_a_replica_that_vanishes_takes_what_it_held():
    """Neither negative arrivals nor completions: the load it had comes to the other one."""
    memory, [a, _], at = steady()
    completions = memory.service_time.window.denominator
    look(memory, at + 5, on(a, at + 5))
    assert memory.service_time.window.denominator == completions + 10.0
    assert 20.0 < memory.offered_requests < 40.0, "it decays as requests are served; no jump"


def test_a_long_gap_between_samples_is_a_rate_and_no_burst():
    memory, [a, b], at = steady()
    for tick in range(1, 12):
        now = at + 5.0 * tick
        look(memory, now, on(a, now, tick), Pod(name="b"))
    now = at + 60.0
    look(memory, now, on(a, now, 12), on(b, now, 12))
    assert memory.offered_requests == pytest.approx(40.0, rel=1e-3)


def test_given_up_requests_are_no_negative_arrivals():
    memory, [a, b], at = steady()
    look(memory, at + 5, replace(a, sampled_at=at + 5, running=0), on(b, at + 5))
    assert rates(memory) == pytest.approx([0.0, 2.0])


def test_a_sample_that_is_not_newer_changes_nothing():
    memory, pods, at = steady()
    look(memory, at + 5, *pods)
    assert rates(memory) == pytest.approx([2.0, 2.0]), "the rate stands"
    assert memory.offered_requests == pytest.approx(40.0, rel=1e-6)


def test_a_statefulset_pod_under_its_old_name_is_another_one():
    memory, [_, b], at = steady()
    reborn = Pod(name="a", created_at=at + 2, sampled_at=at + 5, running=10, finished=0)
    look(memory, at + 5, reborn, on(b, at + 5))
    assert rates(memory) == pytest.approx([2.0, 2.0])


def test_a_replica_without_the_counter_is_taken_to_be_like_the_others():
    memory, [a, b], at = steady()
    for tick in range(1, 30):
        now = at + 5.0 * tick
        a = on(a, now)
        look(memory, now, a, replace(b, sampled_at=now, finished=nan))
    assert memory.offered_requests == pytest.approx(40.0, rel=1e-3)


def test_no_counter_at_all_leaves_what_is_in_flight():
    memory = DemandMemory()
    for tick in range(30):
        now = 5.0 * tick
        demand = look(memory, now, Pod(name="a", sampled_at=now, running=16, finished=nan))
    assert demand.replicas == pytest.approx(0.5)
    assert demand.basis == "InFlight"


# --- properties ------------------------------------------------------------------------------

numbers = st.one_of(st.just(nan), st.floats(0.0, 500.0, allow_nan=False))


@st.composite
def looks(draw) -> list[tuple[float, list[Pod]]]:
    """Looks at a changing set of pods; time may stand still."""
    at, story = 1000.0, []
    for _ in range(draw(st.integers(1, 8))):
        at += draw(st.sampled_from([0.0, 1.0, 5.0, 5.0, 60.0, 4000.0]))
        pods = [
            Pod(
                name=name,
                created_at=draw(st.sampled_from([0.0, 990.0, at])),
                ready=draw(st.booleans()),
                deleting=draw(st.booleans()),
                sampled_at=draw(st.sampled_from([nan, at, at - 3.0])),
                waiting=draw(numbers),
                running=draw(numbers),
                kv=draw(st.one_of(st.just(nan), st.floats(0.0, 1.0))),
                finished=draw(numbers),
            )
            for name in draw(st.sampled_from(["", "a", "ab", "bca", "abcd"]))
        ]
        story.append((at, pods))
    return story


@pytest.mark.slow
@given(looks())
def test_anything_can_be_measured_and_a_checkpoint_goes_on_alike(story):
    memory = DemandMemory()
    for at, pods in story:
        other = through_json(memory)
        demand = look(memory, at, *pods)
        assert look(other, at, *pods) == demand
        if demand.replicas is not None:
            assert math.isfinite(demand.replicas)
            assert demand.replicas >= 0.0


@pytest.mark.slow
@given(looks(), st.randoms(use_true_random=False))
def test_the_order_of_replicas_is_irrelevant(story, random):
    memory, shuffled = DemandMemory(), DemandMemory()
    for at, pods in story:
        demand = look(memory, at, *pods)
        mixed = list(pods)
        random.shuffle(mixed)
        assert look(shuffled, at, *mixed) == demand


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=5), st.floats(0.0, 50.0))
def test_more_in_flight_is_never_less_demand(running, more):
    pods = [Pod(name=str(i), sampled_at=0, running=r) for i, r in enumerate(running)]
    busier = [replace(pods[0], running=pods[0].running + more), *pods[1:]]
    calm = look(DemandMemory(), 0.0, *pods).replicas
    assert look(DemandMemory(), 0.0, *busier).replicas >= calm - 1e-12


def test_a_large_fleet_is_measured_like_a_small_one():
    """The same load on each of three and of three hundred replicas."""
    few, many = DemandMemory(), DemandMemory()
    names = [f"pod-{i}" for i in range(300)]
    for memory, count in ((few, 3), (many, 300)):
        for tick in range(60):
            now = 5.0 * tick
            pods = [
                Pod(name=name, sampled_at=now, running=16, finished=8.0 * tick, kv=0.1)
                for name in names[:count]
            ]
            demand = look(memory, now, *pods)
        assert demand.replicas == pytest.approx(count / 2)
        assert demand.basis == "OfferedLoad"
