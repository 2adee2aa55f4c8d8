"""The stand-in exporter: its page as our reader sees it, and memory that follows the pods."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import pytest

from autoscaler.sources import dcgm
from autoscaler.sources.dcgm import GpuAccount
from autoscaler.sources.pages.exposition import read_page
from simulations.box.dcgm_exporter.cards import (
    CONTEXT_MIB,
    IDLE_MIB,
    LOADED_SHARE,
    SERVING_MIB,
    Cards,
    Holder,
    holder_of,
)
from simulations.box.dcgm_exporter.exporter import Exporter
from simulations.box.dcgm_exporter.page import write_page
from simulations.box.local_cluster import LocalCluster
from simulations.box.local_cluster.machines.nodes import Machine
from tests.sources.bodies import page

AT = 1_800_000_000.0
STARTED = "2027-01-15T08:00:00Z"
"""At AT."""


def pod(
    name: str,
    *,
    gpus: int = 1,
    started: str | None = STARTED,
    ready: bool = False,
    phase: str = "Running",
) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }
    if started is not None:
        status["containerStatuses"] = [{"state": {"running": {"startedAt": started}}}]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "s", "uid": f"uid-{name}"},
        "spec": {
            "nodeName": "n",
            "containers": [
                {
                    "name": "vllm",
                    "image": "vllm",
                    "args": ["--cold-start=40"],
                    "resources": {"limits": limits},
                }
            ],
        },
        "status": status,
    }


@pytest.mark.parametrize(
    ("what", "used"),
    [
        pytest.param(pod("a", started=None, phase="Pending"), IDLE_MIB, id="bound, no container"),
        pytest.param(pod("a"), CONTEXT_MIB, id="just begun"),
        pytest.param(pod("a", ready=True), SERVING_MIB, id="ready: a plateau"),
    ],
)
def test_the_memory_of_a_pod(what: dict[str, Any], used: int):
    held = holder_of(what, at=AT)
    assert held is not None
    assert held.used_mib == used


def test_memory_climbs_while_the_container_loads_and_then_waits_for_readiness():
    climb = [holder_of(pod("a"), at=AT + 10.0 * step).used_mib for step in range(7)]
    assert climb[:5] == sorted(set(climb[:5]))
    loaded = CONTEXT_MIB + int(LOADED_SHARE * (SERVING_MIB - CONTEXT_MIB))
    assert climb[4:] == [loaded] * 3


@pytest.mark.parametrize("what", [pod("a", gpus=0), pod("a", phase="Succeeded")])
def test_who_holds_no_card(what: dict[str, Any]):
    assert holder_of(what, at=AT) is None


def holder(name: str, gpus: int = 1) -> Holder:
    return Holder(
        uid=name, namespace="s", name=name, container="vllm", gpus=gpus, used_mib=SERVING_MIB
    )


def read(cards: Cards) -> GpuAccount:
    rows = read_page(write_page(cards.cards).encode(), dcgm.NAMES)
    return dcgm.account([dcgm.read(rows, at=100.0, node="n")])


def test_a_pod_keeps_its_cards_and_gives_them_back():
    cards = Cards("n")
    cards.resize(4)
    cards.assign([holder("a", 2), holder("b")])
    before = {card.name: card.holder.name for card in cards.cards if card.holder}
    cards.assign([holder("b"), holder("c", 2)])
    kept = [card.name for card in cards.cards if card.holder and card.holder.name == "b"]
    assert kept == [name for name, held_by in before.items() if held_by == "b"]
    told = read(cards)
    assert told.nodes["n"].free == 1
    assert {name: each.used_bytes for (_, name), each in told.framebuffers.items()} == {
        "b": SERVING_MIB * 2**20,
        "c": 2 * SERVING_MIB * 2**20,
    }


def test_an_error_is_on_the_page_until_it_is_mended():
    cards = Cards("n")
    cards.resize(2)
    cards.fail(numbers=[1], xid=79)
    assert read(cards).nodes["n"].unhealthy == 1
    assert 'err_code="79",err_msg="GPU has fallen off the bus"' in write_page(cards.cards)
    cards.fail(numbers=[1], xid=0)
    assert read(cards).nodes["n"].unhealthy == 0


def test_its_rows_have_the_labels_of_a_real_page_in_their_order():
    cards = Cards("gpu-node-0")
    cards.resize(1)
    cards.assign([holder("a")])
    name = b"DCGM_FI_DEV_FB_USED{"

    def labels(body: bytes) -> list[str]:
        row = next(line for line in body.splitlines() if line.startswith(name)).decode()
        return [part.split("=")[0] for part in row.split("{")[1].split("}")[0].split(",")]

    assert labels(write_page(cards.cards).encode()) == labels(page("dcgm-exporter"))


async def test_it_follows_the_pods_of_its_node_through_the_api_server():
    async with LocalCluster(controllers=False) as cluster:
        cluster.store.create("nodes", Machine(name="n", gpus=2).node(time.time()))
        cluster.apply(pod("a", ready=True))
        other = pod("elsewhere", ready=True)
        other["spec"]["nodeName"] = "m"
        cluster.apply(other)
        async with aiohttp.ClientSession(cluster.api.url) as api:
            exporter = Exporter(node="n", api=api, period_s=1.0)
            await exporter.look()
        assert [card.holder and card.holder.name for card in exporter.cards.cards] == ["a", None]
        cluster.store.remove("pods", "s", "a")
        async with aiohttp.ClientSession(cluster.api.url) as api:
            again = Exporter(node="n", api=api, period_s=1.0)
            again.cards = exporter.cards
            await again.look()
        assert [card.used_mib for card in again.cards.cards] == [IDLE_MIB, IDLE_MIB]
