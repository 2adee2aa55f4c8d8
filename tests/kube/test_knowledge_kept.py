"""A daemon that is killed and the one after it, as processes on a real API server: what the first knew the second knows."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from autoscaler.app import LEASE_NAME
from autoscaler.core.knowledge.text import read_text
from autoscaler.kube.api.resources import CONFIG_MAPS
from autoscaler.kube.knowledge import entry_key, shelf_names, shelf_of
from autoscaler.settings import load_config, to_core
from tests.core.knowledge.busy import learnt_at
from tests.daemon.live import until
from tests.kube.control_plane import create
from tests.kube.test_two_daemons import HOME, Daemon, Room, room

__all__ = ["room"]

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

MODEL = "serving/llama"
SHELF = shelf_names(LEASE_NAME)[shelf_of(MODEL)]
KEPT_S = 60.0
"""Until the first write: half a minute from when it acts, and two looks."""
DECIDED = "inference_autoscaler_carried_ratio"
PARTS = {"cold-starts", "capacity", "choice", "peaks"}


async def kept(room: Room) -> dict[str, Any]:
    found = await room.admin.call("get", CONFIG_MAPS, namespace=HOME, name=SHELF)
    plain: dict[str, Any] = json.loads(found["data"][entry_key(MODEL)])
    return plain


async def figures(daemon: Daemon) -> Mapping[str, float]:
    """Of its own page, once it has decided."""
    async with asyncio.timeout(30.0):
        while DECIDED not in (found := await page(daemon)):
            await asyncio.sleep(0.2)
    return found


async def page(daemon: Daemon) -> Mapping[str, float]:
    (started,) = daemon.said("daemon.started")
    address = re.sub(r"^https?://", "", started["address"])
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}/metrics") as answer,
    ):
        text = await answer.text()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name.partition("{")[0]: float(value) for name, _, value in lines}


async def test_what_one_that_is_killed_knew_is_known_to_the_next(room: Room):
    (resource,) = load_config(room.config).resources
    metadata = {"name": SHELF}
    text = learnt_at(to_core(resource), time.time() - 60.0)
    data = {entry_key(MODEL): text, "elsewhere.other": "theirs"}
    await create(room.admin, CONFIG_MAPS, {"metadata": metadata, "data": data}, namespace=HOME)

    first = await room.start("a", "--memory")
    await until(lambda: first.said("knowledge.taken"))
    before = await figures(first)
    was = await kept(room)
    async with asyncio.timeout(KEPT_S):
        while (written := await kept(room))["writtenAt"] == was["writtenAt"]:
            await asyncio.sleep(0.5)
    assert read_text(json.dumps(written)).parts.keys() >= PARTS
    assert first.said("knowledge.unwritten") == first.said("knowledge.unread") == []
    first.process.kill()
    await first.process.wait()

    second = await room.start("b", "--memory")
    await until(lambda: second.said("knowledge.taken"))
    (taken,) = second.said("knowledge.taken")
    assert set(taken["parts"]) >= PARTS
    await until(second.leads, timeout_s=15.0)
    after = await figures(second)
    for name in ("carried_ratio", "cold_start_seconds"):
        figure = f"inference_autoscaler_{name}"
        assert after[figure] == pytest.approx(before[figure], abs=0.1)
    assert after["inference_autoscaler_cold_start_seconds"] != 180.0, "not the one that is told"

    # Asked to end, it writes what it knows by then; what is not ours stays.
    was = await kept(room)
    second.process.terminate()
    assert await second.process.wait() == 0
    assert (await kept(room))["writtenAt"] > was["writtenAt"]
    found = await room.admin.call("get", CONFIG_MAPS, namespace=HOME, name=SHELF)
    assert found["data"]["elsewhere.other"] == "theirs"
    assert second.said("lease.released")
