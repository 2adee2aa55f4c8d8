"""What the daemon shows of itself, read only: the probes and /metrics at one address, /debug at another.

Whoever scrapes may read the first. What was decided and why, with the addresses and prices it rests on, is
for who may log in where the daemon runs: at the loopback address, unless its operator says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from http import HTTPStatus

import msgspec
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, choose_encoder, generate_latest

from autoscaler.daemon.slices import in_slices
from autoscaler.daemon.telemetry.door import Door
from autoscaler.daemon.telemetry.loopback import is_loopback, refusal
from autoscaler.daemon.telemetry.metrics import Encode
from autoscaler.daemon.telemetry.status import Status
from autoscaler.errors import SettingsError
from autoscaler.foreign_text import shown

_ACCEPT_CHARACTERS_MAX = 1000
_PAGE_HEADERS = {
    # It has no script and asks nobody for anything, and shall not, whatever a name on it says.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def parse_listen(listen: str, option: str = "--listen") -> tuple[str, int]:
    """Read `HOST:PORT`; an empty host is all addresses, and IPv6 is written in brackets."""
    host, separator, port = listen.rpartition(":")
    if (
        not separator
        or not port.isascii()
        or not port.isdigit()
        or len(port) > 5
        or int(port) > 65_535
    ):
        raise SettingsError(
            f'{option} {shown(listen)}: write HOST:PORT, such as "0.0.0.0:8080" or ":8080"'
        )
    return host.strip("[]"), int(port)


class HttpServer(Door):
    """The probes and /metrics."""

    def __init__(
        self,
        status: Status,
        page: Callable[[Encode], Generator[None, None, bytes]],
        *,
        host: str,
        port: int,
    ) -> None:
        """Prepare; port 0 takes any that is free.

        Args:
            status: For the probes.
            page: Writes /metrics, step by step.
            host: As the door takes it.
            port: Likewise.
        """
        self._status = status
        self._page = page
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        super().__init__(application, host=host, port=port, option="--listen")

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")[:_ACCEPT_CHARACTERS_MAX]
        try:
            encode, content_type = choose_encoder(accept)
        except Exception:  # noqa: BLE001  a version that is none (`version=abc`): it gets the plain text
            encode, content_type = generate_latest, CONTENT_TYPE_LATEST
        # In slices: of five hundred models it takes a fifth of a second.
        body = await in_slices(self._page(encode))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, _: web.Request) -> web.Response:
        return _health_response(tuple(filter(None, [self._status.unhealthy()])))

    async def _readyz(self, _: web.Request) -> web.Response:
        return _health_response(self._status.unready(), but=self._status.standing_by())


class DebugServer(Door):
    """/debug/models: the last decisions; and / tells them to people."""

    def __init__(self, status: Status, *, host: str, port: int) -> None:
        """Prepare; port 0 takes any that is free."""
        self._status = status
        # Where its operator has it listen to others, these may ask by whatever name he gave it.
        self._for_this_machine = is_loopback(host)
        application = web.Application()
        application.router.add_get("/debug/models", self._models)
        application.router.add_get("/", self._people)
        super().__init__(application, host=host, port=port, option="--debug-listen")

    def _refused(self, request: web.Request) -> web.Response | None:
        refused = refusal(request.headers.getall("Host", [])) if self._for_this_machine else ""
        if not refused:
            return None
        return web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=f"{refused}\n")

    async def _people(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        text = await in_slices(self._status.people_page_in_steps(request.query.get("model", "")))
        return web.Response(text=text, content_type="text/html", headers=_PAGE_HEADERS)

    async def _models(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        page = await in_slices(self._status.page_in_steps())
        body = msgspec.json.format(msgspec.json.encode(page), indent=2)
        return web.Response(body=body, content_type="application/json")


def _health_response(reasons: tuple[str, ...], *, but: str = "") -> web.Response:
    """Say `ok`, and what is as it should be and still to be known; or every reason why not."""
    if reasons:
        return web.Response(status=503, text="\n".join(reasons) + "\n")
    return web.Response(text=f"ok: {but}\n" if but else "ok\n")
