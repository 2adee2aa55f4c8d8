"""Certificates and tokens that change under a daemon that runs."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from autoscaler.errors import SettingsError
from autoscaler.kube.api import access as access_module
from autoscaler.kube.api.access import load_access
from autoscaler.kube.api.client import ApiError, connect
from autoscaler.kube.api.resources import NODES
from tests.kube.api_server import ScriptedServer, answer, kubeconfig
from tests.require import require

LIST = {"metadata": {"resourceVersion": "9"}, "items": []}


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that is its own authority, and its key."""
    openssl = shutil.which("openssl")
    require("openssl", openssl, "openssl is not installed")
    made, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        [
            str(openssl), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", str(key), "-out", str(made), "-days", "2", "-subj", f"/CN={name}",
            "-addext", "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return made, key


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    kubeconfig: Path


@contextlib.asynccontextmanager
async def serve(folder: Path, page: Handler, *, pair: tuple[Path, Path]) -> AsyncIterator[Served]:
    """An API server behind TLS, which answers a list of nodes with `page`."""
    application = web.Application()
    application.router.add_get("/api/v1/nodes", page)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    path = kubeconfig(folder / "kubeconfig", url)
    trusted = folder / "ca.crt"
    path.write_text(
        path.read_text().replace("server:", f"certificate-authority: {trusted}\n    server:")
    )
    try:
        yield Served(url=url, kubeconfig=path)
    finally:
        await runner.cleanup()


@pytest.mark.slow
async def test_sockets_that_a_cut_watch_left_in_their_farewell_are_closed_with_the_client(
    tmp_path: Path,
):
    """A loop that ends with them open says so on stderr, in the words of an interpreter."""
    made, key = certificate(tmp_path, "one")
    shutil.copy(made, tmp_path / "ca.crt")
    seen = asyncio.Event()

    async def page(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await seen.wait()
        return response

    async with serve(tmp_path, page, pair=(made, key)) as served:
        async with await connect(str(served.kubeconfig)) as client:
            session = client._api.rest_client.pool_manager
            response = await session.request(method="GET", url=f"{served.url}/api/v1/nodes")
            assert await response.content.read(1) == b"{"
            socket = response.connection.transport.get_extra_info("socket")
            response.close()
            assert socket.fileno() >= 0, "TLS says farewell first"
        assert socket.fileno() == -1
        seen.set()


async def test_a_rotated_authority_is_read_again_when_a_certificate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(access_module, "RENEW_PAUSE_S", 0.0)
    old, _ = certificate(tmp_path, "old")
    new, key = certificate(tmp_path, "new")
    trusted = tmp_path / "ca.crt"
    shutil.copy(old, trusted)

    async def page(_: web.Request) -> web.Response:
        return web.json_response(LIST)

    async with (
        serve(tmp_path, page, pair=(new, key)) as served,
        await connect(str(served.kubeconfig)) as client,
    ):
        with pytest.raises(ApiError, match="certificate"):
            await client.call("list", NODES)
        trusted.write_text("half a file")
        with pytest.raises(ApiError, match="cannot be read anew"):
            await client.call("list", NODES)
        trusted.unlink()
        with pytest.raises(ApiError, match=r"ca\.crt"):
            await client.call("list", NODES)
        shutil.copy(new, trusted)
        assert await client.call("list", NODES) == LIST


@pytest.mark.parametrize("text", ["a\nX-Evil: b", "a\r\nb", "t\u00f6ken", "a\x00b"])
async def test_a_token_that_no_header_may_hold_is_told_at_the_start(tmp_path: Path, text: str):
    path = kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", user={"token": text})
    with pytest.raises(SettingsError, match="holds what no header may"):
        await load_access(str(path))


async def test_a_token_file_that_goes_bad_leaves_the_old_token(
    server: ScriptedServer, tmp_path: Path
):
    file = tmp_path / "token"
    file.write_text("good")
    path = kubeconfig(tmp_path / "kubeconfig", server.url, user={"tokenFile": str(file)})
    server.always["call"] = answer({"kind": "Status"})
    async with await connect(str(path)) as client:
        for raw in (b"two\nlines", b"\xff\xfe\x00", b"caf\xc3\xa9"):
            file.write_bytes(raw)
            client._access._renewed_at = float("-inf")
            await client.call("create", NODES)
            assert server.requests[-1].authorization == "Bearer good"
            assert client._access.problem
        file.write_text("better\n")
        client._access._renewed_at = float("-inf")
        await client.call("create", NODES)
        assert server.requests[-1].authorization == "Bearer better"
