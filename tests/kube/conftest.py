"""The scripted API server, a real client of it, and a cluster that is watched through both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.contract.spec import FleetSpec
from autoscaler.kube.api.client import Client
from tests.kube.api_server import ScriptedServer
from tests.kube.cached import Clock
from tests.kube.scene import Json
from tests.kube.watched import Scene


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as made:
        yield made


@pytest.fixture
async def client(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with await server.client(tmp_path) as made:
        yield made


@pytest.fixture
async def begin(server: ScriptedServer, client: Client) -> AsyncIterator[Callable[..., Any]]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(spec: FleetSpec, *items: Json, **more: Any) -> Scene:
            scene = Scene(server, client, spec, **more)
            scene.held.put(*items)
            running = asyncio.create_task(scene.cluster.run())

            async def stop() -> None:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running

            stack.push_async_callback(stop)
            await scene.until_listed()
            return scene

        yield start


@pytest.fixture
def clock() -> Clock:
    return Clock()
