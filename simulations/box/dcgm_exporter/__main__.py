"""`python -m simulations.box.dcgm_exporter`: one node's exporter, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import ssl
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from aiohttp import web

from simulations.box.dcgm_exporter.exporter import Exporter

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="dcgm-exporter", description=__doc__)
    parser.add_argument("--node", default=os.environ.get("NODE_NAME"), help="default: NODE_NAME")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104  as the real one
    parser.add_argument("--port", type=int, default=9400)
    parser.add_argument("--api-server", help="its URL; default: that of the pod's service account")
    parser.add_argument("--period", type=float, default=1.0, metavar="SECONDS")
    given = parser.parse_args(argv)
    if not given.node:
        parser.error("--node or NODE_NAME must name the node")
    asyncio.run(_serve(given))


async def _serve(given: argparse.Namespace) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with _api(given.api_server) as api:
        exporter = Exporter(node=given.node, api=api, period_s=given.period)
        following = asyncio.create_task(exporter.run())
        runner = web.AppRunner(exporter.build(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, given.host, given.port, shutdown_timeout=0.0).start()
        print(f"GPUs of {given.node} on {given.host}:{given.port}", flush=True)
        await told.wait()
        following.cancel()
        await runner.cleanup()


def _api(address: str | None) -> aiohttp.ClientSession:
    """The API server: the one named, else the cluster's own, with the pod's service account."""
    timeout = aiohttp.ClientTimeout(total=10.0)
    if address is not None:
        return aiohttp.ClientSession(address, timeout=timeout)
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    return aiohttp.ClientSession(
        f"https://{host}:{port}",
        timeout=timeout,
        headers={"Authorization": f"Bearer {(_ACCOUNT / 'token').read_text().strip()}"},
        connector=aiohttp.TCPConnector(
            ssl=ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
        ),
    )


if __name__ == "__main__":
    main()
