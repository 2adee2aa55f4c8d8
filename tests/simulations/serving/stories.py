"""Random lives of small fleets: times so short that ties, preemptions and cuts happen all the time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from simulations.serving.columns import Gauges, RequestColumns, RequestResults
from simulations.serving.histograms import ROWS, TTFT
from simulations.serving.profiles.profiles import PROFILES, Profile

ANY = PROFILES["llama-3.1-8b/1xL40S"]


class Fleet(Protocol):
    results: RequestResults

    def add_replica(self, at_ns: int, replica_id: int) -> None: ...
    def stop_routing(self, at_ns: int, replica_id: int) -> None: ...
    def kill(self, at_ns: int, replica_id: int) -> None: ...
    def run_until(self, at_ns: int) -> None: ...
    def gauges(self, replica_id: int) -> Gauges: ...
    def in_flight(self, replica_id: int) -> int: ...
    def waiting_at_router(self) -> int: ...
    def read_pages(self, table: NDArray[np.float64], at_s: float) -> None: ...


@dataclass(frozen=True)
class Story:
    profile: Profile
    requests: RequestColumns
    routing: str
    timeout_ns: int
    retries: int
    acts: tuple[tuple[int, str, int], ...]
    """(time, what, replica), in order of time."""


@dataclass
class Telling:
    """All that could be seen of a story."""

    results: RequestResults
    pages: list[Gauges]
    buckets: list[list[list[float]]]
    in_flight: list[int]
    at_router: list[int]


def tell(story: Story, fleet: Fleet) -> Telling:
    """Live through the story with this fleet and note everything."""
    telling = Telling(fleet.results, [], [], [], [])
    alive: set[int] = set()
    for at, what, replica in story.acts:
        if what == "add" and replica not in alive:
            fleet.add_replica(at, replica)
            alive.add(replica)
        elif what == "look" or replica not in alive:
            fleet.run_until(at)
            for other in sorted(alive):
                telling.in_flight.append(fleet.in_flight(other))
                telling.pages.append(fleet.gauges(other))
            telling.buckets.append(buckets(fleet, alive))
            telling.at_router.append(fleet.waiting_at_router())
        elif what == "stop":
            fleet.stop_routing(at, replica)
        elif what == "kill":
            fleet.kill(at, replica)
            alive.discard(replica)
            telling.at_router.append(fleet.waiting_at_router())
    fleet.run_until(10**12)
    telling.pages += [fleet.gauges(other) for other in sorted(alive)]
    telling.buckets.append(buckets(fleet, alive))
    return telling


def buckets(fleet: Fleet, alive: set[int]) -> list[list[float]]:
    """What the histograms of each replica say now."""
    table = np.zeros((ROWS, 1 + max(alive, default=0)))
    fleet.read_pages(table, 0.0)
    return table[TTFT.start :, sorted(alive)].T.tolist()


def assert_equal(told: Telling, truth: Telling) -> None:
    for column in ("outcome", "finished_ns", "first_token_ns", "replica"):
        np.testing.assert_array_equal(
            getattr(told.results, column), getattr(truth.results, column), err_msg=column
        )
    assert told.in_flight == truth.in_flight
    assert told.at_router == truth.at_router
    assert told.pages == truth.pages
    assert told.buckets == truth.buckets


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    requests_max = draw(st.integers(1, 6))
    return replace(
        ANY,
        step_ns=draw(st.integers(1, 40)),
        token_ns=draw(st.integers(0, 5)),
        flat_tokens=draw(st.integers(0, 4)),
        kv_token_ns=draw(st.integers(0, 3)),
        attention_ps=draw(st.sampled_from([0, 300, 1000, 2500])),
        prefill_request_ns=draw(st.integers(0, 3)),
        pause_ns=draw(st.integers(0, 5)),
        pause_decode_ns=draw(st.integers(0, 2)),
        before_ns=draw(st.integers(0, 8)),
        after_ns=draw(st.integers(0, 8)),
        kv_blocks=draw(st.integers(4, 40)),
        block_tokens=draw(st.integers(1, 5)),
        requests_max=requests_max,
        step_tokens_max=draw(st.integers(requests_max, 20)),
        prefix_caching=draw(st.booleans()),
    )


@st.composite
def requests(draw: st.DrawFn, profile: Profile) -> RequestColumns:
    rows = draw(st.integers(1, 40))
    gaps = draw(st.lists(st.sampled_from([0, 0, 1, 5, 20, 60, 300]), min_size=rows, max_size=rows))
    tokens = st.integers(1, draw(st.sampled_from([3, 12, 40])))
    prompt = np.array(draw(st.lists(tokens, min_size=rows, max_size=rows)), dtype=np.int64)
    output = np.array(draw(st.lists(tokens, min_size=rows, max_size=rows)), dtype=np.int64)
    return RequestColumns(
        arrival_ns=np.cumsum(np.array(gaps, dtype=np.int64)),
        prompt_tokens=prompt,
        output_tokens=output,
        **draw(prefixes(profile, prompt)),
    )


@st.composite
def prefixes(draw: st.DrawFn, profile: Profile, prompt: NDArray[np.int64]) -> dict[str, Any]:
    """A tree of shared beginnings: the id of a block tells its family and its depth; or nothing known."""
    if not draw(st.booleans()):
        return {}
    block_tokens = profile.block_tokens * draw(st.integers(1, 2))
    families = draw(st.lists(st.integers(0, 3), min_size=len(prompt), max_size=len(prompt)))
    split = draw(st.integers(0, 3))
    blocks: list[int] = []
    ends: list[int] = []
    for family, length in zip(families, prompt.tolist(), strict=True):
        count = -(-length // block_tokens)
        blocks += [100 * (family if depth >= split else 0) + depth for depth in range(count)]
        ends.append(len(blocks))
    return {
        "block_tokens": block_tokens,
        "blocks": np.array(blocks, dtype=np.int64),
        "block_ends": np.array(ends, dtype=np.int64),
    }


@st.composite
def stories(draw: st.DrawFn) -> Story:
    profile = draw(profiles())
    columns = draw(requests(profile))
    acts = [(0, "add", replica) for replica in range(draw(st.sampled_from([1, 2, 3, 0])))]
    at = 0
    what = st.tuples(
        st.sampled_from([0, 3, 17, 40, 111, 500]),
        st.sampled_from(["look", "look", "look", "add", "stop", "kill"]),
        st.integers(0, 6),
    )
    added = {replica for _, _, replica in acts}
    for gap, act, replica in draw(st.lists(what, max_size=20)):
        at += gap
        again = act == "add" and replica in added
        if act == "add":
            added.add(replica)
        acts.append((at, "look" if again else act, replica))
    return Story(
        profile=profile,
        requests=columns,
        routing=draw(st.sampled_from(["least-outstanding", "round-robin", "prefix"])),
        timeout_ns=draw(st.sampled_from([10**9, 10**9, 3000, 900, 200, 60, 7])),
        retries=draw(st.integers(0, 2)),
        acts=tuple(acts),
    )


@st.composite
def pressed_stories(draw: st.DrawFn) -> Story:
    """One replica or two, too small for what comes, watched closely while clients give up.

    What the kernel takes to be quiet for too long shows here: nothing but a look, or the router's
    choice between two, depends on when an end is noticed.
    """
    seats = draw(st.integers(1, 3))
    profile = replace(
        ANY,
        step_ns=draw(st.integers(5, 40)),
        token_ns=draw(st.integers(0, 5)),
        flat_tokens=draw(st.integers(0, 4)),
        kv_token_ns=draw(st.integers(0, 9)),
        attention_ps=0,
        prefill_request_ns=0,
        pause_ns=draw(st.integers(0, 20)),
        pause_decode_ns=draw(st.integers(0, 9)),
        before_ns=draw(st.integers(0, 4)),
        after_ns=draw(st.integers(0, 4)),
        kv_blocks=draw(st.integers(4, 14)),
        block_tokens=draw(st.integers(1, 5)),
        requests_max=seats,
        step_tokens_max=draw(st.integers(seats, 12)),
        prefix_caching=draw(st.booleans()),
    )
    rows = draw(st.integers(10, 60))
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 5, 60, 200]), min_size=rows, max_size=rows))
    prompts, outputs = st.sampled_from([1, 2, 5, 12]), st.sampled_from([1, 1, 1, 2, 4, 9, 25])
    prompt = np.array(draw(st.lists(prompts, min_size=rows, max_size=rows)), dtype=np.int64)
    columns = RequestColumns(
        arrival_ns=np.cumsum(np.array(gaps, dtype=np.int64)),
        prompt_tokens=prompt,
        output_tokens=np.array(draw(st.lists(outputs, min_size=rows, max_size=rows))),
        **draw(prefixes(profile, prompt)),
    )
    looks = np.cumsum(draw(st.lists(st.sampled_from([3, 17, 40, 111]), min_size=30, max_size=60)))
    return Story(
        profile=profile,
        requests=columns,
        routing="least-outstanding",
        timeout_ns=draw(st.sampled_from([10**9, 900, 400, 200, 100])),
        retries=draw(st.sampled_from([0, 0, 1])),
        acts=(
            *((0, "add", replica) for replica in range(draw(st.integers(1, 2)))),
            *((at, "look", 0) for at in looks.tolist()),
        ),
    )
