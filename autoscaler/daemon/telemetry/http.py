"""What the daemon shows of itself: /metrics, /healthz, /readyz and /debug/models. Read only."""

from __future__ import annotations

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from autoscaler.daemon.telemetry.status import Status
from autoscaler.errors import SettingsError


def parse_listen(listen: str) -> tuple[str, int]:
    """Read `HOST:PORT`; an empty host is all addresses, and IPv6 is written in brackets."""
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65_535:
        raise SettingsError(
            f'--listen {listen}: write HOST:PORT, such as "0.0.0.0:8080" or ":8080"'
        )
    return host.strip("[]"), int(port)


class HttpServer:
    """The HTTP server. `close` ends it."""

    def __init__(
        self, status: Status, registry: CollectorRegistry, *, host: str, port: int
    ) -> None:
        """Prepare; port 0 takes any that is free."""
        self._status = status
        self._registry = registry
        self._host = host
        self._port = port
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/debug/models", self._models)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,  # a scrape that hangs must not hold up a shutdown
        )

    async def start(self) -> str:
        """Listen; returns the address, for people.

        Raises:
            SettingsError: The address cannot be had.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host or None, self._port, reuse_address=True)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            raise SettingsError(
                f"listening on {self._host or '*'}:{self._port}: {getattr(error, 'strerror', None) or error}; "
                "give another --listen, or end what has it"
            ) from error
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _healthz(self, _: web.Request) -> web.Response:
        return _health_response(tuple(filter(None, [self._status.unhealthy()])))

    async def _readyz(self, _: web.Request) -> web.Response:
        return _health_response(self._status.unready())

    async def _models(self, _: web.Request) -> web.Response:
        body = msgspec.json.format(msgspec.json.encode(self._status.page()), indent=2)
        return web.Response(body=body, content_type="application/json")


def _health_response(reasons: tuple[str, ...]) -> web.Response:
    if reasons:
        return web.Response(status=503, text="\n".join(reasons) + "\n")
    return web.Response(text="ok\n")
