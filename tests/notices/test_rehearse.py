"""A rehearsal is read back as a notice, and taken back without a trace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from autoscaler.errors import ActuationError, SettingsError
from autoscaler.kube.api.client import Client, connect
from autoscaler.notices.mark import Seen
from autoscaler.notices.node_marks import read_marks
from autoscaler.notices.rehearse import cancel, rehearse
from simulations.box.local_cluster import ApiFault, ApiFaultKind, LocalCluster
from tests.kube.scene import CREATED_AT, node

AT = CREATED_AT + 0.25


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(controllers=False, folder=tmp_path) as made:
        made.apply(node("spot-1", annotations={"theirs": "kept"}))
        yield made


@pytest.fixture
async def client(cluster: LocalCluster) -> AsyncIterator[Client]:
    async with await connect(str(cluster.kubeconfig)) as made:
        yield made


async def test_what_is_announced_is_read_and_taken_back(cluster: LocalCluster, client: Client):
    before = cluster.store.get("nodes", "", "spot-1")["metadata"]["annotations"]
    deadline_at = await rehearse(client, "spot-1", in_s=60, at=AT)
    assert deadline_at == CREATED_AT + 61, "never sooner than asked"
    (mark,) = read_marks(cluster.store.get("nodes", "", "spot-1"), Seen(at=AT))
    assert mark.interruption.deadline_at == deadline_at
    await cancel(client, "spot-1")
    assert cluster.store.get("nodes", "", "spot-1")["metadata"]["annotations"] == before


async def test_a_node_that_is_not_there_is_answered_with_those_that_are(client: Client):
    with pytest.raises(
        ActuationError, match=r"no node spot-2 .* the first nodes are: spot-1"
    ) as it:
        await rehearse(client, "spot-2", in_s=60, at=AT)
    assert it.value.reason == "NotFound"


async def test_a_right_that_is_missing_is_named(cluster: LocalCluster, client: Client):
    with (
        cluster.faults.during(ApiFault(kind=ApiFaultKind.FORBIDDEN, resource="nodes")),
        pytest.raises(ActuationError, match="lacks the verb `patch` on `nodes`") as it,
    ):
        await cancel(client, "spot-1")
    assert it.value.reason == "Forbidden"


@pytest.mark.parametrize("in_s", [0, -5, float("nan"), float("inf")])
async def test_a_deadline_must_lie_ahead(client: Client, in_s: float):
    with pytest.raises(SettingsError, match="give seconds above 0"):
        await rehearse(client, "spot-1", in_s=in_s, at=AT)
