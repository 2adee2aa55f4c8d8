"""The compiled kernel gives the same nanosecond as the reference for every request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from numpy.typing import NDArray

from simulations.agenda import NS
from simulations.serving.columns import Gauges, RequestOutcome
from simulations.serving.fleet import EngineChoice, ServingFleet
from simulations.serving.histograms import GAUGES, ROWS, TPOT, TTFT
from simulations.serving.profiles.profiles import PROFILES, Profile
from simulations.studies.benchmark.traffic import PROFILE, conversations
from tests.simulations.serving.hand import columns, profile
from tests.simulations.serving.stories import (
    Fleet,
    Story,
    Telling,
    assert_equal,
    pressed_stories,
    stories,
    tell,
)

pytestmark = pytest.mark.slow
SLOW_IS_FINE = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def reference(story: Story) -> Fleet:
    return fleet(story, "reference")


def kernel(story: Story, other: Profile | None = None) -> Fleet:
    pytest.importorskip("numba")
    return fleet(story, "numba", other)


def fleet(story: Story, engine: EngineChoice, other: Profile | None = None) -> Fleet:
    return ServingFleet(
        other or story.profile,
        story.requests,
        routing=story.routing,
        timeout_ns=story.timeout_ns,
        retries=story.retries,
        engine=engine,
    )


@SLOW_IS_FINE
@given(stories())
def test_the_kernel_equals_stepping(story: Story) -> None:
    assert_equal(tell(story, kernel(story)), tell(story, reference(story)))


@SLOW_IS_FINE
@given(story=pressed_stories())
def test_no_end_is_noticed_late_where_queues_give_up(story: Story) -> None:
    assert_equal(tell(story, kernel(story)), tell(story, reference(story)))


@pytest.mark.parametrize("build", [reference, kernel])
@SLOW_IS_FINE
@given(story=stories())
def test_what_is_read_of_all_at_once_is_what_each_says(
    build: Callable[[Story], Fleet], story: Story
) -> None:
    tell(story, Looking(build(story), story))


class Looking:
    """A fleet that compares, at every look, its counts and tables with its pages and results."""

    def __init__(self, fleet: Fleet, story: Story) -> None:
        assert isinstance(fleet, ServingFleet)
        self._fleet = fleet
        self._story = story
        self._alive: set[int] = set()
        self.results = fleet.results

    def run_until(self, at_ns: int) -> None:
        fleet = self._fleet
        fleet.run_until(at_ns)
        table = np.full((ROWS, 8), np.nan)
        fleet.read_pages(table, 0.5)
        assert set(np.flatnonzero(~np.isnan(table[0])).tolist()) == self._alive
        for replica in self._alive:
            assert table[: GAUGES.stop, replica].tolist() == [0.5, *fleet.gauges(replica)]
            firsts, whole = table[TTFT, replica], table[TPOT, replica]
            assert (np.diff(firsts) >= 0).all()
            assert (np.diff(whole) >= 0).all()
            assert whole[-1] == fleet.gauges(replica).queued_requests_total
        arrived = int(np.searchsorted(self._story.requests.arrival_ns, at_ns, side="right"))
        pending = int(np.count_nonzero(self.results.outcome[:arrived] == RequestOutcome.PENDING))
        assert (fleet.arrived(), fleet.outstanding()) == (arrived, pending)

    def add_replica(self, at_ns: int, replica_id: int) -> None:
        self._fleet.add_replica(at_ns, replica_id)
        self._alive.add(replica_id)

    def kill(self, at_ns: int, replica_id: int) -> None:
        self._fleet.kill(at_ns, replica_id)
        self._alive.discard(replica_id)

    def stop_routing(self, at_ns: int, replica_id: int) -> None:
        self._fleet.stop_routing(at_ns, replica_id)

    def gauges(self, replica_id: int) -> Gauges:
        return self._fleet.gauges(replica_id)

    def in_flight(self, replica_id: int) -> int:
        return self._fleet.in_flight(replica_id)

    def waiting_at_router(self) -> int:
        return self._fleet.waiting_at_router()

    def read_pages(self, table: NDArray[np.float64], at_s: float) -> None:
        self._fleet.read_pages(table, at_s)


@pytest.mark.parametrize("timeout_s", [120.0, 6.0])
def test_the_histograms_of_a_real_profile_are_equal(timeout_s: float) -> None:
    """The stories' times are nanoseconds, of which all are within the first bound."""
    story = Story(
        profile=PROFILES[PROFILE],
        requests=conversations(600, requests_per_s=9.0),
        routing="least-outstanding",
        timeout_ns=int(timeout_s * NS),
        retries=0,
        acts=(
            (0, "add", 0),
            *((at * NS, "look", 0) for at in range(5, 60, 5)),
            (61 * NS, "add", 1),
            *((at * NS, "look", 0) for at in range(65, 120, 5)),
        ),
    )
    told, truth = tell(story, kernel(story)), tell(story, reference(story))
    assert_equal(told, truth)
    one, _ = truth.buckets[-1]
    firsts, whole = one[: TTFT.stop - TTFT.start], one[TTFT.stop - TTFT.start :]
    # Requests in many buckets of both, or this would show nothing.
    assert len(set(firsts)) > 6
    assert len(set(whole)) > 2
    aborted = truth.pages[-2].aborted_requests_total
    assert aborted > 0 or timeout_s > 100.0


def test_a_full_replica_whose_client_gives_up_lets_the_next_one_finish_at_once() -> None:
    """One seat, and a queue of short requests: the kernel once slept through what a drop set free."""
    asked = profile(
        step_ns=19, token_ns=5, kv_token_ns=1, kv_blocks=4, requests_max=1, step_tokens_max=8
    )
    sent = [0, *[5] * 7, *[6] * 5, 26, 86, 146, 206, 266, *[566] * 17, 626, 926, 926, 986]
    lengths = [*[1] * 33, 4, 5, 7, 10, 9, 1]
    rows = tuple((at, 1, output) for at, output in zip(sent, lengths, strict=True))
    looks = (111, 222, 333, 833, 1333, 1833, 1873)
    story = Story(
        profile=asked,
        requests=columns(*rows),
        routing="least-outstanding",
        timeout_ns=900,
        retries=0,
        acts=((0, "add", 0), *((at, "look", 0) for at in looks)),
    )
    assert_equal(tell(story, kernel(story)), tell(story, reference(story)))


@pytest.mark.parametrize(
    "change",
    ["kv_token_ns", "step_ns", "token_ns", "pause_ns", "pause_decode_ns", "prefill_request_ns"],
)
def test_one_nanosecond_in_the_kernel_alone_is_noticed(change: str) -> None:
    """`c` and the others: with one more in the kernel, stories differ, and not one in a thousand."""

    def differs(story: Story) -> bool:
        other = replace(story.profile, **{change: getattr(story.profile, change) + 1})
        return not same(tell(story, kernel(story, other)), tell(story, reference(story)))

    without_shrinking = settings(
        max_examples=100,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        phases=[Phase.generate],
        database=None,
    )
    find(stories(), differs, settings=without_shrinking)


def same(told: Telling, truth: Telling) -> bool:
    return np.array_equal(told.results.finished_ns, truth.results.finished_ns)
