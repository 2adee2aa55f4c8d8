"""The rules of the serving model, each worked out by hand, on the reference and on the kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulations.serving.columns import NEVER, RequestColumns, RequestOutcome
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles.profiles import Profile
from simulations.serving.reference.fleet import ReferenceFleet
from tests.simulations.serving.hand import columns, profile
from tests.simulations.serving.stories import Fleet

FOREVER = 10**9
Build = Callable[..., Fleet]


def reference(asked: Profile, requests: RequestColumns, **more: object) -> Fleet:
    settings = {"routing": "least-outstanding", "timeout_ns": FOREVER, "retries": 0} | more
    return ReferenceFleet(asked, requests, **settings)  # type: ignore[arg-type]


def kernel(asked: Profile, requests: RequestColumns, **more: object) -> Fleet:
    pytest.importorskip("numba")
    settings = {"timeout_ns": FOREVER, "engine": "numba"} | more
    return ServingFleet(asked, requests, **settings)  # type: ignore[arg-type]


@pytest.fixture(params=[reference, kernel], ids=lambda build: build.__name__)
def build(request: pytest.FixtureRequest) -> Build:
    return request.param  # type: ignore[no-any-return]


def times(fleet: Fleet) -> list[tuple[int, int]]:
    """(first token, end) of each request, after one replica has served them all."""
    fleet.add_replica(0, 0)
    fleet.run_until(10**6)
    first, finished = fleet.results.first_token_ns, fleet.results.finished_ns
    return list(zip(first.tolist(), finished.tolist(), strict=True))


def test_every_term_of_a_steps_time(build: Build) -> None:
    """A prompt of 3 and a decode behind it, every coefficient another number.

    In the inbox at 7. Its step: 100 + 10 * (3 - 2) + 2.5 * (3 * 4 / 2) + 5 = 130 -> 137; the client sees
    it at 148. The pause is 3, then the decode over 4 tokens: 100 + 2 * 4 = 108 -> 248, seen at 259.
    """
    asked = profile(
        token_ns=10,
        flat_tokens=2,
        kv_token_ns=2,
        attention_ps=2500,
        prefill_request_ns=5,
        pause_ns=3,
        pause_decode_ns=1,
        before_ns=7,
        after_ns=11,
    )
    assert times(build(asked, columns((0, 3, 2)))) == [(148, 259)]


def test_picoseconds_are_summed_before_they_are_rounded_down(build: Build) -> None:
    """Two prompts of one token are two pairs of 0.7 ns: 1.4, so 1, not 0."""
    asked = profile(attention_ps=700)
    assert times(build(asked, columns((0, 1, 1), (0, 1, 1)))) == [(101, 101), (101, 101)]


def test_a_pause_grows_with_the_decodes_of_the_step_before(build: Build) -> None:
    """Prefills end at 100; pause 3; decodes end at 203; pause 3 + 2 * 5; the last at 316."""
    asked = profile(pause_ns=3, pause_decode_ns=5)
    assert times(build(asked, columns((0, 1, 3), (0, 1, 3)))) == [(100, 316), (100, 316)]


def test_a_step_sees_what_is_there_at_its_start_and_not_what_comes_in_it(build: Build) -> None:
    """Steps start at 0, 100, 200: the one at 100 is just in time, the one at 101 is not."""
    found = times(build(profile(), columns((0, 1, 3), (100, 1, 1), (101, 1, 1))))
    assert found == [(100, 300), (200, 200), (300, 300)]


def test_chunks_share_the_budget_behind_the_decodes(build: Build) -> None:
    """Budget 4: a prompt of 3 and 1 of the next one's 8; then a decode and 3; again; then the rest."""
    found = times(build(profile(step_tokens_max=4, requests_max=4), columns((0, 3, 3), (0, 8, 1))))
    assert found == [(100, 300), (400, 400)]


def test_first_come_first_served_even_if_a_later_one_would_fit(build: Build) -> None:
    """9 usable blocks, of which the first takes 4, then 5, the second 3, then 4.

    The third needs 6: there are 5 from 200 on and 9 from 400 on. The fourth needs 1, and waits behind.
    """
    requests = columns((0, 16, 2), (0, 12, 4), (0, 24, 1), (0, 4, 1))
    assert times(build(profile(kv_blocks=10), requests)) == [
        (100, 200),
        (100, 400),
        (500, 500),
        (500, 500),
    ]


def test_one_block_is_reserved(build: Build) -> None:
    """Two prompts of one block each: with 3 blocks together, with 2 one after the other."""
    both = columns((0, 4, 1), (0, 4, 1))
    assert times(build(profile(kv_blocks=3), both)) == [(100, 100), (100, 100)]
    assert times(build(profile(kv_blocks=2), both)) == [(100, 100), (200, 200)]


def test_the_newest_is_preempted_and_computes_all_again(build: Build) -> None:
    """3 usable blocks of 4. Two prompts of 4: at 100 both have a token and need a block each.

    The first takes the last free one; the second finds none and preempts itself: its block is free.
    The step at 200 may admit again: it needs 2 blocks for 4 + 1 tokens, 1 is free. The first ends at
    500 (5 tokens; its second block lasts). At 500 the second is computed again, 5 tokens, and has its
    second token at 600.
    """
    fleet = build(profile(kv_blocks=4), columns((0, 4, 5), (0, 4, 3)))
    assert times(fleet) == [(100, 500), (100, 700)]
    assert fleet.gauges(0).preemptions_total == 1


def test_a_step_that_preempted_admits_nobody(build: Build) -> None:
    """4 usable blocks of one token. The second's only token is the first's first.

    It is computed twice nevertheless: a prompt of one token cannot be hit. At 100 the first takes the
    last block and the second preempts itself. Now it has two tokens, hits one and needs one block,
    which is free: it would fit into that very step. It has to wait for the next one.
    """
    requests = columns((0, 2, 2), (0, 1, 2), (0, 1, 1), blocks=((1, 2), (1,), (1,)), block_tokens=1)
    asked = profile(
        kv_blocks=5, block_tokens=1, requests_max=2, step_tokens_max=3, prefix_caching=True
    )
    fleet = build(asked, requests)
    assert times(fleet) == [(100, 200), (100, 300), (300, 300)]
    assert fleet.gauges(0).preemptions_total == 1


def test_prefixes_are_hit_within_the_step_that_schedules_them(build: Build) -> None:
    """Two prompts of 8 and 4 more, the same first 8 tokens: 12 + 4 tokens, not 24."""
    asked = profile(token_ns=1, prefix_caching=True)
    requests = columns((0, 12, 1), (0, 12, 1), blocks=((1, 2, 3), (1, 2, 4)))
    fleet = build(asked, requests)
    assert times(fleet) == [(116, 116), (116, 116)]
    assert fleet.gauges(0).prefix_hit_tokens_total == 8
    assert fleet.gauges(0).prefix_queried_tokens_total == 24


def test_one_token_is_always_computed(build: Build) -> None:
    """The same prompt of two whole blocks again: the last block is computed again, the first hit."""
    asked = profile(token_ns=1, prefix_caching=True)
    requests = columns((0, 8, 1), (500, 8, 1), blocks=((1, 2), (1, 2)))
    assert times(build(asked, requests)) == [(108, 108), (604, 604)]


def test_a_prefix_without_its_beginning_is_no_hit(build: Build) -> None:
    asked = profile(token_ns=1, prefix_caching=True)
    requests = columns((0, 12, 1), (500, 12, 1), blocks=((1, 2, 3), (9, 2, 3)))
    assert times(build(asked, requests)) == [(112, 112), (612, 612)]


def test_nothing_is_hit_with_the_cache_off(build: Build) -> None:
    asked = profile(token_ns=1, prefix_caching=False)
    requests = columns((0, 12, 1), (500, 12, 1), blocks=((1, 2, 3), (1, 2, 3)))
    fleet = build(asked, requests)
    assert times(fleet) == [(112, 112), (612, 612)]
    assert fleet.gauges(0).prefix_queried_tokens_total == 0


def test_partial_tails_are_taken_before_cached_blocks(build: Build) -> None:
    """4 usable blocks. The first leaves one cached prefix block and one partial one; 2 more are plain.

    The second needs 3: the plain ones. So the third still hits the first's prefix.
    """
    asked = profile(token_ns=1, kv_blocks=5, prefix_caching=True)
    requests = columns(
        (0, 6, 1), (500, 9, 1), (1000, 6, 1), blocks=((1,), (5, 6), (1,)), block_tokens=4
    )
    fleet = build(asked, requests)
    assert times(fleet)[2] == (1102, 1102)


def test_tails_are_forgotten_before_heads(build: Build) -> None:
    """7 usable blocks, 4 with content: of A (1, 2), then of B (3, 4).

    A prompt of 16 tokens takes the 3 plain ones and one with content: A's tail. So A's head is hit, and
    of its 9 tokens 5 are computed.
    """
    asked = profile(token_ns=1, kv_blocks=8, prefix_caching=True)
    requests = columns(
        (0, 8, 1),
        (500, 8, 1),
        (1000, 16, 1),
        (1500, 9, 1),
        blocks=((1, 2), (3, 4), (5, 6, 7, 8), (1, 2)),
    )
    assert times(build(asked, requests))[3] == (1605, 1605)


def test_the_oldest_content_is_forgotten_first(build: Build) -> None:
    """6 usable blocks, 4 with content: of A (1, 2), then of B (3, 4).

    A prompt of 13 tokens takes the 2 plain ones and the two oldest, all of A. So B is hit, but for the
    one token that must be computed, and A is not.
    """
    asked = profile(token_ns=1, kv_blocks=7, prefix_caching=True)
    requests = columns(
        (0, 8, 1),
        (500, 8, 1),
        (1000, 13, 1),
        (1500, 9, 1),
        (2000, 9, 1),
        blocks=((1, 2), (3, 4), (5, 6, 7), (3, 4), (1, 2)),
    )
    found = times(build(asked, requests))
    assert found[3] == (1601, 1601)
    assert found[4] == (2109, 2109)


def test_own_blocks_are_hit_again_after_a_preemption(build: Build) -> None:
    """As above, but cached: 4 usable blocks of 4; two prompts of 8.

    At 100 the first takes a block and the second is preempted: its two blocks are idle, one of them
    becomes the first's. At 300 (the first is done, 3 tokens) the second needs 3 blocks for 9 tokens:
    one is still its own, so 5 tokens are computed, not 9.
    """
    asked = profile(token_ns=1, kv_blocks=5, prefix_caching=True)
    fleet = build(asked, columns((0, 8, 3), (0, 8, 2)))
    found = times(fleet)
    assert found[0] == (116, 318)
    assert found[1] == (116, 318 + 105)
    assert fleet.gauges(0).prefix_hit_tokens_total == 4


def test_a_timeout_aborts_and_the_engine_forgets_at_its_next_step(build: Build) -> None:
    """One at a time. The first gives up at 250, in the middle of a step; the second starts at 300."""
    fleet = build(profile(requests_max=1), columns((0, 1, 9), (100, 1, 1)), timeout_ns=250 + 100)
    fleet.add_replica(0, 0)
    fleet.run_until(349)
    assert fleet.in_flight(0) == 2
    fleet.run_until(350)
    assert fleet.in_flight(0) == 1
    assert fleet.gauges(0).running_requests == 1
    fleet.run_until(1000)
    assert fleet.results.outcome.tolist() == [RequestOutcome.ABORTED, RequestOutcome.ABORTED]
    assert fleet.results.finished_ns.tolist() == [350, 450]


def test_a_step_that_starts_when_a_client_gives_up_is_without_it(build: Build) -> None:
    """Given up at 300, where a step starts: the second has that step, and is done at 400, in time."""
    fleet = build(profile(requests_max=1), columns((0, 1, 9), (100, 1, 1)), timeout_ns=300)
    assert times(fleet) == [(100, 300), (400, 400)]
    assert fleet.results.outcome.tolist() == [RequestOutcome.ABORTED, RequestOutcome.COMPLETED]


def test_a_completion_wins_against_a_timeout_of_the_same_instant(build: Build) -> None:
    one = columns((0, 1, 2))
    done = build(profile(after_ns=30), one, timeout_ns=230)
    assert times(done) == [(130, 230)]
    assert done.results.outcome.tolist() == [RequestOutcome.COMPLETED]
    late = build(profile(after_ns=30), one, timeout_ns=229)
    assert times(late) == [(130, 229)]
    assert late.results.outcome.tolist() == [RequestOutcome.ABORTED]


def test_a_killed_replica_loses_what_its_clients_have_not_seen(build: Build) -> None:
    """Done by the engine at 100, on its way until 120; killed at 119 it is lost, at 120 it is not."""
    for at, outcome in ((119, RequestOutcome.LOST), (120, RequestOutcome.COMPLETED)):
        fleet = build(profile(after_ns=20), columns((0, 1, 1)))
        fleet.add_replica(0, 0)
        fleet.kill(at, 0)
        assert fleet.results.outcome.tolist() == [outcome]
        assert fleet.results.finished_ns.tolist() == [at]


def test_a_retry_starts_anew_elsewhere_and_keeps_its_patience(build: Build) -> None:
    fleet = build(profile(), columns((0, 1, 3)), retries=1)
    fleet.add_replica(0, 0)
    fleet.add_replica(0, 1)
    fleet.kill(150, 0)
    fleet.run_until(10**6)
    assert fleet.results.replica.tolist() == [1]
    assert fleet.results.first_token_ns.tolist() == [250]
    assert fleet.results.finished_ns.tolist() == [450]
    patient = build(profile(), columns((0, 1, 3)), retries=1, timeout_ns=449)
    patient.add_replica(0, 0)
    patient.add_replica(0, 1)
    patient.kill(150, 0)
    patient.run_until(10**6)
    assert patient.results.outcome.tolist() == [RequestOutcome.ABORTED]


def test_what_no_replica_can_take_waits_at_the_router(build: Build) -> None:
    fleet = build(profile(), columns((0, 1, 1), (10, 1, 1)), timeout_ns=500)
    fleet.run_until(400)
    assert fleet.waiting_at_router() == 2
    fleet.add_replica(505, 7)
    assert fleet.waiting_at_router() == 0
    fleet.run_until(2000)
    assert fleet.results.outcome.tolist() == [RequestOutcome.ABORTED, RequestOutcome.ABORTED]
    assert fleet.results.finished_ns.tolist() == [500, 510]
    assert fleet.results.replica.tolist() == [NEVER, 7]


def test_a_draining_replica_gets_nothing_and_finishes(build: Build) -> None:
    fleet = build(profile(), columns((0, 1, 5), (50, 1, 1)))
    fleet.add_replica(0, 0)
    fleet.stop_routing(20, 0)
    fleet.add_replica(30, 1)
    fleet.run_until(10**6)
    assert fleet.results.replica.tolist() == [0, 1]
    assert fleet.results.outcome.tolist() == [RequestOutcome.COMPLETED] * 2


def test_ties_of_routing_go_round(build: Build) -> None:
    rows = tuple((0, 1, 1) for _ in range(5))
    for routing in ("least-outstanding", "round-robin"):
        fleet = build(profile(), columns(*rows), routing=routing)
        for replica in range(3):
            fleet.add_replica(0, replica)
        fleet.run_until(0)
        # the first replica was there alone when the requests of that instant arrived
        assert fleet.results.replica.tolist() == [0] * 5
    later = tuple((10, 1, 1) for _ in range(5))
    for routing in ("least-outstanding", "round-robin"):
        fleet = build(profile(), columns(*later), routing=routing)
        for replica in range(3):
            fleet.add_replica(0, replica)
        fleet.run_until(10)
        assert fleet.results.replica.tolist() == [0, 1, 2, 0, 1]


def test_prefixes_are_sent_where_they_were_sent_unless_it_is_too_full(build: Build) -> None:
    """The longest known prefix leads to its replica, until it has 9 more than the emptiest."""
    rows = tuple((10 * row, 9, 100) for row in range(12))
    blocks = ((1, 2), (9,), *((1, 2) if row % 2 else (1, 3) for row in range(10)))
    fleet = build(
        profile(requests_max=16, prefix_caching=True),
        columns(*rows, blocks=blocks),
        routing="prefix",
    )
    for replica in range(2):
        fleet.add_replica(0, replica)
    fleet.run_until(115)
    # the first instant's arrival met the first replica alone; the second has other tokens
    assert fleet.results.replica.tolist() == [0, 1, *[0] * 9, 1]


def test_pages_are_as_of_the_end_of_the_last_step(build: Build) -> None:
    fleet = build(profile(requests_max=1), columns((10, 5, 2), (20, 5, 1)))
    fleet.add_replica(0, 0)
    fleet.run_until(109)
    page = fleet.gauges(0)
    assert (page.running_requests, page.waiting_requests, page.kv_usage_ratio) == (0, 0, 0.0)
    assert fleet.in_flight(0) == 2
    fleet.run_until(110)
    page = fleet.gauges(0)
    # the second came during the step: no step has seen it
    assert (page.running_requests, page.waiting_requests) == (1, 0)
    assert page.kv_usage_ratio == 2 / 100
    assert (page.prompt_tokens_total, page.generation_tokens_total) == (5, 1)
    fleet.run_until(210)
    page = fleet.gauges(0)
    assert (page.running_requests, page.waiting_requests) == (0, 1)
    assert page.finished_requests_total == 1
    fleet.run_until(10**6)
    page = fleet.gauges(0)
    assert (page.running_requests, page.waiting_requests, page.kv_usage_ratio) == (0, 0, 0.0)
    assert (page.finished_requests_total, page.generation_tokens_total) == (2, 3)
