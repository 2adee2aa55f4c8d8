"""The real daemon as a process of its own, and the replay of what it recorded."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from autoscaler.errors import AutoscalerError
from simulations.box.local_cluster.containers import die_with_parent

_STOP_S = 30.0
_LOG_LINES = 15


class DaemonFailed(AutoscalerError):  # noqa: N818  what happened, not a kind of mistake
    """The daemon ended, or never became ready; the text has the end of its log."""


class DemoDaemon:
    """`autoscaler run` against a cluster; an asynchronous context manager."""

    def __init__(
        self,
        *,
        resource: Mapping[str, Any],
        kubeconfig: Path,
        folder: Path,
        recording: Path,
        tick_s: float,
    ) -> None:
        self.log = folder / "daemon.log"
        self._config = folder / "config.yaml"
        self._resource = resource
        self._kubeconfig = kubeconfig
        self._recording = recording
        self._tick_s = tick_s
        self._port = _free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """Of /metrics, /readyz and /debug/models."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._config.write_text(yaml.safe_dump(dict(self._resource)), encoding="utf-8")
        self._process = await _start(
            "run",
            f"--config={self._config}",
            f"--record={self._recording}",
            f"--kubeconfig={self._kubeconfig}",
            f"--tick-seconds={self._tick_s:g}",
            f"--listen=127.0.0.1:{self._port}",
            "--dcgm-selector=",  # no GPUs here, so no exporter
            log=self.log,
        )
        self._http = aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(total=5.0))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()
        await self.stop()

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL where that does not end it; its exit code."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                pass
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return process.returncode if process.returncode is not None else -1

    async def ready(self, *, timeout_s: float) -> None:
        """Until /readyz says so; raises `DaemonFailed`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._is_ready():  # noqa: ASYNC110  another process: it must be asked
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            raise DaemonFailed(
                f"the daemon was not ready after {timeout_s:g} s; the end of {self.log}:\n"
                f"{_end_of(self.log)}"
            ) from error

    async def decisions(self) -> list[dict[str, Any]]:
        """The last decision of each model; empty while it cannot be asked."""
        self.check()
        body = await self._get("/debug/models")
        return [] if body is None else _decisions(body)

    def check(self) -> None:
        """Raise `DaemonFailed` if it has ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            raise DaemonFailed(
                f"the daemon ended with exit code {self._process.returncode}; "
                f"the end of {self.log}:\n{_end_of(self.log)}"
            )

    async def _is_ready(self) -> bool:
        self.check()
        if self._http is None:
            return False
        try:
            async with self._http.get("/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _get(self, path: str) -> Any:
        if self._http is None:
            return None
        try:
            async with self._http.get(path) as answer:
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None


def _decisions(body: Any) -> list[dict[str, Any]]:
    models = body["models"] if isinstance(body, dict) and "models" in body else body
    return [dict(each) for each in (models.values() if isinstance(models, dict) else models)]


def segments(recording: Path) -> set[Path]:
    """The files that a recording consists of."""
    return set(recording.glob("*.jsonl.gz")) if recording.is_dir() else set()


async def replay(files: set[Path], *, log: Path) -> str:
    """Decide the events of recorded files again; what is wrong, empty where nothing is."""
    if not files:
        return "the daemon recorded nothing"
    for file in sorted(files):
        process = await _start("replay", str(file), log=log)
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            return _end_of(log)
    return ""


async def _start(*arguments: str, log: Path) -> asyncio.subprocess.Process:
    """Run our own command in a session of its own: Ctrl-C is for the demo, which then stops it."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "autoscaler.cli",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


def _end_of(log: Path) -> str:
    """The last lines of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LOG_LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
