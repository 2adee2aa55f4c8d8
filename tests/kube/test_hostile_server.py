"""Whatever a server says, the cache lives on, keeps what it knew, and says what it saw.

The rows are what was once tried on the daemon and ended it, and what is like them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoscaler.kube.api.client import ANSWER_BYTES_MAX, ApiError, Client, connect
from autoscaler.kube.api.fields import UnreadableError, json_object, version_number
from autoscaler.kube.api.resources import NODES, PODS
from autoscaler.kube.perform.perform import reason_of
from autoscaler.kube.watch.frames import LINE_BYTES_MAX, error_of, key_of, read_event, read_page
from autoscaler.kube.watch.held import REREAD_S_MAX, REREAD_S_MIN
from autoscaler.kube.watch.slim import slim_deployment, slim_node, slim_pod, slim_replica_set
from autoscaler.kube.watch.timing import Timing
from tests.extent import examples
from tests.kube.api_server import (
    Json,
    ScriptedServer,
    answer,
    bookmark,
    event,
    kubeconfig,
    listing,
    status,
    thing,
    watching,
)
from tests.kube.cached import Clock, watched
from tests.kube.scene import deployment, node, pod, replica_set

GOOD = listing([thing("a", value=1), thing("b", value=2)])
HUGE = 10**400
NESTED = b"[" * 2000


def raw(body: bytes) -> Any:
    """A list's answer, byte by byte."""

    async def step(_request: Any) -> Any:
        return web.Response(body=body, content_type="application/json")

    return step


# -- lists that are none


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"items": [], "metadata": "x"}, id="metadata is a text"),
        pytest.param({"items": [], "metadata": ["x"]}, id="metadata is a list"),
        pytest.param({"items": "x", "metadata": {"resourceVersion": "9"}}, id="items is a text"),
        pytest.param({"items": {}, "metadata": {"resourceVersion": "9"}}, id="items is a mapping"),
        pytest.param({"items": [], "metadata": {"resourceVersion": {}}}, id="version is a mapping"),
        pytest.param(
            {"items": [], "metadata": {"resourceVersion": True}}, id="version is a boolean"
        ),
        pytest.param(
            {"items": [], "metadata": {"resourceVersion": "9", "continue": 7}},
            id="token is a number",
        ),
        pytest.param([], id="a list"),
        pytest.param("x", id="a text"),
        pytest.param(None, id="null"),
    ],
)
async def test_an_answer_that_is_no_list_is_an_error_of_that_answer(
    server: ScriptedServer, client: Client, clock: Clock, body: Any
):
    server.lists += [GOOD, answer(body), GOOD]
    server.watches.append(watching(event("ERROR", status(410, "Expired", "too old"))))
    server.always["watch"] = watching(end="hang")
    async with watched(client, clock) as it:
        await clock.until(lambda: server.count("watch") == 2 and it.cache.problem == "")
        assert it.values == {"a": 1, "b": 2}
        assert it.cache.failures_total == 2


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"metadata": {"resourceVersion": "9"}, "items": ' + NESTED, id="nested"),
        pytest.param(b'{"metadata": {"resourceVersion": "\xff"}, "items": []}', id="no UTF-8"),
        pytest.param(b'{"metadata": {"resourceVersion": ' + b"9" * 5000 + b"}}", id="digits"),
        pytest.param(b'{"metadata": {"resourceVersion": "9"}, "items": [1e999]}', id="1e999"),
    ],
)
async def test_bytes_that_no_reader_likes(
    server: ScriptedServer, client: Client, clock: Clock, body: bytes
):
    server.lists += [raw(body), GOOD]
    server.always["watch"] = watching(end="hang")
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.synced)
        assert it.values == {"a": 1, "b": 2}
        assert it.cache.failures_total == 1


async def test_a_list_that_never_ends_is_given_up(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists += [listing([], then="again"), listing([], then="again"), GOOD]
    server.always["watch"] = watching(end="hang")
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.synced)
        assert it.values == {"a": 1, "b": 2}
        assert it.cache.failures_total == 1


@pytest.mark.slow
async def test_a_page_of_too_many_bytes_is_asked_for_in_smaller_ones(
    server: ScriptedServer, client: Client, clock: Clock
):
    heavy = thing("heavy", value=3)
    heavy["blob"] = "x" * (ANSWER_BYTES_MAX // 3)

    async def step(request: Any) -> Any:
        limit, begin = int(request.query["limit"]), int(request.query.get("continue", 0))
        items = [{**heavy, "metadata": {**heavy["metadata"], "name": f"h{n}"}} for n in range(8)]
        end = begin + limit
        page = listing(items[begin:end], then=str(end) if end < len(items) else "")
        return await page(request)

    server.always["list"] = step
    server.always["watch"] = watching(end="hang")
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.synced)
        assert len(it.values) == 8
        assert it.cache.failures_total == 0
        assert server.requests[-2].query["limit"] == "1"


async def test_an_object_that_no_page_can_hold_is_said(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists.append(GOOD)
    server.watches.append(watching(event("ERROR", status(410, "Expired", "too old"))))
    server.always["list"] = raw(b" " * (ANSWER_BYTES_MAX + 1))
    async with watched(client, clock, Timing(page=1)) as it:
        await clock.until(lambda: "an answer of more than" in it.cache.problem)
        assert it.values == {"a": 1, "b": 2}


# -- objects that cannot be read


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(None, id="null"),
        pytest.param("x", id="a text"),
        pytest.param([], id="a list"),
        pytest.param(HUGE, id="a number"),
        pytest.param({"metadata": "x"}, id="metadata is a text"),
        pytest.param({"metadata": {"name": ["x"]}}, id="its name is a list"),
        pytest.param({"metadata": {"name": "x" * 2000}}, id="its name is long"),
        pytest.param({}, id="empty"),
        pytest.param(thing("c", namespace="other"), id="of another namespace"),
    ],
)
async def test_an_item_that_is_no_object_is_there_and_unknown(
    server: ScriptedServer, client: Client, clock: Clock, item: Any
):
    body = {"metadata": {"resourceVersion": "9"}, "items": [thing("a", value=1), item]}
    server.lists.append(raw(json.dumps(body, default=str).encode()))
    server.always["watch"] = watching(end="hang")
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.synced)
        if isinstance(item, int):  # the whole answer is none: integers have limits
            return
        assert it.values == {"a": 1}
        assert len(it.cache.unreadable) == 1
        assert it.cache.unreadable_total == 1
        assert it.cache.problem == ""
        assert "cannot be read" in it.cache.unreadable_text()


async def test_one_that_cannot_be_read_keeps_what_was_known_of_it_and_comes_back(
    server: ScriptedServer, client: Client, clock: Clock
):
    broken = {**thing("a"), "value": "none"}
    server.lists.append(GOOD)
    server.watches.append(
        watching(
            event("MODIFIED", broken),
            event("MODIFIED", thing("b", value=7)),
            event("ADDED", {**thing("new"), "value": None}),
            end="hang",
        )
    )
    async with watched(client, clock) as it:
        await clock.until(lambda: it.values.get("b") == 7)
        assert it.values == {"a": 1, "b": 7}, "there, as it was; the others go on"
        assert set(it.cache.unreadable) == {("serving", "a"), ("serving", "new")}
    server.lists.append(listing([{**thing("a"), "value": []}, thing("b", value=7)]))
    server.watches.clear()
    server.watches.append(
        watching(event("MODIFIED", thing("a", value=5)), event("DELETED", thing("b")), end="hang")
    )
    async with watched(client, clock) as it:
        await clock.until(lambda: it.values.get("a") == 5)
        await clock.until(lambda: it.cache.unreadable == {})
        assert it.cache.unreadable_total == 1


async def test_one_that_an_event_garbled_is_read_again(
    server: ScriptedServer, client: Client, clock: Clock
):
    """The object is well, and nothing of it changes for hours: the next event would come too late."""
    server.lists += [GOOD, listing([thing("a", value=1), thing("b", value=2)])]

    async def garbled(request: web.Request) -> web.StreamResponse:
        clock.pass_s(REREAD_S_MIN)
        return await watching(event("MODIFIED", {**thing("a"), "value": []}), end="hang")(request)

    server.watches += [garbled, watching(end="hang")]
    async with watched(client, clock) as it:
        await clock.until(lambda: server.count("watch") == 2)
        assert it.cache.unreadable_total == 1
        assert it.cache.unreadable == {}
        assert server.count("list") == 2
        assert it.values == {"a": 1, "b": 2}


async def test_one_that_stays_unreadable_is_read_again_ever_more_seldom(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.always["list"] = listing([thing("a", value=1), {**thing("b"), "value": None}])
    lists: list[float] = []

    async def quiet(request: web.Request) -> web.StreamResponse:
        if server.count("list") > len(lists):
            lists.append(clock.at)
        clock.pass_s(15.0)
        return await watching(bookmark("150"))(request)

    server.always["watch"] = quiet
    async with watched(client, clock) as it:
        await clock.until(lambda: len(lists) == 8)
        assert it.values == {"a": 1}
        assert set(it.cache.unreadable) == {("serving", "b")}
        assert not it.cache.problem
    pauses_s = [after - before for before, after in pairwise(lists)]
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[0] == pytest.approx(2 * REREAD_S_MIN, abs=16.0)
    assert pauses_s[-1] == pytest.approx(REREAD_S_MAX, abs=16.0)


async def test_who_is_told_and_breaks_takes_nobody_with_it(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists.append(GOOD)
    server.watches.append(watching(event("MODIFIED", thing("b", value=7)), end="hang"))
    told: list[str] = []

    def broken(changes: Any) -> None:
        for change in changes:
            if change.key[1] == "a":
                raise KeyError("a bug of ours")
            told.append(change.key[1])

    async with watched(client, clock) as it:
        it.cache.subscribe(broken)
        await clock.until(lambda: it.values.get("b") == 7)
        assert told == ["b", "b"], "the first list is told one by one"
        assert it.cache.failures_total == 0


# -- watches


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(event("ERROR", {**status(500, "X", "y"), "code": "abc"}), id="code abc"),
        pytest.param(event("ERROR", {**status(500, "X", "y"), "code": [1]}), id="code a list"),
        pytest.param(
            event("ERROR", {**status(500, "X", "y"), "reason": ["x"]}), id="reason a list"
        ),
        pytest.param(event("ERROR", {"message": {"a": 1}}), id="message a mapping"),
        pytest.param({"type": ["ADDED"], "object": {}}, id="type a list"),
        pytest.param({"type": {}, "object": {}}, id="type a mapping"),
        pytest.param({"type": "ADDED", "object": "x"}, id="object a text"),
        pytest.param({"type": "ADDED", "object": {"metadata": "x"}}, id="metadata a text"),
        pytest.param({"type": "DELETED", "object": {"metadata": {"name": 7}}}, id="name a number"),
        pytest.param([], id="a list"),
        pytest.param(b'{"type": "ADDED", "object": ' + NESTED + b"\n", id="nested"),
        pytest.param(b'{"type": "ADDED", "object": {"a": "\xff\xfe"}}\n', id="no UTF-8"),
        pytest.param(b'{"type": "ADDED", "object": {"a": ' + b"9" * 5000 + b"}}\n", id="digits"),
        pytest.param(b"\x00\x1b[31m\x7f\n", id="no JSON"),
    ],
)
async def test_a_frame_that_is_none_opens_the_watch_anew(
    server: ScriptedServer, client: Client, clock: Clock, frame: Any
):
    server.always["list"] = GOOD
    server.watches += [
        watching(event("MODIFIED", thing("a", value=4, version="101")), frame, end="hang"),
        watching(event("MODIFIED", thing("b", value=5, version="102")), end="hang"),
    ]
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.failures_total == 1)
        assert it.cache.problem.isprintable()
        assert len(it.cache.problem) < 500
        await clock.until(lambda: it.values.get("b") == 5)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param({"type": "BOOKMARK", "object": {}}, id="no metadata"),
        pytest.param({"type": "BOOKMARK", "object": {"metadata": "x"}}, id="metadata a text"),
        pytest.param(
            {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": 7.5}}}, id="a float"
        ),
        pytest.param(
            {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "\u202e" * 9}}},
            id="no ASCII",
        ),
        pytest.param(
            {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9" * 5000}}},
            id="digits",
        ),
    ],
)
async def test_a_bookmark_that_says_nothing_moves_nothing(
    server: ScriptedServer, client: Client, clock: Clock, frame: Any
):
    server.lists.append(GOOD)
    server.watches.append(watching(frame, event("MODIFIED", thing("b", value=5)), end="hang"))
    async with watched(client, clock) as it:
        await clock.until(lambda: it.values.get("b") == 5)
        assert it.cache.failures_total == 0
        assert it.cache.version == "1", "that of the event; the bookmark left it"


async def test_a_version_that_is_a_number_is_taken(
    server: ScriptedServer, client: Client, clock: Clock
):
    server.lists.append(answer({"metadata": {"resourceVersion": 100}, "items": []}))
    server.watches.append(
        watching({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": 120}}}, end="hang")
    )
    async with watched(client, clock) as it:
        await clock.until(lambda: it.cache.version == "120")
        assert server.requests[-1].query["resourceVersion"] == "100"


@pytest.mark.slow
async def test_a_line_of_forty_megabytes(server: ScriptedServer, client: Client, clock: Clock):
    server.lists.append(GOOD)
    server.watches += [
        watching(b"x" * (40 * 1024 * 1024), end="hang"),
        watching(event("MODIFIED", thing("b", value=5)), end="hang"),
    ]
    async with watched(client, clock) as it:
        await clock.until(lambda: f"more than {LINE_BYTES_MAX} bytes" in it.cache.problem)
        await clock.until(lambda: it.values.get("b") == 5)


# -- redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 300, 304])
async def test_no_redirect_is_followed(server: ScriptedServer, tmp_path: Path, code: int):
    async with ScriptedServer() as elsewhere:
        elsewhere.always |= {"list": GOOD, "watch": GOOD, "call": answer({"kind": "Status"})}
        to = answer(
            {"metadata": {"resourceVersion": "9"}, "items": []},
            status=code,
            headers={"Location": f"{elsewhere.url}/api/v1/nodes"},
        )
        server.always |= {"list": to, "watch": to, "call": to}
        async with await connect(str(kubeconfig(tmp_path / "k", server.url))) as client:
            for verb, body in (("list", None), ("create", {"kind": "Eviction"}), ("patch", {})):
                with pytest.raises(ApiError, match=rf"{code} .*redirect is not followed"):
                    await client.call(verb, PODS, namespace="a", name="b", body=body)
            with pytest.raises(ApiError, match=str(code)):
                async with client.stream(NODES, query={"watch": "true"}, silence_s=5):
                    pass
        assert elsewhere.requests == []


# -- refusals whose parts are of any type


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"message": ["x"], "details": "x"}, {}),
        ({"message": 7, "details": {"causes": "x", "retryAfterSeconds": []}}, {}),
        ({"details": {"causes": [None, {"message": {}}], "retryAfterSeconds": 1e308}}, {}),
        ({"details": ["x"]}, {"Retry-After": "nan"}),
        ({"message": "x" * 10**6}, {"Retry-After": "1e999"}),
        ({"message": "\x1b[2J\u202e\x7f"}, {"Retry-After": "9" * 400}),
        ({}, {"Retry-After": "soon"}),
    ],
)
@pytest.mark.parametrize("code", [400, 429, 430, 599, 299])
async def test_a_refusal_of_any_form_is_an_error_that_can_be_read(
    server: ScriptedServer, client: Client, body: Json, headers: dict[str, str], code: int
):
    if code == 299:
        body = {**body, "metadata": "x"}
    server.calls.append(answer(body, status=code, headers=headers))
    with pytest.raises(ApiError) as caught:
        await client.call("get", PODS, namespace="a", name="b")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert caught.value.retry_after_s is None or 0 <= caught.value.retry_after_s <= 3600
    assert reason_of(caught.value) in {"Failed", "Unavailable"}


# -- any JSON at all

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([HUGE, -HUGE, 2**63, -1, 10**18]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["True", "False", "9" * 5000, "²", "1e999", "\x7f\u202e", "2026-03-01T12:00:00Z"]
    ),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
READERS = [
    (slim_pod, pod("p", owner="rs", node="n", ready_since="2026-03-01T12:02:00Z", deleting=True)),
    (
        slim_node,
        node("n", labels={"a": "b"}, taints=[{"key": "k", "value": "v"}], unschedulable=True),
    ),
    (slim_deployment, deployment("d", annotations={"a": "b"}, status={"replicas": 1})),
    (slim_replica_set, replica_set("rs", owner="d")),
]


def _places(item: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in an object, by its path."""
    found = [path] if path else []
    if isinstance(item, dict | list):
        for key, value in item.items() if isinstance(item, dict) else enumerate(item):
            found += _places(value, (*path, key))
    return found


def _with(item: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy in which one place has another value."""
    if not path:
        return value
    copy = dict(item) if isinstance(item, dict) else list(item)
    copy[path[0]] = _with(copy[path[0]], path[1:], value)
    return copy


@given(data=st.data(), junk=JSON)
@settings(
    max_examples=examples(day=60, night=5000),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_an_object_with_any_value_at_any_place_is_read_or_refused(data: Any, junk: Any):
    slim, good = data.draw(st.sampled_from(READERS))
    path = data.draw(st.sampled_from(_places(good)))
    _refused(UnreadableError, lambda: slim(_with(good, path, junk)))


@given(item=JSON)
@settings(max_examples=examples(day=60, night=5000), deadline=None)
def test_any_value_is_an_event_a_page_an_object_or_refused(item: Any):
    body = item if isinstance(item, dict) else {"metadata": item, "items": item, "code": item}
    _refused(UnreadableError, lambda: read_page(body))
    _refused(UnreadableError, lambda: key_of(item, namespace=""))
    version_number(item)
    for kind in ("ERROR", "ADDED", item):
        line = json.dumps({"type": kind, "object": body}).encode()
        _refused(ApiError, lambda line=line: error_of(read_event(line, watched="p"), watched="p"))


def _refused(kind: type[Exception], read: Callable[[], object]) -> None:
    """Whatever is raised is of this kind, and its text is fit for a log."""
    try:
        read()
    except kind as error:
        text = str(error)
    else:
        return
    assert text.isprintable()
    assert len(text) < 400


@given(line=st.binary(max_size=200))
@settings(max_examples=examples(day=60, night=5000), deadline=None)
def test_any_bytes_are_an_object_or_none(line: bytes):
    found = json_object(line)
    assert found is None or isinstance(found, dict)


@pytest.mark.parametrize(
    ("where", "value", "word"),
    [
        (("spec", "replicas"), 1e30, "spec"),
        (("spec", "replicas"), True, "replicas"),
        (("spec", "replicas"), "3", "replicas"),
        (("spec", "replicas"), -1, "replicas"),
        (("spec", "replicas"), HUGE, "replicas"),
        (("spec", "replicas"), 2**31, "replicas"),
        (("status",), ["x"], "status"),
        (("metadata",), "x", "metadata"),
        (("status", "replicas"), "4", "replicas"),
        (("spec", "template"), "x", "template"),
        (("spec", "template", "spec", "containers"), {"a": 1}, "containers"),
        (("spec", "template", "spec", "containers"), ["x"], "containers"),
        (("metadata", "annotations"), {"a": 1}, "annotations"),
        (("metadata", "generation"), "2", "generation"),
    ],
)
def test_a_deployment_of_which_a_part_is_of_another_type_is_unknown(
    where: tuple[str, ...], value: Any, word: str
):
    body = deployment("d", status={"replicas": 1})
    with pytest.raises(UnreadableError) as caught:
        slim_deployment(_with(body, where, value))
    assert word in str(caught.value) or where[-1] in str(caught.value)


@pytest.mark.parametrize(
    ("slim", "good", "where", "value"),
    [
        (slim_node, READERS[1][1], ("metadata", "labels"), ["x"]),
        (slim_node, READERS[1][1], ("metadata", "labels"), {"a": ["x"]}),
        (slim_node, READERS[1][1], ("spec", "taints"), ["x"]),
        (slim_node, READERS[1][1], ("spec", "unschedulable"), "no"),
        (slim_node, READERS[1][1], ("status", "conditions"), {"type": "Ready"}),
        (slim_node, READERS[1][1], ("status", "conditions"), [None]),
        (slim_pod, READERS[0][1], ("status",), ["x"]),
        (slim_pod, READERS[0][1], ("status", "conditions"), {"a": 1}),
        (slim_pod, READERS[0][1], ("status", "podIP"), "evil.example.com"),
        (slim_pod, READERS[0][1], ("status", "podIP"), "10.0.0.1/x?"),
        (slim_pod, READERS[0][1], ("spec", "terminationGracePeriodSeconds"), "30"),
        (slim_pod, READERS[0][1], ("metadata", "ownerReferences"), [{"controller": "yes"}]),
    ],
)
def test_pods_and_nodes_likewise(slim: Any, good: Json, where: tuple[str, ...], value: Any):
    with pytest.raises(UnreadableError):
        slim(_with(good, where, value))
