"""Each way in which clouds and their agents say that a spot node goes, played once from notice to return.

On-demand is asked for within a tick, the pods leave the endpoints before SIGTERM and with nothing in
flight, the machine loses its power at its deadline, spot returns, on-demand is released: not one request
is lost, and the recording explains each step. Scenes mostly wait, so several dialects share one daemon
and one load, each with another node.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import dialects
from tests.e2e.dialects import Dialect
from tests.e2e.explained import explain, recorded
from tests.e2e.kubectl import kubectl_async, wait_until
from tests.e2e.machines import AGENT, agents_speak, metadata_service
from tests.e2e.scene import playing
from tests.e2e.story import (
    Doomed,
    a_node_goes_and_returns,
    loaded,
    none_lost,
    settled,
    spot_nodes,
    spot_scene,
    whole_nodes,
)
from tests.e2e.watcher import filming

CLAIMS = Path(__file__).parent / "cluster/nodeclaims.yaml"

TOGETHER: dict[str, tuple[Dialect, ...]] = {
    "two-minutes": (dialects.KARPENTER_EVENT, dialects.HANDLER_TAINT),
    "drained-elsewhere": (dialects.HANDLER_DEFAULT, dialects.KARPENTER_CLAIM),
    "thirty-seconds": (dialects.GKE, dialects.AKS, dialects.KUBELET),
}


async def _play(
    name: str,
    image: str,
    logs: Path,
    played: Sequence[Dialect],
    *,
    components: Sequence[str] = (),
) -> None:
    scene = spot_scene(f"e2e-{name}", image, logs)
    told: list[Doomed] = []
    async with playing(scene, components=components) as daemon:
        before, nodes = await settled(scene), await spot_nodes(scene)
        if AGENT in played:
            await wait_until("the agents speak", partial(agents_speak, nodes), timeout_s=60)
        async with whole_nodes(scene), loaded(scene) as load, filming(scene, load) as film:
            for number, dialect in enumerate(played):
                node = nodes[number % len(nodes)]
                told.append(await a_node_goes_and_returns(scene, dialect, node))
        record = await recorded(scene, daemon)
    none_lost(load)
    assert max(film.totals()) <= sum(before.values()) + 1, "one stand-in a replica, not two"
    for story in told:
        explain(story, record)
        print(
            f"\n{story.dialect.name}: raised after {story.raised_at - story.said_at:.1f} s,"
            f" held for {story.released_at - story.raised_at:.0f} s"
        )
    print(f"{len(load.requests)} requests, none lost")


@pytest.mark.parametrize("together", list(TOGETHER))
async def test_each_dialect_from_its_first_word_to_the_return_of_spot(together, image, logs):
    # where Karpenter is installed its own is there
    await kubectl_async("create", "-f", str(CLAIMS), check=False)
    await _play(together, image, logs, TOGETHER[together])


@pytest.mark.skipif(not os.environ.get("E2E_METADATA"), reason="E2E_METADATA is not set")
async def test_our_own_agent_from_its_first_word_to_the_return_of_spot(image, logs):
    with metadata_service():
        await _play("agent", image, logs, [AGENT], components=["node-agent"])
