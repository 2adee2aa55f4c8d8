"""A process that serves pages for pods: one port, every loopback address, a captured page whose counters move.

    python -m tests.benchmarks.page_server --page vllm-0.32.0-loaded

Prints its port and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from typing import Any, cast

from tests.sources.bodies import page

MOVING = re.compile(
    rb"^(vllm:(?:prompt_tokens|generation_tokens|request_success)_total\{[^}\n]*\}) [0-9.e+]+$",
    re.MULTILINE,
)
"""Counters without which an engine that holds requests would stand still."""
PER_S = 100.0


class Page:
    """A page in pieces, between which stands what all moving counters are now."""

    def __init__(self, body: bytes) -> None:
        self._pieces = MOVING.sub(lambda found: found[1] + b" \0", body).split(b"\0")

    def answer(self, *, at: float) -> bytes:
        """Head and body, as of so many seconds after the counters began."""
        count = b"%.1f" % (PER_S * at)
        body = count.join(self._pieces)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n"
        return head % len(body) + body


class Answering(asyncio.Protocol):
    """One connection, which is kept: an answer for each request's end."""

    def __init__(self, served: Page) -> None:
        self._page = served
        self._transport: asyncio.Transport | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        *ends, self._tail = (self._tail + data).split(b"\r\n\r\n")
        assert self._transport is not None
        for _ in ends:
            self._transport.write(self._page.answer(at=time.monotonic()))


async def serve(body: bytes, *, port: int = 0) -> None:
    """Serve until standard input ends."""
    served, loop = Page(body), asyncio.get_running_loop()
    server: Any = await loop.create_server(
        lambda: Answering(served), "0.0.0.0", port, backlog=4096, reuse_port=True
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", default="vllm-0.32.0-loaded")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(serve(page(options.page), port=options.port))


if __name__ == "__main__":
    main()
