"""Fetching the daemon's recording out of its pod."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from tests.e2e.daemon import NAMESPACE, Daemon
from tests.e2e.kubectl import wait_until

RECORDINGS = "/var/lib/inference-autoscaler"


async def fetch_recording(daemon: Daemon, folder: Path) -> Path:
    """Copy the recording of the running daemon's pod; the open segment as far as it was flushed."""
    pod = await wait_until("the daemon runs", daemon.pod, timeout_s=60)
    name = pod["metadata"]["name"]
    archive = subprocess.run(
        [
            "kubectl",
            "exec",
            "-n",
            NAMESPACE,
            name,
            "--",
            "tar",
            "-C",
            RECORDINGS,
            "-cf",
            "-",
            ".",
        ],
        capture_output=True,
        check=True,
        timeout=120,
    ).stdout
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder
