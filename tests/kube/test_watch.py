"""The cache: in step through what an API server, and what stands before it, do on a bad day.

The clock is the test's and moves by the pauses that the cache takes, so that hours pass in no time and
every request between them is counted.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web

from autoscaler.kube.api.client import Client
from autoscaler.kube.watch.changes import ObjectChange
from autoscaler.kube.watch.timing import Timing
from autoscaler.kube.watch.watch import (
    MUTE_WATCHES_MAX,
    RELIST_AFTER_FAILURES,
    RETURNING_REFUSALS_MAX,
    SILENT_WATCHES_MAX,
)
from tests.kube.api_server import (
    ScriptedServer,
    answer,
    bookmark,
    event,
    hang,
    listing,
    page,
    refuse,
    status,
    thing,
    watching,
)
from tests.kube.cached import Clock, Watched, watched

GONE = "too old resource version: 1 (100)"


async def test_it_lists_in_pages_then_watches_from_where_the_list_ended(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists += [
        listing([thing("a", value=1), thing("b", value=2)], version="70", then="p2"),
        listing([thing("c", value=3)], version="70"),
    ]
    server.watches.append(watching(end="hang"))
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.synced)
        assert it.values == {"a": 1, "b": 2, "c": 3}
        await clock.until(lambda: server.count("watch") == 1)
        first, second, watch = server.requests
        assert first.path == "/api/v1/namespaces/serving/pods"
        assert first.query == {"labelSelector": "app=llama", "limit": "250"}
        assert second.query == {"labelSelector": "app=llama", "limit": "250", "continue": "p2"}
        assert watch.query["resourceVersion"] == "70"
        assert watch.query["allowWatchBookmarks"] == "true"
        assert watch.query["labelSelector"] == "app=llama"
        assert 15 <= int(watch.query["timeoutSeconds"]) <= 20
    assert not clock.pauses


async def test_events_change_what_is_held_and_only_real_changes_are_told(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists.append(listing([thing("a", value=1), thing("b", value=2)]))
    server.watches.append(
        watching(
            event("ADDED", thing("c", version="101", value=3)),
            event("MODIFIED", thing("a", version="102", value=1)),  # a heartbeat: nothing of ours
            event("MODIFIED", thing("a", version="103", value=9)),
            event("DELETED", thing("b", version="104", value=2)),
            bookmark("150"),
            end="hang",
        )
    )
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.version == "150")
        assert it.values == {"a": 9, "c": 3}
        assert it.told == [
            ObjectChange(("serving", "a"), None, 1),
            ObjectChange(("serving", "b"), None, 2),
            ObjectChange(("serving", "c"), None, 3),
            ObjectChange(("serving", "a"), 1, 9),
            ObjectChange(("serving", "b"), 2, None),
        ]


async def test_a_reader_keeps_the_state_that_it_took(
    server: ScriptedServer, client: Client, clock: Clock
):
    let_go = asyncio.Event()

    async def later(request: Any) -> Any:
        await let_go.wait()
        return await watching(event("DELETED", thing("a", version="101")), end="hang")(request)

    server.lists.append(listing([thing("a", value=1)]))
    server.watches.append(later)
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.synced)
        taken = it.cache.objects
        let_go.set()
        await clock.until(lambda: not it.cache.objects)
        assert dict(taken) == {("serving", "a"): 1}


async def test_confirmed_is_the_time_of_the_question_not_of_the_answer(
    server: ScriptedServer, client: Client, clock: Clock
):
    asked_at = clock.at

    async def slow(request: Any) -> Any:
        clock.pass_s(3)  # while the server gathers: the state may be as old as the question
        return await listing([thing("a")])(request)

    server.lists.append(slow)
    server.watches.append(watching(end="hang"))
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.synced)
        assert it.cache.confirmed_at == asked_at


async def test_each_event_and_each_bookmark_confirms(
    server: ScriptedServer, client: Client, clock: Clock
):
    async def talk(request: Any) -> Any:
        response = await watching(bookmark("110"), end="leave")(request)
        await clock.until(lambda: it.cache.version == "110")
        clock.pass_s(7)
        await response.write(json.dumps(event("ADDED", thing("a", version="111"))).encode() + b"\n")
        await asyncio.Event().wait()

    server.lists.append(listing([]))
    server.watches.append(talk)
    began = clock.at
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.version == "110")
        await clock.until(lambda: it.cache.version == "111")
        assert it.cache.confirmed_at == began + 7


async def test_a_watch_that_the_server_ends_in_its_own_time_confirms_without_a_word(
    server: ScriptedServer, client: Client, clock: Clock
):
    """Where nothing happens there may be no bookmark either."""
    server.lists.append(listing([]))
    server.watches += [
        watching(),  # closed at once: says nothing about what was held back
        watching(before_end=lambda: clock.pass_s(19)),
        watching(end="hang"),
    ]
    began = clock.at
    async with watched(client, clock) as it:
        await clock.until(lambda: server.count("watch") == 3)
        assert len(clock.pauses) == 1
        assert it.cache.confirmed_at == began + clock.pauses[0] + 19


async def test_a_server_that_is_silent_for_long_is_listed_anew(
    server: ScriptedServer, client: Client, clock: Clock
):
    """Seen on a real API server: a version that it has not reached yet (its etcd was restored from a
    backup) is watched without an error, an event or a bookmark, for ever."""
    server.lists += [
        listing([thing("a", value=1)], version="900"),
        listing([thing("b", value=2)], version="40"),
    ]
    silent = watching(before_end=lambda: clock.pass_s(18))
    spoken = watching(bookmark("901"), before_end=lambda: clock.pass_s(18))
    server.watches += [*[silent] * (SILENT_WATCHES_MAX - 1), spoken, *[silent] * SILENT_WATCHES_MAX]
    server.watches.append(watching(end="hang"))
    async with watched(client, clock) as it:
        await clock.until(lambda: server.count("watch") == 2 * SILENT_WATCHES_MAX + 1)
        assert it.values == {"b": 2}
        versions = [r.query["resourceVersion"] for r in server.requests if r.kind == "watch"]
        assert versions == [*["900"] * 6, *["901"] * 6, "40"]
    assert not clock.pauses


@pytest.mark.parametrize(
    "gone",
    [
        pytest.param(refuse(410, "Expired", GONE), id="as the answer"),
        pytest.param(watching(event("ERROR", status(410, "Expired", GONE))), id="as an event"),
        pytest.param(watching(event("ERROR", {"reason": "Gone", "message": GONE})), id="no code"),
    ],
)
async def test_gone_lists_anew(server: ScriptedServer, client: Client, clock: Clock, gone: Any):
    server.lists += [
        listing([thing("a", value=1), thing("b", value=2)], version="100"),
        listing([thing("b", value=3), thing("c", value=4)], version="200"),
    ]
    server.watches += [gone, watching(end="hang")]
    async with watched(client, clock) as it:
        await clock.until(lambda: server.count("watch") == 2)
        assert it.values == {"b": 3, "c": 4}
        assert server.requests[-1].query["resourceVersion"] == "200"
        assert it.told[2:] == [
            ObjectChange(("serving", "a"), 1, None),
            ObjectChange(("serving", "b"), 2, 3),
            ObjectChange(("serving", "c"), None, 4),
        ]
        assert len(clock.pauses) == 1


async def test_a_continue_token_that_is_too_old_starts_the_list_again(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists += [
        listing([thing("a", value=1)], then="p2"),
        refuse(410, "Expired", "The provided continue parameter is too old"),
        listing([thing("b", value=2)]),
    ]
    server.watches.append(watching(end="hang"))
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.synced)
        assert it.values == {"b": 2}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        pytest.param(page(), "502 Bad Gateway with text/html that is no answer", id="html 502"),
        pytest.param(
            watching(b"<html>welcome to the portal</html>\n"),
            "a line that is no event",
            id="html 200",
        ),
        pytest.param(
            watching(event("ERROR", status(500, "InternalError", "etcdserver: no leader"))),
            "etcdserver: no leader",
            id="error event",
        ),
        pytest.param(watching(b'{"type":"MODIF'), "broke off in a line", id="truncated"),
        pytest.param(watching(b'{"type":"MODIF', end="abort"), "watch pods serving", id="reset"),
        pytest.param(watching(b'["ADDED"]\n'), "a line that is no event", id="no object"),
        pytest.param(watching(event("SURPRISE", {})), "unknown type", id="unknown event"),
        pytest.param(
            refuse(403, "Forbidden", "pods is forbidden"), "lacks the verb", id="forbidden"
        ),
        pytest.param(answer({}, status=500), "500", id="empty 500"),
    ],
)
async def test_a_broken_watch_keeps_what_is_known_and_opens_again_from_there(
    server: ScriptedServer, client: Client, clock: Clock, broken: Any, said: str
):
    server.lists.append(listing([thing("a", value=1), thing("b", value=2)]))
    problems: list[str] = []

    async def again(request: Any) -> Any:
        problems.append(it.cache.problem)
        return await watching(event("ADDED", thing("c", version="103", value=3)), end="hang")(
            request
        )

    # events that came before the break are kept: the version moved with them
    server.watches += [
        watching(event("MODIFIED", thing("a", version="102", value=7))),
        broken,
        again,
    ]
    async with watched(client, clock) as it:
        await clock.until(lambda: "c" in it.values)
        assert it.values == {"a": 7, "b": 2, "c": 3}
        assert server.requests[-1].query["resourceVersion"] == "102"
        assert server.count("list") == 1
        assert said in problems[0]
        assert it.cache.problem == "", "well again"
        assert len(clock.pauses) == 2


async def test_events_before_a_broken_line_of_the_same_chunk_hold(
    server: ScriptedServer, client: Client, clock: Clock
):
    good = b'{"type":"ADDED","object":{"value":5,"metadata":{"namespace":"serving","name":"n","resourceVersion":"140"}}}\n'
    server.lists.append(listing([]))
    server.watches += [watching(good + b"<html>\n"), watching(end="hang")]
    async with watched(client, clock) as it:
        await clock.until(lambda: server.count("watch") == 2)
        assert it.values == {"n": 5}
        assert server.requests[-1].query["resourceVersion"] == "140"
        assert it.told == [ObjectChange(("serving", "n"), None, 5)]


async def test_an_event_in_pieces_is_put_together(
    server: ScriptedServer, client: Client, clock: Clock
):
    big = b'{"type":"ADDED","object":{"value":5,"pad":"' + b"x" * 3_000_000 + b'",'
    rest = b'"metadata":{"namespace":"serving","name":"n","resourceVersion":"140"}}}\n'
    server.lists.append(listing([]))
    server.watches.append(watching(big, rest, end="hang"))
    async with watched(client, clock) as it:
        await clock.until(lambda: it.values == {"n": 5})
    assert not clock.pauses


SILENCE = Timing(watch_s_min=0, watch_s_max=0, silence_s=0.3)


@pytest.mark.slow
async def test_a_connection_that_falls_silent_is_given_up(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists.append(listing([thing("a", value=1)]))
    server.watches += [
        watching(bookmark("110"), end="hang"),
        hang(),
        watching(event("ADDED", thing("b", version="111", value=2)), end="hang"),
    ]
    async with watched(client, clock, SILENCE) as it:
        await clock.until(lambda: it.values == {"a": 1, "b": 2})
        assert server.count("list") == 1
        assert [r.query["resourceVersion"] for r in server.requests[2:4]] == ["110", "110"]


async def test_watches_that_are_never_ended_and_say_nothing_are_listed_anew(
    server: ScriptedServer, client: Client, clock: Clock
):
    """Found by a seed: a version that was misread and that the server takes, so that each watch is long,
    and none is a failure that counts."""
    server.lists += [
        listing([thing("a", value=1)], version="900"),
        listing([thing("b", value=2)], version="40"),
    ]
    mute = watching(end="hang", before_end=lambda: clock.pass_s(24))
    spoken = watching(bookmark("901"), end="hang", before_end=lambda: clock.pass_s(24))
    server.watches += [mute, spoken, *[mute] * MUTE_WATCHES_MAX, watching(end="hang")]
    async with watched(client, clock, SILENCE) as it:
        await clock.until(lambda: server.count("watch") == MUTE_WATCHES_MAX + 3)
        assert it.values == {"b": 2}
        versions = [r.query["resourceVersion"] for r in server.requests if r.kind == "watch"]
        assert versions == ["900", "900", "901", "901", "40"]


async def test_a_server_that_closes_at_once_is_asked_less_and_less(
    server: ScriptedServer, client: Client, clock: Clock
):
    """kubernetes_asyncio's own watch sends hundreds of requests a second here."""
    server.lists.append(listing([]))
    server.always = {"watch": watching(), "list": listing([])}
    began = clock.at
    async with watched(client, clock) as it:
        await clock.until(lambda: clock.at - began > 600)
        sent, paused, passed_s = len(server.requests), len(clock.pauses), clock.at - began
        # one request a pause, and one list for so many failures
        assert sent <= paused * (1 + 1 / RELIST_AFTER_FAILURES) + 2
        assert sent <= passed_s / 5 * (1 + 1 / RELIST_AFTER_FAILURES) + 12
        assert it.cache.failures_total >= paused - 1


def test_pauses_double_up_to_a_limit_with_jitter_and_honour_retry_after(clock: Clock):
    nobody: Any = None
    spreads = []
    for seed in range(50):
        it = Watched(nobody, clock, Timing(), seed=seed)
        pauses = []
        for failure in range(1, 9):
            it.cache.failures = failure
            pauses.append(it.cache._pause_s(None))
        spreads.append(pauses)
        assert it.cache._pause_s(25.0) == 25.0, "the server asked for more"
        assert it.cache._pause_s(1e6) == 60.0, "but not for ever"
    for failure, column in enumerate(zip(*spreads, strict=True)):
        most = min(0.5 * 2**failure, 10.0)
        assert most / 2 <= min(column) < max(column) <= most
        assert max(column) - min(column) > most / 4


AWAY_S = 7.0
RETURN_S = 5.0
"""From the API server's return until what is known of it is in step again."""


async def lose(request: Any) -> Any:
    """As a server that is killed, or not there: the connection is gone."""
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize("away_s", [0.7, AWAY_S, 70.0])
@pytest.mark.parametrize("seed", range(3))
async def test_it_is_in_step_soon_after_the_server_has_come_back(
    server: ScriptedServer, client: Client, clock: Clock, away_s: float, seed: int
):
    """Killed under a watch, away, and for a second more it refuses everybody, as it has no roles yet."""
    server.lists.append(listing([thing("a", value=1)]))
    back_at = math.inf
    asked: list[float] = []

    async def quiet(request: Any) -> Any:
        lasts_s = int(request.query["timeoutSeconds"])
        clock.pass_s(min(lasts_s, 14))
        return await watching(end="close" if lasts_s < 15 else "hang")(request)

    steps = {"list": listing([thing("b", value=2)], version="200"), "watch": quiet}

    async def kill(request: Any) -> Any:
        nonlocal back_at
        back_at = clock.at + away_s
        return await lose(request)

    def away(kind: str) -> Any:
        async def step(request: Any) -> Any:
            asked.append(clock.at)
            if clock.at < back_at:
                return await lose(request)
            if clock.at < back_at + 1.0:
                return await refuse(403, "Forbidden", "no RBAC policy matched")(request)
            return await steps[kind](request)

        return step

    server.watches.append(kill)
    server.always = {"list": away("list"), "watch": away("watch")}
    async with watched(client, clock, seed=seed) as it:
        await clock.until(lambda: it.cache.confirmed_at >= back_at)
        assert it.cache.confirmed_at <= back_at + RETURN_S, "and not at the end of a long watch"
        # aiohttp asks a second time, at once, where a connection that it kept is gone.
        while_away = {at for at in asked if at < back_at}
        assert len(while_away) <= 3 + away_s, "it is not hammered"


async def test_a_refusal_that_stays_is_asked_about_less_and_less(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists.append(listing([thing("a", value=1)]))
    no = refuse(403, "Forbidden", "pods is forbidden")
    server.always = {"list": no, "watch": no}
    async with watched(client, clock):
        await clock.until(lambda: len(clock.pauses) >= RETURNING_REFUSALS_MAX + 10)
        soon, later = clock.pauses[:RETURNING_REFUSALS_MAX], clock.pauses[RETURNING_REFUSALS_MAX:]
        assert max(soon) <= Timing().return_s_max
        assert min(later) >= Timing().backoff_s_max / 2


def test_many_caches_share_what_they_ask_of_a_server_that_is_away(clock: Clock):
    nobody: Any = None
    means = []
    for crowd in (10, 150, 900):
        it = Watched(nobody, clock, Timing(), crowd=crowd)
        it.cache.failures = 20
        pauses = [it.cache._pause_s(None, returning=True) for _ in range(200)]
        means.append(sum(pauses) / len(pauses))
    assert means == pytest.approx([1.5, 1.5, 6.75], rel=0.1)


async def test_retry_after_is_waited_for(server: ScriptedServer, client: Client, clock: Clock):
    server.lists += [
        refuse(429, "TooManyRequests", "slow down", headers={"Retry-After": "17"}),
        listing([]),
    ]
    server.watches.append(watching(end="hang"))
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.synced)
        assert clock.pauses == [17.0]


async def test_a_list_that_fails_shrinks_nothing_and_its_age_shows(
    server: ScriptedServer, client: Client, clock: Clock
):
    """Half a relist, a refusal or an outage leaves the old state, and the old confirmation."""
    server.lists += [
        listing([thing("a", value=1), thing("b", value=2)]),
        listing([thing("a", value=1)], then="p2"),  # the first page of a relist ...
        page(),  # ... and no second
        refuse(403, "Forbidden", "pods is forbidden"),
        refuse(503, "ServiceUnavailable", "apiserver is shutting down"),
        hang(),
    ]
    server.watches.append(watching(event("ERROR", status(410, "Expired", GONE))))
    asked_at = clock.at
    async with watched(client, clock, Timing(list_timeout_s=0.5)) as it:
        await clock.until(lambda: it.cache.synced)
        await clock.paused(5)
        assert it.values == {"a": 1, "b": 2}
        assert it.cache.synced
        assert it.cache.confirmed_at == asked_at
        assert clock.at > asked_at
        assert "no answer within 0.5 s" in it.cache.problem
        assert it.told[2:] == []


async def test_after_some_failures_on_end_the_version_is_given_up(
    server: ScriptedServer, client: Client, clock: Clock
):
    """A server restored from a backup cannot serve a version that it has not reached."""
    server.lists += [listing([thing("a", value=1)], version="900"), listing([], version="40")]
    server.watches += [page(504)] * RELIST_AFTER_FAILURES + [watching(end="hang")]
    async with watched(client, clock) as it:
        await clock.until(lambda: server.count("watch") == RELIST_AFTER_FAILURES + 1)
        assert server.count("list") == 2
        assert server.requests[-1].query["resourceVersion"] == "40"
        assert it.values == {}


async def test_a_watch_that_lasted_is_followed_by_the_next_at_once(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists.append(listing([]))
    server.watches += [
        watching(bookmark("101")),  # short: a pause
        watching(bookmark("102"), before_end=lambda: clock.pass_s(18)),
        watching(bookmark("103"), before_end=lambda: clock.pass_s(18)),
        watching(end="hang"),
    ]
    async with watched(client, clock) as it:
        await clock.until(lambda: server.count("watch") == 4)
        assert len(clock.pauses) == 1
        assert it.cache.failures == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
async def test_through_any_sequence_of_faults_nothing_is_forgotten_and_nothing_spins(
    server: ScriptedServer, client: Client, clock: Clock, seed: int
):
    """A server that only ever gains objects, under 60 random faults: what is known only grows, each
    failure is followed by a pause, and once the faults end all is known."""
    rng = random.Random(seed)
    there: list[dict[str, Any]] = [thing("n0", version="1000")]
    calm = 0

    def grow() -> None:
        name, version = f"n{len(there)}", str(1000 + len(there))
        there.append(thing(name, version=version, value=len(there)))

    def news(request: Any) -> Sequence[dict[str, Any]]:
        held = int(request.query["resourceVersion"])
        return [event("ADDED", each) for each in there[max(0, held - 999) :]]

    async def good_list(request: Any) -> Any:
        return await listing(there, version=str(999 + len(there)))(request)

    async def good_watch(request: Any) -> Any:
        nonlocal calm
        calm += 1
        grow()
        return await watching(*news(request), before_end=lambda: clock.pass_s(18))(request)

    async def bad_list(request: Any) -> Any:
        half = listing(there[: len(there) // 2], then="p2")
        faults = [page(), refuse(503, "X", "y"), refuse(410, "Expired", GONE), half, hang()]
        return await rng.choice(faults)(request)

    async def bad_watch(request: Any) -> Any:
        grow()
        told = list(news(request))[: rng.randint(0, 2)]
        ends = [
            watching(*told),
            watching(*told, b'{"type":'),
            watching(*told, b'{"type":', end="abort"),
            watching(*told, event("ERROR", status(410, "Expired", GONE))),
            watching(*told, event("ERROR", status(500, "X", "y"))),
            watching(*told, end="hang"),
            page(),
            refuse(410, "Expired", GONE),
            refuse(429, "TooManyRequests", "slow down"),
        ]
        return await rng.choice(ends)(request)

    server.lists.append(good_list)
    server.watches += rng.choices([bad_watch, good_watch], weights=[3, 1], k=60)
    server.lists += rng.choices([bad_list, good_list], weights=[2, 1], k=60)
    server.always = {"list": good_list, "watch": good_watch}
    timing = Timing(watch_s_min=0, watch_s_max=0, silence_s=0.2, list_timeout_s=0.5)
    known = 0
    async with watched(client, clock, timing, seed=seed) as it:
        while server.watches or len(it.values) < 60:
            assert len(it.values) >= known
            known = len(it.values)
            await asyncio.sleep(0.001)
        assert set(it.values) <= {each["metadata"]["name"] for each in there}
    rounds = len(clock.pauses) + calm + 1  # each ended well or in a pause, but the last
    assert server.count("watch") <= rounds
    assert server.count("list") <= 2 * rounds, "at most two pages here"
