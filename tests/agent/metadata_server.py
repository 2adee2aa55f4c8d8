"""The metadata services of three clouds on loopback, and what may go wrong with them."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from autoscaler.agent.exchange import Address

AWS = "/latest/meta-data/"
GCE = "/computeMetadata/v1/instance/"
TOKEN_PATH = "/latest/api/token"
EVENTS_PATH = "/metadata/scheduledevents"
NAME_PATH = "/metadata/instance/compute/name"

Fault = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, body: bytes = b"sorry") -> Fault:
    def answer(handler: Any) -> None:
        handler.send(code, body, content="text/html")

    return answer


def raw(content: bytes) -> Fault:
    """These bytes, and the connection closes."""

    def answer(handler: Any) -> None:
        handler.wfile.write(content)
        handler.close_connection = True

    return answer


def silence(released: threading.Event) -> Fault:
    """Nothing, until it is let go."""

    def answer(handler: Any) -> None:
        released.wait(20)
        handler.close_connection = True

    return answer


def drip(content: bytes, released: threading.Event, every_s: float = 0.02) -> Fault:
    """One byte at a time, so that no single read is slow."""

    def answer(handler: Any) -> None:
        for byte in content:
            if released.wait(every_s):
                break
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
        handler.close_connection = True

    return answer


class MetadataServer(ThreadingHTTPServer):
    """Speaks for one machine, in one dialect: that of `cloud`, or all of them."""

    daemon_threads = True

    def __init__(self, cloud: str = "", *, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(address, _Handler)
        self.cloud = cloud
        self.requests: list[tuple[str, str]] = []
        """Method and path."""
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        """By path without its query: each answers one request."""
        self.always: dict[str, Fault] = {}
        """By path: answers every request."""
        self.released = threading.Event()
        # AWS
        self.documents: dict[str, bytes] = {}
        """By path behind `/latest/meta-data/`; what is not there is a 404."""
        self.tokens: dict[str, float] = {}
        """Until when each is valid, on the monotonic clock."""
        self.ttl_s: int | None = None
        """What the service grants; None: what is asked."""
        # GCE
        self.words = {"preempted": "FALSE", "maintenance-event": "NONE"}
        self.etags = {"preempted": 1, "maintenance-event": 1}
        self._turned = threading.Condition()
        self.waits = 0
        """Questions that hang."""
        # Azure
        self.name = "gpu-vmss_7"
        self.events: list[Any] = []
        self.started: list[str] = []
        """Ids that were acknowledged."""

    @property
    def metadata(self) -> Address:
        return Address("127.0.0.1", self.server_address[1])

    def turn(self, key: str, word: str) -> None:
        """GCE: a value changes; whoever waits for it is answered."""
        with self._turned:
            self.words[key] = word
            self.etags[key] += 1
            self._turned.notify_all()

    def wait_for_change(self, key: str, etag: str, timeout_s: float) -> None:
        with self._turned:
            self.waits += 1
            self._turned.wait_for(
                lambda: str(self.etags[key]) != etag or self.released.is_set(), timeout_s
            )
            self.waits -= 1

    def expire_tokens(self) -> None:
        self.tokens.clear()

    def asked(self, path: str) -> int:
        return sum(1 for _, each in self.requests if each.partition("?")[0] == path)

    def let_go(self) -> None:
        self.released.set()
        with self._turned:
            self._turned.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up on a slow answer is no error of ours."""


@contextmanager
def serving(cloud: str = "") -> Iterator[MetadataServer]:
    with MetadataServer(cloud) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.let_go()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: MetadataServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def send(
        self, code: int, body: bytes = b"", *, content: str = "text/plain", **more: str
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _serve(self) -> None:
        server, parts = self.server, urlsplit(self.path)
        server.requests.append((self.command, self.path))
        if server.faults[parts.path]:
            return server.faults[parts.path].popleft()(self)
        if parts.path in server.always:
            return server.always[parts.path](self)
        if parts.path.startswith("/latest/") and server.cloud in {"", "aws"}:
            return self._aws(parts.path)
        if parts.path.startswith("/computeMetadata/") and server.cloud in {"", "gce"}:
            return self._gce(parts.path, parse_qs(parts.query))
        if parts.path.startswith("/metadata/") and server.cloud in {"", "azure"}:
            return self._azure(parts.path, parse_qs(parts.query))
        return self.send(404)

    do_GET = do_PUT = do_POST = _serve  # noqa: N815  the library calls them so

    def _aws(self, path: str) -> None:
        server = self.server
        if path == TOKEN_PATH:
            asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if self.command != "PUT" or not asked.isdigit() or not 1 <= int(asked) <= 21_600:
                return self.send(400)
            ttl_s = int(asked) if server.ttl_s is None else server.ttl_s
            token = f"token-{len(server.requests)}"
            server.tokens[token] = time.monotonic() + ttl_s
            return self.send(200, token.encode(), X_aws_ec2_metadata_token_ttl_seconds=str(ttl_s))
        token = self.headers.get("X-aws-ec2-metadata-token", "")
        if server.tokens.get(token, 0.0) <= time.monotonic():
            return self.send(401)
        document = server.documents.get(path.removeprefix(AWS))
        return self.send(404) if document is None else self.send(200, document)

    def _gce(self, path: str, query: dict[str, list[str]]) -> None:
        server, key = self.server, path.removeprefix(GCE)
        if self.headers.get("Metadata-Flavor") != "Google":
            return self.send(403)
        if not key:
            return self.send(200, b"preempted\n", Metadata_Flavor="Google")
        if key not in server.words:
            return self.send(404)
        if query.get("wait_for_change") == ["true"]:
            server.wait_for_change(key, query["last_etag"][0], float(query["timeout_sec"][0]))
        body = server.words[key].encode()
        return self.send(200, body, Metadata_Flavor="Google", ETag=str(server.etags[key]))

    def _azure(self, path: str, query: dict[str, list[str]]) -> None:
        server = self.server
        if self.headers.get("Metadata", "").lower() != "true" or "api-version" not in query:
            return self.send(400)
        if path == NAME_PATH:
            return self.send(200, server.name.encode())
        if path != EVENTS_PATH:
            return self.send(404)
        if self.command == "POST":
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.started += [each["EventId"] for each in body["StartRequests"]]
            return self.send(200)
        document = {"DocumentIncarnation": 1, "Events": server.events}
        return self.send(200, json.dumps(document).encode(), content="application/json")
