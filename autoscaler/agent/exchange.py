"""One HTTP request and its answer, bounded in time and size: a metadata service may answer anything.

No redirect is followed, no proxy is asked, and each exchange has a connection of its own.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

HEAD_BYTES_MAX = 16 * 1024
"""Of status line and headers."""


class ExchangeError(Exception):
    """No whole answer came: refused, too slow, too large, cut off, or no HTTP."""


class Address(NamedTuple):
    """Where a server is."""

    host: str
    port: int

    def __str__(self) -> str:
        """As in an URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class HttpAnswer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode(errors="replace").strip()

    def document(self) -> Any:
        """The body as JSON. Raises ExchangeError for what is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ExchangeError(f"no JSON in {self.text[:80]!r}") from error


def exchange(
    address: Address,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    timeout_s: float,
    bytes_max: int,
    tls: ssl.SSLContext | None = None,
) -> HttpAnswer:
    """Send a request and read the whole answer. Raises ExchangeError.

    Args:
        address: Whom to ask.
        method: As `GET`.
        path: With its query.
        headers: To send.
        body: To send.
        timeout_s: For all of it together, however slowly it drips.
        bytes_max: A longer body is refused.
        tls: With what to encrypt; None: plain.
    """
    connection = _Connection(address, timeout_s=timeout_s, bytes_max=bytes_max, tls=tls)
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        content = response.read(bytes_max + 1)
        if len(content) > bytes_max:
            raise ExchangeError(f"more than {bytes_max} bytes")
        if response.length:  # reading so many bytes does not complain of an end that comes early
            raise ExchangeError(f"cut off, {response.length} bytes early")
        return HttpAnswer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=content,
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ExchangeError(f"{type(error).__name__}: {error}"[:200]) from error
    finally:
        connection.hang_up()


class _Connection(http.client.HTTPConnection):
    """A connection whose whole exchange has one deadline: the library's own is one for each read."""

    def __init__(
        self, address: Address, *, timeout_s: float, bytes_max: int, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(address.host, address.port, timeout=timeout_s)
        self._ends_at = time.monotonic() + timeout_s
        self._bytes_max = bytes_max + HEAD_BYTES_MAX
        self._tls = tls
        self._plain: socket.socket | None = None

    def connect(self) -> None:
        self._plain = socket.create_connection((self.host, self.port), self.timeout)
        if self._tls is not None:
            self._plain.settimeout(_remaining(self._ends_at))
            self._plain = self._tls.wrap_socket(self._plain, server_hostname=self.host)
        self.sock: Any = _Wire(self._plain, ends_at=self._ends_at, bytes_max=self._bytes_max)

    def hang_up(self) -> None:
        """Close it, whatever is open."""
        self.close()
        if self._plain is not None:
            self._plain.close()


class _Wire:
    """What `http.client` uses of a socket; it stays open until the connection hangs up."""

    def __init__(self, plain: socket.socket, *, ends_at: float, bytes_max: int) -> None:
        self._plain = plain
        self._ends_at = ends_at
        self._bytes_max = bytes_max

    def sendall(self, content: bytes) -> None:
        self._plain.settimeout(_remaining(self._ends_at))
        self._plain.sendall(content)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Stream(self._plain, self._ends_at, self._bytes_max))

    def close(self) -> None:
        """Nothing: the answer may still be read."""


class _Stream(io.RawIOBase):
    def __init__(self, plain: socket.socket, ends_at: float, bytes_max: int) -> None:
        self._plain = plain
        self._ends_at = ends_at
        self._bytes_left = bytes_max

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._bytes_left <= 0:
            raise OSError("the answer is too large")
        self._plain.settimeout(_remaining(self._ends_at))
        count = self._plain.recv_into(buffer)
        self._bytes_left -= count
        return count


def _remaining(ends_at: float) -> float:
    remaining = ends_at - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("no whole answer in time")
    return remaining
