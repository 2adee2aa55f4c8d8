"""An API server with one Node, over TLS, which takes patches or misbehaves as it is told."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from autoscaler.agent.exchange import Address
from autoscaler.agent.notice import NOTICE_ANNOTATION
from tests.agent.metadata_server import Fault

TOKEN = "token-1"


def make_account(folder: Path) -> Path:
    """A service account's folder, its certificate valid for 127.0.0.1; beside it `server.pem`."""
    folder.mkdir(parents=True)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=kubernetes"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "server.key"), "-out", str(folder / "ca.crt")),
        ],
        check=True,
        capture_output=True,
    )
    pair = (folder / "server.key").read_text() + (folder / "ca.crt").read_text()
    (folder / "server.pem").write_text(pair)
    (folder / "token").write_text(TOKEN + "\n")
    return folder


class NodeServer(ThreadingHTTPServer):
    """Keeps one Node."""

    daemon_threads = True

    def __init__(self, account: Path, *, name: str = "spot-1") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(account / "server.pem")
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        self.name = name
        self.token = TOKEN
        self.annotations: dict[str, str] = {}
        self.provider_id = ""
        self.patches: list[Any] = []
        """Bodies, in order."""
        self.accepts: list[str] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.patched = threading.Condition()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.server_address[1])

    @property
    def mark(self) -> str | None:
        return self.annotations.get(NOTICE_ANNOTATION)

    def wait_for(self, holds: Any, timeout_s: float = 20.0) -> bool:
        with self.patched:
            return bool(self.patched.wait_for(holds, timeout_s))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up is no error of ours."""


@contextmanager
def serving_node(account: Path) -> Iterator[NodeServer]:
    with NodeServer(account) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: NodeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def send(self, code: int, body: bytes = b"", *, content: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code: int, message: str) -> None:
        body = {"kind": "Status", "code": code, "message": message}
        self.send(code, json.dumps(body).encode())

    def do_PATCH(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if server.faults:
            return server.faults.popleft()(self)
        if server.always is not None:
            return server.always(self)
        if self.headers.get("Authorization") != f"Bearer {server.token}":
            return self.refuse(401, "Unauthorized")
        if self.path.partition("?")[0] != f"/api/v1/nodes/{server.name}":
            return self.refuse(404, f'nodes "{self.path}" not found')
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        with server.patched:
            server.patches.append(body)
            server.accepts.append(self.headers["Accept"])
            for key, value in body.get("metadata", {}).get("annotations", {}).items():
                if value is None:
                    server.annotations.pop(key, None)
                else:
                    server.annotations[key] = value
            server.patched.notify_all()
        node = {
            "metadata": {"name": server.name, "annotations": server.annotations},
            "spec": {"providerID": server.provider_id},
        }
        return self.send(200, json.dumps(node).encode())
