"""A real Prometheus beside the control plane, scraping the daemon and the engines."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.e2e.kubectl import answers, wait_until


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Prometheus:
    """One server; `start` and `kill` may be called in turns."""

    folder: Path
    port: int = field(default_factory=_free_port)
    _process: subprocess.Popen[bytes] | None = None

    async def start(
        self, targets: dict[str, list[str]], pods: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Scrape `targets` (job -> host:port), and the engines of `pods`, every five seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        jobs = [
            {"job_name": job, "static_configs": [{"targets": hosts}]}
            for job, hosts in targets.items()
        ]
        if pods:
            # the labels that a PodMonitor or the usual pod discovery would set
            groups = [
                {
                    "targets": [f"{pod['status']['podIP']}:8000"],
                    "labels": {
                        "namespace": pod["metadata"]["namespace"],
                        "pod": pod["metadata"]["name"],
                    },
                }
                for pod in pods
            ]
            jobs = [{"job_name": "vllm", "static_configs": groups}]
        config = {"global": {"scrape_interval": "5s"}, "scrape_configs": jobs}
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        binary = shutil.which("prometheus")
        assert binary, "no prometheus; tests/e2e/run checks for it"
        with (self.folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    binary,
                    f"--config.file={self.folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.folder / 'data'}",
                    f"--web.listen-address=0.0.0.0:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )
        ready = partial(answers, f"http://127.0.0.1:{self.port}/-/ready")
        await wait_until("Prometheus is ready", ready, timeout_s=30)

    async def start_for_pods(self, pods: list[dict[str, Any]]) -> None:
        """Scrape these pods' engines, each with its `namespace` and `pod` label."""
        await self.start({"vllm": []}, pods=pods)

    def kill(self) -> None:
        """As a machine dies: no shutdown."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's vector."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://127.0.0.1:{self.port}/api/v1/query",
                data={"query": expression, "time": f"{time.time():.3f}"},
            ) as answer,
        ):
            body = json.loads(await answer.text())
        assert body["status"] == "success", body
        return list(body["data"]["result"])
