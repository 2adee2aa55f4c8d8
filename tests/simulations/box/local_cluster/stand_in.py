"""A tiny stand-in for a serving process: healthy after a while, ends as it is told.

`stand_in.py --host H --port P [--cold-start S] [--linger S] [--ignore-term] [--exit-after S]`.
GET /health answers 200, GET /slow takes two seconds, everything else echoes its address.
"""

from __future__ import annotations

import argparse
import http.server
import signal
import socketserver
import sys
import threading
import time
from types import FrameType


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--cold-start", type=float, default=0.0)
    parser.add_argument("--linger", type=float, default=0.0)
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--exit-after", type=float)
    parser.add_argument("--exit-code", type=int, default=0)
    options = parser.parse_args()
    ending = threading.Event()

    def on_term(_signal: int, _frame: FrameType | None) -> None:
        print("SIGTERM", flush=True)
        if not options.ignore_term:
            ending.set()

    signal.signal(signal.SIGTERM, on_term)

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/slow":
                time.sleep(2.0)
            body = options.host.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    time.sleep(options.cold_start)
    server = Server((options.host, options.port), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("listening", flush=True)
    ending.wait(options.exit_after)
    if ending.is_set():
        time.sleep(options.linger)
    sys.exit(options.exit_code)


if __name__ == "__main__":
    main()
