"""The real daemon as a process of its own, and the replay of what it recorded."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from autoscaler.errors import AutoscalerError
from simulations.box.demo.exporters import NAMESPACE as EXPORTERS
from simulations.box.local_cluster.machines.containers import die_with_parent

DCGM_PERIOD_S = 1.0
"""A start takes three seconds here."""
_STOP_S = 30.0
_LOG_LINES = 15


class DaemonFailed(AutoscalerError):  # noqa: N818  what happened, not a kind of mistake
    """The daemon ended, or never became ready; the text has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoDaemon:
    """A daemon that runs."""

    process: asyncio.subprocess.Process
    http: aiohttp.ClientSession
    """For /readyz."""
    debug: str
    """URL of /debug/models, which is at an address of its own."""
    log: Path

    @property
    def people_page(self) -> str:
        """Its page for a browser, at the address of /debug/models."""
        return self.debug.removesuffix("debug/models")

    async def ready(self, *, timeout_s: float) -> None:
        """Until /readyz says so; raises `DaemonFailed`."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self._get("/readyz") is None:  # noqa: ASYNC110  another process: it must be asked
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            raise DaemonFailed(
                f"the daemon was not ready after {timeout_s:g} s; the end of {self.log}:\n"
                f"{_end_of(self.log)}"
            ) from error

    async def page(self) -> dict[str, Any]:
        """Its decisions, and what it knows of GPUs; empty while it cannot be asked."""
        body = await self._get(self.debug)
        page: dict[str, Any] = {} if body is None else json.loads(body)
        return page

    def check(self) -> None:
        """Raise `DaemonFailed` if it has ended by itself."""
        if self.process.returncode is not None:
            raise DaemonFailed(
                f"the daemon ended with exit code {self.process.returncode}; "
                f"the end of {self.log}:\n{_end_of(self.log)}"
            )

    async def _get(self, path: str) -> bytes | None:
        """A page of a daemon that runs; None: it gave none."""
        self.check()
        try:
            async with self.http.get(path) as answer:
                return await answer.read() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None


@asynccontextmanager
async def running_daemon(
    *, config: Path, kubeconfig: Path, folder: Path, recording: Path, tick_s: float
) -> AsyncIterator[DemoDaemon]:
    """`autoscaler run` against a cluster, from its start to its end."""
    log, port, debug_port = folder / "daemon.log", _free_port(), _free_port()
    process = await _start(
        "run",
        f"--config={config}",
        f"--record={recording}",
        f"--kubeconfig={kubeconfig}",
        f"--tick-seconds={tick_s:g}",
        f"--listen=127.0.0.1:{port}",
        f"--debug-listen=127.0.0.1:{debug_port}",
        f"--dcgm-namespace={EXPORTERS}",
        f"--dcgm-period-seconds={DCGM_PERIOD_S:g}",
        log=log,
    )
    try:
        timeout = aiohttp.ClientTimeout(total=5.0)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as http:
            debug = f"http://127.0.0.1:{debug_port}/debug/models"
            yield DemoDaemon(process=process, http=http, log=log, debug=debug)
    finally:
        await _stop(process)


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
            await _stop(process)
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


async def _stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL where that does not end it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _end_of(log: Path) -> str:
    """The last lines of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LOG_LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
