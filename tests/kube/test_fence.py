"""Writes pass the fence at the moment at which they are sent, and end before it closes."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from autoscaler.core.contract.commands import EvictPod
from autoscaler.errors import ActuationError, LeadershipLost
from autoscaler.kube.api.client import MERGE_PATCH, ApiError
from autoscaler.kube.api.fence import FencedClient
from autoscaler.kube.api.resources import NODES
from autoscaler.kube.perform.perform import perform
from tests.kube.api_server import ScriptedServer, answer, hang, refuse, thing

EVICT = EvictPod(
    id="1.1", model="serving/llama", expires_at=1e12, namespace="serving", pod="p", grace_s=600
)
BUDGET = refuse(
    429, "TooManyRequests", "Cannot evict", causes=[{"reason": "DisruptionBudget", "message": "b"}]
)


class FakeFence:
    """Answers as the test says; its last answer stays."""

    def __init__(self, *write_s: float) -> None:
        self.answers = list(write_s)
        self.unanswered = 0

    def write_s(self) -> float:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def note_unanswered(self) -> None:
        self.unanswered += 1


@pytest.fixture
async def server():
    async with ScriptedServer() as made:
        yield made


async def patch(client: FencedClient) -> None:
    await client.call("patch", NODES, name="n", body={"a": 1}, content_type=MERGE_PATCH)


async def test_a_write_is_not_sent_where_the_fence_is_closed_and_a_read_is(
    server: ScriptedServer, tmp_path: Path
):
    server.calls.append(answer(thing("n")))
    fence = FakeFence(0.0)
    async with await server.client(tmp_path) as client:
        fenced = FencedClient(client, fence)
        assert (await fenced.call("get", NODES, name="n"))["value"] == 0
        with pytest.raises(LeadershipLost, match="patch nodes /n: not sent"):
            await patch(fenced)
    assert [request.method for request in server.requests] == ["GET"]
    assert fence.unanswered == 0


async def test_a_write_that_hangs_is_given_up_before_another_can_have_taken_over(
    server: ScriptedServer, tmp_path: Path
):
    server.calls.append(hang())
    fence = FakeFence(0.2)
    async with await server.client(tmp_path) as client:
        with pytest.raises(ApiError, match=r"no answer within 0\.2 s"):
            await patch(FencedClient(client, fence))
    assert fence.unanswered == 1, "it may still be on its way"


async def test_what_was_refused_was_answered(server: ScriptedServer, tmp_path: Path):
    server.calls.append(refuse(409, "Conflict", "modified"))
    fence = FakeFence(5.0)
    async with await server.client(tmp_path) as client:
        with pytest.raises(ApiError, match="409"):
            await patch(FencedClient(client, fence))
    assert fence.unanswered == 0


async def test_each_try_of_one_command_asks_the_fence(server: ScriptedServer, tmp_path: Path):
    """A budget refuses, and when the pause is over another daemon acts."""
    server.calls.append(BUDGET)

    async def sleep(_seconds: float) -> None:
        assert len(server.requests) == 1

    async with await server.client(tmp_path) as client:
        fenced = FencedClient(client, FakeFence(5.0, 0.0))
        with pytest.raises(LeadershipLost):
            await perform(fenced, EVICT, now=time.time, rng=random.Random(1), sleep=sleep)
    assert len(server.requests) == 1


async def test_a_command_whose_write_is_given_up_ends_as_unavailable(
    server: ScriptedServer, tmp_path: Path
):
    server.calls.append(hang())
    async with await server.client(tmp_path) as client:
        fenced = FencedClient(client, FakeFence(0.2))
        with pytest.raises(ActuationError) as found:
            await perform(fenced, EVICT, now=time.time)
    assert found.value.reason == "Unavailable"
