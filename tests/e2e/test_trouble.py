"""A spot node is taken while something else goes wrong: two at once, a budget that refuses, a notice that is
taken back, a network that is cut, no word at all. And a consolidation, which is no trouble but somebody's pace.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from tests.e2e import dialects
from tests.e2e.explained import explain, recorded
from tests.e2e.kubectl import kubectl_async, wait_until
from tests.e2e.load import Load
from tests.e2e.nodes import cut, give_back, gpus_of, mend, node_object, on, power_off, take
from tests.e2e.scene import MODEL, Scene, playing
from tests.e2e.story import (
    SLACK_S,
    TICK_S,
    Doomed,
    ends,
    give_notice,
    is_left_in_time,
    is_raised,
    is_released,
    listening,
    loaded,
    none_lost,
    promised,
    returns,
    settled,
    spot_nodes,
    spot_scene,
    whole_nodes,
)
from tests.e2e.watcher import filming
from tests.extent import NIGHT

BY_NIGHT = pytest.mark.skipif(not NIGHT, reason="played by night: TESTS=night")
CLAIMS = Path(__file__).parent / "cluster/nodeclaims.yaml"
NOT_READY_S = 45
"""Until the node controller gives up a silent kubelet: 16 s on the mini cluster, 40 s elsewhere."""


async def _names_on(scene: Scene, node: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in on(node, await scene.ready_pods())]


# --- two at once, and a consolidation ------------------------------------------------------------


async def _two_at_once(scene: Scene) -> list[Doomed]:
    """Both spot nodes: by different agents, half a second apart."""
    before, nodes = await scene.wanted(), await spot_nodes(scene)
    names = [name for node in nodes for name in await _names_on(scene, node)]
    async with listening(scene, names) as farewells:
        doomed = [await give_notice(scene, dialects.REHEARSAL, node) for node in nodes]
        await is_raised(scene, before, doomed)
        await asyncio.gather(*(is_left_in_time(scene, each, farewells) for each in doomed))
    for each in doomed:
        await ends(each)
    await returns(scene, before, doomed)
    return doomed


async def _consolidation(scene: Scene, node: str) -> tuple[float, float]:
    """Karpenter takes the node at its own pace: reason, taint, and later, when it sees fit, evictions."""
    before, gpus, names = await scene.wanted(), await gpus_of(node), await _names_on(scene, node)
    await dialects.make_claim(node)
    began = time.time()
    async with listening(scene, names) as farewells:
        await dialects.disrupted_for(node, "Underutilized")
        await dialects.taint_disrupted(node, 0.0)

        async def raised() -> bool:
            wanted = await scene.wanted()
            return wanted.get("on-demand") == before["on-demand"] + len(names)

        await wait_until("on-demand is raised", raised, timeout_s=TICK_S + SLACK_S)
        assert await promised(scene) == {node: len(names)}
        await scene.wait_ready(sum(before.values()) + len(names))  # made before it breaks
        await asyncio.sleep(15)  # Karpenter waits for its own replacement
        assert set(await _names_on(scene, node)) == set(names), "the drain is Karpenter's"
        await dialects.delete_claim(node)
        story = Doomed(
            dialect=dialects.KARPENTER_CLAIM,
            node=node,
            gpus=gpus,
            pods=names,
            said_at=began,
            ends_at=time.time() + 60,
        )
        await dialects.evict_all(node, scene.namespace)
        await is_left_in_time(scene, story, farewells)
    await take(node)
    await dialects.finish_claim(node)
    await give_back(node, gpus=gpus)
    await is_released(scene, before)
    return began, time.time()


@BY_NIGHT
async def test_two_nodes_at_once_and_a_consolidation_raise_once_for_each(image, logs):
    await kubectl_async("create", "-f", str(CLAIMS), check=False)
    scene = spot_scene("e2e-two-at-once", image, logs)
    async with playing(scene) as daemon:
        before = await settled(scene)
        async with whole_nodes(scene), loaded(scene) as load, filming(scene, load) as film:
            doomed = await _two_at_once(scene)
            highest = max(film.totals())
            consolidated_at = time.monotonic()
            node = (await spot_nodes(scene))[0]
            began, ended = await _consolidation(scene, node)
        record = await recorded(scene, daemon)
    none_lost(load)
    assert highest == sum(before.values()) + 2, "one stand-in a replica"
    assert max(film.totals(consolidated_at)) == sum(before.values()) + 1, "raised once"
    assert min(film.ready(consolidated_at)) >= sum(before.values()), "made before it breaks"
    part = record.between(began, ended)
    assert {each["kind"] for _, each in part.interruptions(node)} == {"Disruption"}
    raised = [said for _, said in part.steps("FallbackRaised")]
    assert len(raised) == 1, raised
    assert node in raised[0]
    assert part.commands("CordonNode", "EvictPod", "DeletePod") == [], "the drain is Karpenter's"
    assert part.steps("FallbackReleased")
    together = record.between(doomed[0].said_at, doomed[0].released_at)
    told = [said for _, said in together.steps("FallbackRaised")]
    assert all(sum(each.node in said for said in told) == 1 for each in doomed), told


# --- a budget that refuses, and a notice that is taken back --------------------------------------


def _budget(scene: Scene) -> str:
    return json.dumps(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": MODEL, "namespace": scene.namespace},
            "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": MODEL}}},
        }
    )


async def _behind_a_budget(scene: Scene, node: str) -> Doomed:
    """No eviction is allowed, ever: each is refused, until the deadline is near."""
    before, names = await scene.wanted(), await _names_on(scene, node)
    await kubectl_async("apply", "-f", "-", stdin=_budget(scene))
    async with listening(scene, names) as farewells:
        doomed = await give_notice(scene, dialects.REHEARSAL, node)
        await is_raised(scene, before, [doomed])
        await is_left_in_time(scene, doomed, farewells)
    await kubectl_async("delete", "-f", "-", stdin=_budget(scene))
    await ends(doomed)
    await returns(scene, before, [doomed])
    return doomed


async def _taken_back(scene: Scene, node: str) -> Doomed:
    """The node is cordoned and emptied, and then it stays after all."""
    before, names = await scene.wanted(), await _names_on(scene, node)
    async with listening(scene, names) as farewells:
        doomed = await give_notice(scene, dialects.REHEARSAL, node, lead_s=300)
        await is_raised(scene, before, [doomed])
        await is_left_in_time(scene, doomed, farewells)
    await dialects.withdraw(node)

    async def schedulable() -> bool:
        found = await node_object(node)
        return found is not None and not found["spec"].get("unschedulable")

    await wait_until("the node is uncordoned", schedulable, timeout_s=TICK_S + SLACK_S)
    await is_released(scene, before)
    doomed.released_at = time.time()
    return doomed


@BY_NIGHT
async def test_a_budget_refuses_until_the_deadline_is_near_and_a_notice_is_taken_back(image, logs):
    scene = spot_scene("e2e-budget", image, logs)
    async with playing(scene) as daemon:
        before = await settled(scene)
        first, second = await spot_nodes(scene)
        async with whole_nodes(scene), loaded(scene) as load, filming(scene, load) as film:
            refused = await _behind_a_budget(scene, first)
            withdrawn = await _taken_back(scene, second)
        record = await recorded(scene, daemon)
    none_lost(load)
    assert max(film.totals()) <= sum(before.values()) + 1
    explain(refused, record)
    part = record.between(refused.said_at, refused.released_at)
    assert {each["ended"] for each in part.commands("EvictPod")} == {"DisruptionBudget"}
    deleted = part.commands("DeletePod")
    assert [each["ended"] for each in deleted] == ["Accepted"] * len(refused.pods)
    assert all(each["at"] > refused.said_at + 20 for each in deleted), "the budget had its time"
    part = record.between(withdrawn.said_at, withdrawn.released_at)
    assert [each["ended"] for each in part.commands("UncordonNode")] == ["Accepted"]
    assert part.steps("FallbackReleased")


# --- cut off, and gone without a word ------------------------------------------------------------

CUT_S = 40.0


async def _untouched(node: str) -> None:
    found = await node_object(node)
    assert found is not None
    assert not found["spec"].get("unschedulable"), "a lost node is never cordoned by us"


async def _raised_without_a_notice(scene: Scene, before: dict[str, int]) -> None:
    async def raised() -> bool:
        return (await scene.wanted()).get("on-demand", 0) > before["on-demand"]

    await wait_until("the shortfall is raised", raised, timeout_s=NOT_READY_S + TICK_S + SLACK_S)


async def _cut_off(scene: Scene, load: Load, node: str) -> tuple[float, float]:
    """Its machine runs on, out of reach, and comes back with all that it holds.

    What was under way goes on then. Whoever asks it anew gets no connection, until it is known to be lost.
    """
    before = await scene.wanted()
    began = time.time()
    names = await _names_on(scene, node)
    await cut(node)
    try:
        await _raised_without_a_notice(scene, before)
        known_at = time.monotonic() + SLACK_S
        await asyncio.sleep(max(0.0, began + CUT_S - time.time()))
        await _untouched(node)
    finally:
        await mend(node)
    await is_released(scene, before)
    assert set(await _names_on(scene, node)) == set(names), "its pods were never touched"
    ended = time.time()
    for request in load.lost():
        assert request.tokens == 0, f"cut in the middle: {request}"
        assert "Cannot connect" in (request.error or ""), request
        assert request.sent_at < known_at, f"sent when it was known: {request}"
    return began, ended


async def _gone_without_a_word(scene: Scene, load: Load, node: str) -> tuple[float, float]:
    """Its power goes; what it held is lost, and nothing that was sent once it was known to be gone."""
    before, gpus = await scene.wanted(), await gpus_of(node)
    began = time.time()
    await power_off(node)
    await _raised_without_a_notice(scene, before)
    await _untouched(node)
    known_at = time.monotonic() + SLACK_S
    await take(node)  # its Node object goes as well
    await scene.wait_ready(sum(before.values()))  # with the stand-in
    await give_back(node, gpus=gpus)
    await is_released(scene, before)
    late = [request for request in load.lost() if request.sent_at > known_at]
    assert late == [], f"{len(late)} lost that were sent when it was known"
    return began, time.time()


@BY_NIGHT
@pytest.mark.skipif(not os.environ.get("E2E_CUT"), reason="E2E_CUT is not set")
async def test_a_node_is_cut_off_and_another_is_gone_without_a_word(image, logs):
    scene = spot_scene("e2e-no-notice", image, logs)
    async with playing(scene) as daemon:
        before = await settled(scene)
        first, second = await spot_nodes(scene)
        async with whole_nodes(scene), filming(scene) as film:
            async with loaded(scene) as load:
                stories = {first: await _cut_off(scene, load, first)}
            async with loaded(scene) as load:
                stories[second] = await _gone_without_a_word(scene, load, second)
        record = await recorded(scene, daemon)
    assert max(film.totals()) <= sum(before.values()) + 1
    for node, (began, ended) in stories.items():
        part = record.between(began, ended)
        assert {each["kind"] for _, each in part.interruptions(node)} == {"Lost"}
        assert any(node in said for _, said in part.steps("FallbackRaised"))
        assert part.steps("FallbackReleased")
        assert part.commands("CordonNode", "EvictPod", "DeletePod") == []
    print(f"\n{len(load.requests)} requests, {len(load.lost())} lost with a node that said nothing")
