"""Session parts: the image on every node, and where logs go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.kubectl import command_from, run

IMAGE = "inference-autoscaler"

# only `run`, or who has a cluster of their own, sets it: `pytest` alone leaves this folder out
collect_ignore_glob = [] if os.environ.get("E2E_LOAD_IMAGE") else ["test_*.py"]


@pytest.fixture(scope="session")
def image() -> str:
    """The project's image, loaded on every node."""
    run(*command_from("E2E_LOAD_IMAGE"), IMAGE, os.environ["E2E_ROOTFS"], timeout_s=600)
    return f"docker.io/library/{IMAGE}:1"


@pytest.fixture(scope="session")
def logs() -> Path:
    """A folder for what pods and Prometheus said."""
    folder = Path(os.environ.get("E2E_LOGS", "e2e-logs"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
