"""A metadata service and an API server on loopback, and what leads to them, at a fixed time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoscaler.agent.dialects.contract import MetadataService, Terms
from autoscaler.agent.notice import Told
from autoscaler.agent.own_node import OwnNode
from tests.agent.api_server import NodeServer, make_account, serving_node
from tests.agent.metadata_server import MetadataServer, serving

NOW = 1_800_000_000.0


@pytest.fixture
def server() -> Iterator[MetadataServer]:
    with serving() as made:
        yield made


@pytest.fixture
def terms(server: MetadataServer) -> Terms:
    return Terms(address=server.metadata, now=lambda: NOW)


Reads = Callable[[MetadataService], dict[str, Told | None]]


@pytest.fixture
def read() -> Reads:
    """What each feed says, by name."""

    def ask_all(service: MetadataService) -> dict[str, Told | None]:
        return {feed.name: feed.read() for feed in service.feeds}

    return ask_all


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_account(tmp_path_factory.mktemp("keys") / "account")


@pytest.fixture
def account(keys: Path, tmp_path: Path) -> Path:
    """A mounted service account, one's own to damage."""
    return Path(shutil.copytree(keys, tmp_path / "account"))


@pytest.fixture
def api(account: Path) -> Iterator[NodeServer]:
    with serving_node(account) as made:
        yield made


@pytest.fixture
def node(api: NodeServer, account: Path) -> OwnNode:
    return OwnNode(api.name, server=api.address, account=account)
