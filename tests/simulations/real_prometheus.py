"""A real Prometheus on loopback for a test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from tests.require import require


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def prometheus(folder: Path, *, config: str = "global: {}\n", arguments=()) -> Iterator[str]:
    """Its address, for as long as the context lasts; its data is in `folder`/data."""
    require("prometheus", shutil.which("prometheus") and shutil.which("promtool"), "not installed")
    (folder / "prometheus.yml").write_text(config)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
            *arguments,
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{url}/-/ready", timeout=2).status_code in (200, 401):
                    break
            assert time.monotonic() < deadline, "Prometheus did not come up"
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def fill(folder: Path, openmetrics: str) -> None:
    """Put a history into `folder`/data, as promtool does it."""
    require("prometheus", shutil.which("promtool"), "not installed")
    (folder / "history.txt").write_text(openmetrics)
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run(
        [*command, folder / "history.txt", folder / "data"], check=True, capture_output=True
    )
