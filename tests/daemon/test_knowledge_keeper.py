"""What is kept of models: read before the first look, written by who acts, and what of failures. The real client."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.daemon.knowledge_keeper import (
    FIRST_READ_S,
    FIRST_WRITE_S,
    WRITE_S,
    KnowledgeKeeper,
    KnowledgeReadOutcome,
    KnowledgeWriteOutcome,
)
from autoscaler.daemon.loop import Handled
from autoscaler.kube.api.client import Client
from autoscaler.kube.api.fence import FencedClient
from autoscaler.kube.knowledge import (
    SHELF_BYTES_MAX,
    SHELVES,
    entry_key,
    fill,
    shelf_names,
    shelf_of,
)
from tests.builders import model
from tests.kube.api_server import Request, ScriptedServer, Step, answer, page, refuse
from tests.kube.test_fence import FakeFence

SPEC = model("llama")
NAME = shelf_names("ours")[shelf_of(SPEC.key)]
PATH = f"/api/v1/namespaces/home/configmaps/{NAME}"
HANDLED = Handled(event=cast("Any", None), outcome=Outcome(), observe_s=0.0, decide_s=0.0)


def text(learnt: str) -> str:
    return json.dumps({"version": 1, "packed": learnt})


def config_map(version: str = "1", **data: Any) -> Step:
    metadata = {"name": NAME, "namespace": "home", "resourceVersion": version, "labels": {"a": "b"}}
    return answer({"kind": "ConfigMap", "metadata": metadata, "data": data})


ABSENT = refuse(404, "Refused", "no")
WRITTEN = answer({"metadata": {"resourceVersion": "9"}})


class Keeping:
    """A keeper over a scripted server."""

    def __init__(self, server: ScriptedServer, client: Client) -> None:
        self.server = server
        self.at = 1_000.0
        self.acts = True
        self.learnt: str | None = "one"
        self.given: list[tuple[str, str]] = []
        self.keeper = self.begin(client)

    def begin(self, client: Client) -> KnowledgeKeeper:
        return KnowledgeKeeper(
            client,
            namespace="home",
            lease_name="ours",
            put=lambda key, found: self.given.append((key, found)),
            remember=lambda _model: None if self.learnt is None else text(self.learnt),
            now=lambda: self.at,
            acts=lambda: self.acts,
        )

    def follow(self, *specs: Any) -> None:
        self.keeper.follow(FleetSpec(models=specs or (SPEC,)))

    def script(self, *steps: Step) -> None:
        self.server.calls.extend(steps)

    async def look(self, after: float = 0.0) -> None:
        self.at += after
        await self.keeper.look()

    async def write_when_due(self) -> None:
        """Past the interval: asked for, decided on, written."""
        await self.look(WRITE_S)
        self.keeper.decided(HANDLED, cast("Decision", _Decided()))
        await self.look(5.0)

    @property
    def sent(self) -> list[Request]:
        return [each for each in self.server.requests if each.method != "GET"]


class _Decided:
    model = SPEC.key


@contextlib.asynccontextmanager
async def keeping(
    folder: Path, *, fenced: Callable[[Client], Client] = lambda client: client
) -> AsyncIterator[Keeping]:
    async with ScriptedServer() as server, await server.client(folder) as client:
        yield Keeping(server, fenced(client))


@contextlib.asynccontextmanager
async def reading(folder: Path, *steps: Step) -> AsyncIterator[Keeping]:
    async with keeping(folder) as kept:
        kept.follow()
        kept.script(*steps)
        await kept.look()
        yield kept


async def test_what_is_kept_is_given_back_and_the_first_look_waits_for_it(tmp_path):
    async with keeping(tmp_path) as kept:
        assert kept.keeper.has_recalled(), "of no model is there anything to wait for"
        kept.follow()
        assert not kept.keeper.has_recalled()
        kept.script(config_map(**{"serving.llama": text("before"), "serving.other": "x"}))
        await kept.look()
        assert kept.given == [(SPEC.key, text("before"))]
        assert kept.keeper.has_recalled()
        assert kept.keeper.reads == {KnowledgeReadOutcome.FOUND: 1}
        await kept.look(1.0)
        assert len(kept.server.requests) == 1, "it is read once"


@pytest.mark.parametrize(
    "step",
    [
        ABSENT,
        config_map(),
        config_map(**{"serving.llama": 7}),
        answer({"metadata": {"resourceVersion": "1"}, "data": [1]}),
        answer({"metadata": {"resourceVersion": "1"}}),
    ],
)
async def test_where_nothing_is_kept_it_begins_without(tmp_path, step):
    async with reading(tmp_path, step) as kept:
        assert kept.given == []
        assert kept.keeper.has_recalled()
        assert kept.keeper.reads == {KnowledgeReadOutcome.ABSENT: 1}


@pytest.mark.parametrize(
    "step", [refuse(403, "Refused", "no"), refuse(500, "Refused", "no"), page()]
)
async def test_what_cannot_be_read_stops_nothing_is_said_once_and_never_written_over(
    tmp_path, step
):
    with structlog.testing.capture_logs() as logs:
        async with reading(tmp_path, step) as kept:
            assert kept.keeper.has_recalled(), "it begins without"
            kept.script(step)
            await kept.look(5.0)
            await kept.write_when_due()
            assert kept.sent == []
            kept.script(config_map(**{"serving.llama": text("before")}))
            await kept.look(60.0)
            assert kept.given == [(SPEC.key, text("before"))]
            assert kept.keeper.reads[KnowledgeReadOutcome.FAILED] >= 2
    told = [line["event"] for line in logs]
    assert told.count("knowledge.unread") <= 2
    assert told[-1] == "knowledge.recovered"


async def test_a_server_that_hangs_holds_the_first_look_up_for_seconds_no_longer(tmp_path):
    async with keeping(tmp_path) as kept:
        kept.at += 10 * FIRST_READ_S  # resources that come late are waited for as well
        kept.follow()
        kept.at += FIRST_READ_S / 2
        assert not kept.keeper.has_recalled()
        kept.at += FIRST_READ_S
        assert kept.keeper.has_recalled()


async def test_who_acts_writes_what_was_learnt_over_what_was_read_and_keeps_the_rest(tmp_path):
    async with reading(tmp_path, ABSENT) as kept:
        await kept.look(FIRST_WRITE_S - 1.0)
        assert kept.sent == [], "not yet"
        kept.script(config_map("7", **{"serving.other": "theirs"}), WRITTEN)
        await kept.write_when_due()
        (write,) = kept.sent
        assert (write.method, write.path) == ("PUT", PATH)
        assert write.body["data"] == {"serving.other": "theirs", "serving.llama": text("one")}
        assert write.body["metadata"]["resourceVersion"] == "7"
        assert write.body["metadata"]["labels"] == {"a": "b"}
        assert kept.keeper.written == {KnowledgeWriteOutcome.WRITTEN: 1}


async def test_where_there_is_none_it_is_made(tmp_path):
    async with reading(tmp_path, ABSENT) as kept:
        kept.script(ABSENT, WRITTEN)
        await kept.write_when_due()
        (write,) = kept.sent
        assert (write.method, write.path) == ("POST", "/api/v1/namespaces/home/configmaps")
        assert write.body["metadata"]["name"] == NAME


async def test_it_is_written_on_change_only(tmp_path):
    async with reading(tmp_path, ABSENT) as kept:
        kept.script(ABSENT, WRITTEN)
        await kept.write_when_due()
        await kept.write_when_due()
        assert len(kept.sent) == 1
        kept.learnt = "two"
        kept.script(config_map(), WRITTEN)
        await kept.write_when_due()
        assert len(kept.sent) == 2


async def test_nothing_learnt_is_nothing_to_write(tmp_path):
    async with reading(tmp_path, ABSENT) as kept:
        kept.learnt = None
        await kept.write_when_due()
        assert kept.sent == []


async def test_a_standby_reads_and_does_not_write_and_begins_its_interval_when_it_acts(tmp_path):
    async with reading(tmp_path, config_map(**{"serving.llama": text("before")})) as kept:
        assert kept.given
        kept.acts = False
        await kept.write_when_due()
        kept.acts = True
        await kept.look(5.0)
        assert kept.sent == []
        kept.script(config_map(), WRITTEN)
        await kept.write_when_due()
        assert len(kept.sent) == 1


async def test_somebody_else_s_write_in_between_is_read_and_written_over(tmp_path):
    async with reading(tmp_path, ABSENT) as kept:
        kept.script(config_map("7"), refuse(409, "Refused", "no"))
        await kept.write_when_due()
        kept.script(config_map("8", **{"serving.other": "new"}), WRITTEN)
        await kept.look(5.0)
        assert kept.sent[-1].body["metadata"]["resourceVersion"] == "8"
        assert kept.sent[-1].body["data"]["serving.other"] == "new"
        assert kept.keeper.written == {
            KnowledgeWriteOutcome.CONFLICT: 1,
            KnowledgeWriteOutcome.WRITTEN: 1,
        }


@pytest.mark.parametrize(
    "step",
    [refuse(403, "Refused", "no"), refuse(413, "Refused", "no"), refuse(500, "Refused", "no")],
)
async def test_a_write_that_fails_is_said_once_and_tried_again_later(tmp_path, step):
    with structlog.testing.capture_logs() as logs:
        async with reading(tmp_path, ABSENT) as kept:
            for _ in range(2):
                kept.script(config_map(), step)
                await kept.write_when_due()
            kept.script(config_map(), WRITTEN)
            await kept.write_when_due()
            assert kept.keeper.written == {
                KnowledgeWriteOutcome.FAILED: 2,
                KnowledgeWriteOutcome.WRITTEN: 1,
            }
    told = [line["event"] for line in logs]
    assert told == ["knowledge.unwritten", "knowledge.recovered"]


async def test_a_write_that_the_fence_stops_is_none(tmp_path):
    fence = FakeFence(0.0)
    async with keeping(tmp_path, fenced=lambda client: FencedClient(client, fence)) as kept:
        kept.follow()
        kept.script(ABSENT)
        await kept.look()
        kept.script(config_map())
        await kept.write_when_due()
        assert kept.sent == []
        assert kept.keeper.written == {}


async def test_before_it_ends_it_writes_what_it_knows_then(tmp_path):
    async with reading(tmp_path, ABSENT) as kept:
        kept.script(ABSENT, WRITTEN)
        kept.learnt = "last"
        await kept.keeper.write_last()
        (write,) = kept.sent
        assert write.body["data"] == {"serving.llama": text("last")}


async def test_a_standby_that_ends_writes_nothing(tmp_path):
    async with reading(tmp_path, ABSENT) as kept:
        kept.acts = False
        await kept.keeper.write_last()
        assert kept.sent == []


async def test_a_model_that_comes_later_is_read_then_and_one_that_went_is_forgotten(tmp_path):
    async with reading(tmp_path, ABSENT) as kept:
        other = model("mistral")
        kept.follow(other)
        kept.script(config_map(**{"serving.mistral": text("m")}))
        await kept.look(5.0)
        assert kept.given == [(other.key, text("m"))]
        await kept.look(WRITE_S)
        kept.keeper.decided(HANDLED, cast("Decision", _Decided()))
        await kept.look(5.0)
        assert kept.sent == [], "nobody asks for llama any more"


# -- where it stands


def test_a_model_s_place_and_key_are_its_own_for_ever():
    assert shelf_of("serving/llama") == 3
    keys = {entry_key(f"{a}/{b}") for a in ("x", "x-y") for b in ("z", "z.z", "y.z", "z" * 300)}
    assert len(keys) == 8
    assert max(map(len, keys)) <= 253
    assert {shelf_of(f"serving/m{number}") for number in range(40)} == set(range(SHELVES))


def test_a_thousand_models_fit():
    """Four shelves, of which the fullest has some more than a quarter."""
    sizes = [0] * SHELVES
    for number in range(800):
        sizes[shelf_of(f"team-{number % 9}/model-{number}")] += 4096 + 20
    assert max(sizes) <= SHELF_BYTES_MAX


def test_where_there_is_no_room_those_go_that_nobody_asks_for_and_then_the_rest_is_told():
    big = "x" * (SHELF_BYTES_MAX // 4)
    found = {f"old-{number}": big for number in range(4)}
    asked_for = frozenset({"new-1", "new-2", "old-3"})
    filled = fill(found, {"new-1": big, "new-2": big}, asked_for=asked_for)
    assert set(filled.entries) == {"new-1", "new-2", "old-3"}
    assert filled.left_out == ()
    more = {f"new-{number}": big for number in range(5)}
    filled = fill({}, more, asked_for=frozenset(more))
    assert len(filled.entries) == 3
    assert filled.left_out == ("new-4", "new-3")


async def test_what_found_no_room_is_told(tmp_path):
    big = "x" * SHELF_BYTES_MAX
    async with reading(tmp_path, ABSENT) as kept:
        kept.learnt = big
        kept.script(config_map(), WRITTEN)
        with structlog.testing.capture_logs() as logs:
            await kept.write_when_due()
        assert kept.keeper.written == {KnowledgeWriteOutcome.LEFT_OUT: 1}
        assert [line["event"] for line in logs] == ["knowledge.unwritten"]
