"""Session parts: the image on every node, where logs go, and which lane plays a scene."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.kubectl import command_from, run

IMAGE = "inference-autoscaler"

# only `run`, or who has a cluster of their own, sets it: `pytest` alone leaves this folder out
collect_ignore_glob = [] if os.environ.get("E2E_LOAD_IMAGE") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every scene is slow, whatever it costs this process."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Play the scenes that no other lane has begun.

    A lane is a pytest with a cluster of its own; `run` starts several with the same arguments and one
    folder of claims. Each goes through all the scenes, so a lane that is done sooner plays more.
    """
    claims = os.environ.get("E2E_CLAIMS")
    if claims is None or session.testsfailed or session.config.option.collectonly:
        return None  # pytest's own loop
    for item in session.items:
        try:
            (Path(claims) / item.nodeid.replace("/", ".")).mkdir()
        except FileExistsError:
            continue
        # what comes next is not known before this one has ended, so nothing is kept for it
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    return True


@cache
def _load_image() -> str:
    run(*command_from("E2E_LOAD_IMAGE"), IMAGE, os.environ["E2E_ROOTFS"], timeout_s=600)
    return f"docker.io/library/{IMAGE}:1"


@pytest.fixture(scope="session")
def image() -> str:
    """The project's image, loaded on every node."""
    return _load_image()


@pytest.fixture(scope="session")
def logs() -> Path:
    """A folder for what pods and Prometheus said."""
    folder = Path(os.environ.get("E2E_LOGS", "e2e-logs"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
