"""How long a start is counted to take: what is measured, and the quantile of it."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.supply.cold_starts import (
    ColdStartMemory,
    cold_start_s,
    observe_starts,
    whole_start_s,
)
from tests.core.checkpoints import through_json
from tests.core.pods import Pod, columns

FIRST = 1_000_000.0


def look(memory: ColdStartMemory, at: float, *pods: Pod, pool: int = 0) -> None:
    observe_starts(memory, at=at, replicas=columns(*pods), pool=pool)


def watch_start(
    memory: ColdStartMemory, *, name: str, at: float, takes_s: float, waits_s: float = 0.0
) -> float:
    """Let one replica start before our eyes; return when it was ready."""
    look(memory, at)
    bound_at = at + 1 + waits_s
    stuck = Pod(name=name, created_at=at + 1, ready=False, unschedulable_since=at + 1)
    bound = Pod(name=name, created_at=at + 1, scheduled_at=bound_at, ready=False)
    ready_at = bound_at + takes_s
    now = at + 5
    while now < ready_at:
        look(memory, now, stuck if now < bound_at else bound)
        now += 5
    ready = Pod(name=name, created_at=at + 1, scheduled_at=bound_at, ready=True, ready_at=ready_at)
    look(memory, now, ready)
    return now


def measured(*durations: float) -> ColdStartMemory:
    memory = ColdStartMemory()
    at = FIRST
    for number, duration in enumerate(durations):
        at = watch_start(memory, name=f"pod-{number}", at=at, takes_s=duration)
    return memory


@pytest.mark.parametrize(
    ("durations", "prior_s", "expected"),
    [
        ([], 180.0, 180.0),  # the prior alone
        ([60.0], 180.0, 180.0),  # it weighs 4.5 beside 1
        ([300.0], 180.0, 300.0),  # 1 of 5.5 is more than a tenth, so a slow start is believed
        ([60.0] * 9, 180.0, 60.0),  # 0.5 beside 9
        ([60.0] * 8, 180.0, 180.0),  # 1 beside 8: a ninth is still more than a tenth
        ([60.0] * 10, 180.0, 60.0),  # nothing is left of it
        ([60.0] * 17 + [90.0, 90.0, 300.0], 180.0, 90.0),  # the 18th of 20
        ([300.0] * 5 + [60.0] * 20, 180.0, 60.0),  # only the last 20
    ],
)
def test_the_quantile_and_the_weight_of_the_prior(durations, prior_s, expected):
    memory = measured(*durations)
    assert cold_start_s(memory, prior_s=prior_s) == expected


def test_who_asks_for_a_start_waits_for_its_node_too():
    """Nine in ten, and not the one for which there was no node for long."""
    memory = ColdStartMemory()
    assert whole_start_s(memory, prior_s=180.0) == 180.0
    at = FIRST
    for number, waits_s in enumerate([90.0] * 9 + [2_000.0]):
        at = watch_start(memory, name=f"pod-{number}", at=at, takes_s=60.0, waits_s=waits_s)
    assert cold_start_s(memory, prior_s=180.0) == 60.0
    assert whole_start_s(memory, prior_s=180.0) == 150.0
    for number in range(3):
        at = watch_start(memory, name=f"late-{number}", at=at, takes_s=60.0, waits_s=4_000.0)
    assert whole_start_s(memory, prior_s=180.0) == 60.0 + 900.0
    assert len(memory.whole_s) == len(memory.measured_s)


def test_time_unschedulable_is_left_out():
    memory = ColdStartMemory()
    watch_start(memory, name="a", at=FIRST, takes_s=40.0, waits_s=600.0)
    assert memory.measured_s == [40.0]


def test_ordinary_binding_is_part_of_a_start():
    """Whole seconds: a pod created at 10.9 and bound at 11.1 shows one second between."""
    memory = ColdStartMemory()
    watch_start(memory, name="a", at=FIRST, takes_s=40.0, waits_s=1.0)
    assert memory.measured_s == [41.0]


def test_a_start_between_two_looks_is_measured():
    memory = ColdStartMemory()
    look(memory, FIRST)
    look(memory, FIRST + 5, Pod(name="a", created_at=FIRST + 1, ready=True, ready_at=FIRST + 4))
    assert memory.measured_s == [3.0]


def test_what_was_ready_before_us_is_measured_where_it_became_so_soon():
    """After a restart of ours nothing has to be learnt anew."""
    memory = ColdStartMemory()
    look(
        memory,
        FIRST,
        Pod(name="a", created_at=FIRST - 9000, ready=True, ready_at=FIRST - 8800),
        Pod(name="b", created_at=FIRST - 86_400, ready=True, ready_at=FIRST - 86_220),
        Pod(
            name="c",
            created_at=FIRST - 5000,
            scheduled_at=FIRST - 4000,
            ready=True,
            ready_at=FIRST - 3810,
        ),
        Pod(name="d", created_at=FIRST - 100, ready=False),
    )
    assert memory.measured_s == [180.0, 200.0, 190.0]
    assert memory.starting == {"d": 100.0}


def test_of_many_that_were_ready_before_us_the_last_count():
    memory = ColdStartMemory()
    pods = [
        Pod(
            name=f"pod-{number}",
            created_at=FIRST - 1000 * number,
            ready=True,
            ready_at=FIRST - 1000 * number + 100 + number,
        )
        for number in range(1, 31)
    ]
    look(memory, FIRST, *pods)
    assert memory.measured_s == [100.0 + number for number in range(20, 0, -1)]


@pytest.mark.parametrize(
    ("name", "pod"),
    [
        (
            "ready when first seen, long after its creation: its container was restarted",
            Pod(name="a", created_at=FIRST - 86_400, ready=True, ready_at=FIRST - 60),
        ),
        (
            "ready when first seen, at once: nothing loads so fast",
            Pod(name="a", created_at=FIRST - 60, ready=True, ready_at=FIRST - 60),
        ),
        (
            "ready when first seen, nobody knows since when",
            Pod(name="a", created_at=FIRST - 60, ready=True, ready_at=nan),
        ),
        (
            "not ready when first seen, but old: it ails",
            Pod(name="a", created_at=FIRST - 86_400, ready=False),
        ),
    ],
)
def test_what_was_there_before_us_is_not_measured(name, pod):
    memory = ColdStartMemory()
    look(memory, FIRST, pod)
    look(memory, FIRST + 5, Pod(name="a", created_at=pod.created_at, ready_at=FIRST + 4))
    assert memory.measured_s == [], name
    assert memory.starting == {}, name


def test_a_young_pod_that_was_starting_when_we_came_is_measured():
    memory = ColdStartMemory()
    look(memory, FIRST, Pod(name="a", created_at=FIRST - 30, ready=False))
    look(memory, FIRST + 5, Pod(name="a", created_at=FIRST - 30, ready_at=FIRST + 5))
    assert memory.measured_s == [35.0]


def test_a_container_that_restarts_is_no_start():
    memory = ColdStartMemory()
    now = watch_start(memory, name="a", at=FIRST, takes_s=30.0)
    look(memory, now + 5, Pod(name="a", created_at=FIRST + 1, ready=False))
    look(memory, now + 65, Pod(name="a", created_at=FIRST + 1, ready=True, ready_at=now + 65))
    assert memory.measured_s == [30.0]


def test_each_pool_learns_from_its_own():
    memory = ColdStartMemory()
    look(memory, FIRST, pool=1)
    starting = [
        Pod(name=name, pool=pool, created_at=FIRST + 1, ready=False)
        for name, pool in (("a", 0), ("b", 1))
    ]
    look(memory, FIRST + 5, *starting, pool=1)
    assert list(memory.starting) == ["b"]


def test_a_running_start_counts_once_it_is_later_than_the_quantile():
    memory = measured(*[60.0] * 10)
    at = FIRST + 50_000
    look(memory, at)
    for age in (30.0, 60.0):
        look(memory, at + age, Pod(name="slow", created_at=at, ready=False))
        assert cold_start_s(memory, prior_s=180.0) == 60.0
    look(memory, at + 90, Pod(name="slow", created_at=at, ready=False))
    assert cold_start_s(memory, prior_s=180.0) == 60.0, "one in eleven is less than a tenth"
    two = [Pod(name=name, created_at=at, ready=False) for name in ("slow", "slower")]
    look(memory, at + 90, *two)
    assert cold_start_s(memory, prior_s=180.0) == 90.0


def test_a_stuck_start_does_not_move_its_own_expiry_ahead_of_itself():
    """Expiry is at twice the quantile: were the age unbounded, no start would ever be given up."""
    memory = ColdStartMemory()
    look(memory, FIRST)
    for age in (100.0, 1_000.0, 100_000.0):
        look(memory, FIRST + age, Pod(name="stuck", created_at=FIRST, ready=False))
        assert cold_start_s(memory, prior_s=60.0) <= 120.0


def test_time_unschedulable_does_not_age_a_running_start():
    memory = ColdStartMemory()
    look(memory, FIRST)
    stuck = Pod(
        name="a", created_at=FIRST, ready=False, scheduled_at=nan, unschedulable_since=FIRST + 1
    )
    for age in (5, 100, 9_000):
        look(memory, FIRST + age, stuck)
        assert memory.starting == {"a": 1.0}


def test_a_start_that_is_called_off_is_forgotten():
    memory = ColdStartMemory()
    look(memory, FIRST)
    look(memory, FIRST + 5, Pod(name="a", created_at=FIRST + 1, ready=False))
    look(memory, FIRST + 10, Pod(name="a", created_at=FIRST + 1, ready=False, deleting=True))
    assert memory.starting == {}
    look(memory, FIRST + 15)
    assert memory.settled == {}


@st.composite
def looks(draw) -> list[tuple[float, list[Pod]]]:
    at, story = FIRST, []
    for _ in range(draw(st.integers(1, 8))):
        at += draw(st.sampled_from([0.0, 1.0, 5.0, 600.0]))
        pods = [
            Pod(
                name=name,
                pool=draw(st.integers(0, 1)),
                created_at=draw(st.sampled_from([FIRST - 1e6, at - 20, at])),
                scheduled_at=draw(st.sampled_from([None, nan, at - 10])),
                unschedulable_since=draw(st.sampled_from([nan, at - 15])),
                ready=draw(st.booleans()),
                ready_at=draw(st.sampled_from([nan, at - 1, at])),
                deleting=draw(st.booleans()),
            )
            for name in draw(st.sampled_from(["", "a", "ab", "bca"]))
        ]
        story.append((at, pods))
    return story


@pytest.mark.slow
@given(looks())
def test_anything_can_be_watched_and_a_checkpoint_goes_on_alike(story):
    memory = ColdStartMemory()
    for at, pods in story:
        other = through_json(memory)
        for each in (memory, other):
            look(each, at, *pods)
        assert to_builtins(other, ColdStartMemory) == to_builtins(memory, ColdStartMemory)
        found = cold_start_s(memory, prior_s=100.0)
        assert found == cold_start_s(other, prior_s=100.0)
        assert 0.0 <= found <= 1e7
