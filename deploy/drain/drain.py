# noqa: INP001  a script, mounted by itself
"""preStop hook of a serving engine: let it finish what it has before it gets SIGTERM.

A pod that is being deleted loses its endpoints, but not at once: kube-proxies, gateways and
keep-alive connections hear of it a little later. And vLLM, on SIGTERM, aborts what is in flight
(`--shutdown-timeout 0`, the default) or answers new streams with nothing. So this hook first waits
until nothing new can arrive, then until the engine's page says that nothing is running or waiting,
several times in a row (a request counts there only after the step in which it was taken in). It
ends when that is so, or when its budget is over; then the kubelet sends SIGTERM. Its last line
says what it left, and on which port.

The grace period pays for everything:
terminationGracePeriodSeconds > --budget + --shutdown-timeout of vLLM + 10 (its teardown).
An eviction may shorten the grace period; then the kubelet ends this hook in the middle.

It reads vLLM, TGI, SGLang and Ray Serve, in the spellings with a colon and without, over http or
https, on one port or on the several of data-parallel ranks; `auto` finds ports and scheme in the
command lines of the container's processes. A page that refuses the connection belongs to an engine
that serves nobody (it is loading, or gone): that is idle. A page that answers anything else, or
nothing, or a count that is none, is unknown, and unknown is not idle.

Python's standard library only, version 3.8 or newer, which every vLLM image has. Settings are
arguments, or environment variables where an argument is not given. The exit code is 0, so that no
FailedPreStopHook event is raised, and 2 for settings that make no sense.
"""

from __future__ import annotations

import argparse
import http.client
import ipaddress
import math
import os
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

PREFIX = "INFERENCE_AUTOSCALER_DRAIN_"
"""Of environment variables. None of their names ends as those do that a Service puts into a pod
(_PORT, _SERVICE_HOST, _PORT_80_TCP, ...): hence PORTS."""
POLL_TIMEOUT_S = 5.0
"""Under full load a page took 0.2 s at worst; a slower one is no reason to give up."""
POLL_S_MIN = 0.25
"""A poll that has less time than this before the budget is over would only find that it had none."""
PAGE_BYTES_MAX = 8 * 1024 * 1024
RAY_SETTLES_S = 11.0
"""Ray's agent writes its page anew every 10 s: what it says may be so old."""
OVERTIME_S = 1.0
"""After the budget, for the last line; whatever hangs then (a log, a name server) is left behind."""
PORT = 8000
PROC = Path("/proc")


class UnknownError(Exception):
    """What is in flight cannot be told; its text says why."""


class Log:
    """Lines in the container's log: a hook's own output is thrown away by the kubelet."""

    def __init__(self, path: str) -> None:
        self._file: int | None = None
        # another user's process, or no such file: then standard output has to do
        with suppress(OSError):
            if path != "-":
                # append: where the log is a file, what stands there stays; a full pipe must not block
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)

    def write(self, text: str) -> None:
        """Write one line; a log that cannot be written to is given up for standard output."""
        line = f"drain: {text}\n"
        if self._file is not None:
            try:
                os.write(self._file, line.encode())
                return
            except OSError:
                self._file = None
        sys.stdout.write(line)
        sys.stdout.flush()


# -- settings


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the settings; exit with code 2 and a message when they make no sense."""
    parser = argparse.ArgumentParser(
        description="Wait until a serving engine has nothing in flight, within a budget.",
        epilog=f"Each option is also read from the environment: {PREFIX}ENDPOINT_DELAY for "
        "--endpoint-delay, and so on.",
    )
    words: list[str] = []

    def add(option: str, kind: Callable[[str], object], default: object, text: str) -> None:
        # argparse converts a default that is text
        default = _from_environment(option, default, words)
        names = [option, "--port"] if option == "--ports" else [option]
        parser.add_argument(*names, type=kind, default=default, help=f"{text} [%(default)s]")

    add("--host", str, "localhost", "of the server")
    add("--ports", _ports, "auto", "of the server: 8000, or 8000,8001, or 8000-8003, or auto")
    add("--path", str, "/metrics", "of its page")
    add("--engine", _one_of("auto", *READERS), "auto", "vllm, tgi, sglang, ray; auto: by the page")
    add("--scheme", _one_of("auto", "http", "https"), "auto", "http or https")
    add("--ca", str, "", "a PEM file of certificates to trust for https")
    add("--client-certificate", str, "", "a PEM file, with its key, for a server that asks for one")
    add("--insecure", _one_of("yes", "no"), "no", "yes: take any certificate, also from elsewhere")
    add("--endpoint-delay", float, 15.0, "seconds until nobody sends requests here any more")
    add("--budget", float, 60.0, "seconds that all of this may take, the delay included")
    add("--period", float, 1.0, "seconds between two polls")
    add("--polls", int, 3, "how many in a row must find nothing in flight")
    add("--log", str, "/proc/1/fd/1", "what the container's log is made of; - is standard output")
    options = parser.parse_args(arguments)
    options.words = words
    if not (options.endpoint_delay >= 0 and options.period > 0 and options.polls >= 1):
        parser.error("--endpoint-delay must be >= 0, --period > 0, --polls >= 1")
    if not options.endpoint_delay <= options.budget < math.inf:
        parser.error(
            f"--budget {options.budget:g} must be at least --endpoint-delay "
            f"{options.endpoint_delay:g}: when it is over, requests would still arrive"
        )
    try:
        options.tls = _tls(options)
    except (OSError, ValueError) as error:
        parser.error(f"--ca or --client-certificate cannot be used: {error}")
    return options


def _from_environment(option: str, default: object, words: list[str]) -> object:
    name = option.lstrip("-").replace("-", "_").upper()
    value = os.environ.get(PREFIX + name)
    if value is not None and value.startswith(("tcp://", "udp://", "sctp://")):
        words.append(f"{PREFIX}{name}={value} is a Service's, not ours: not used")
        value = None
    former = os.environ.get("DRAIN_" + name)
    if value is None and former is not None and "://" not in former:
        words.append(f"DRAIN_{name} is not read any more: call it {PREFIX}{name}")
    return default if value is None else value


def _ports(text: str) -> list[int]:
    """Read `8000,8010-8013`; an empty list is auto."""
    found: list[int] = []
    for part in [] if text == "auto" else text.split(","):
        first, _, last = part.strip().partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    if text != "auto" and not (found and len(found) <= 64 and all(0 < p < 65536 for p in found)):
        raise argparse.ArgumentTypeError(f"{text}: ports are between 1 and 65535, at most 64")
    return sorted(set(found))


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"{text}: one of {', '.join(known)}")
        return text

    return read


def _tls(options: argparse.Namespace) -> ssl.SSLContext:
    """Trust --ca, or the system's; nobody's certificate is asked for on this very machine."""
    context = ssl.create_default_context(cafile=options.ca or None)
    if options.client_certificate:
        context.load_cert_chain(options.client_certificate)
    local = is_local(options.host)
    # a pod's certificate carries the name of its Service
    context.check_hostname = not local and options.insecure == "no"
    if options.insecure == "yes" or (local and not options.ca):
        context.verify_mode = ssl.CERT_NONE
    return context


def is_local(host: str) -> bool:
    """Tell whether this names the machine itself."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


# -- which ports: what the processes of this container were told


def told(proc: Path = PROC) -> list[tuple[int, bool]]:
    """Return the ports in the command lines of all processes, and whether each speaks TLS."""
    found: dict[int, bool] = {}
    for file in proc.glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = file.read_bytes().decode("utf-8", "replace").split("\0")
            port = _told(words, "--port")
            if port is None or str(Path(__file__)) in words or "drain.py" in " ".join(words):
                continue
            tls = any(word.startswith(("--ssl-certfile", "--ssl-keyfile")) for word in words)
            # ranks that each have a server of their own count up from the first one's port
            ranks = _told(words, "--data-parallel-size") or _told(words, "-dp") or 1
            for each in range(port, min(port + max(1, min(ranks, 64)), 65536)):
                found[each] = found.get(each, False) or tls
    return sorted(found.items())


def _told(words: Sequence[str], option: str) -> int | None:
    for word, following in zip(words, [*words[1:], ""]):  # noqa: B905  Python 3.8
        name, equals, value = word.partition("=")
        text = value if equals else following
        if name.replace("_", "-") == option and text.isdigit():
            return int(text)
    return None


def listening(proc: Path = PROC) -> dict[int, list[str]] | None:
    """Return where this network namespace listens, addresses by port; None: it does not tell."""
    found: dict[int, list[str]] = {}
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            if name == "tcp":
                return None
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 3 and fields[3] == "0A":
                address, _, port = fields[1].partition(":")
                found.setdefault(int(port, 16), []).append(_address(address))
    return found


def _address(digits: str) -> str:
    """Read the kernel's hexadecimal address: 32-bit words, in this machine's order of bytes."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    raw = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return str(ipaddress.ip_address(raw))


# -- what a page says


class Counts:
    """What one page says is in flight."""

    def __init__(self, running: float, waiting: float, *, settles_s: float = 0.0) -> None:
        self.running, self.waiting = running, waiting
        self.settles_s = settles_s
        """Idle must have been said for so long."""


Rows = "dict[str, list[tuple[dict[str, str], float]]]"
_SAMPLE = re.compile(r"((?:ray_)?(?:vllm|sglang)[:_]|tgi_|ray_serve_)(\w+)\s*(?:\{(.*)\})?\s*(.*)")
_LABEL = re.compile(r'(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"')
_SGLANG_QUEUES = (
    "num_queue_reqs",
    "num_grammar_queue_reqs",
    "num_prefill_bootstrap_queue_reqs",
    "num_prefill_inflight_queue_reqs",
    "num_prefill_infight_queue_reqs",  # its spelling up to 0.5.1
    "num_decode_prealloc_queue_reqs",
    "num_decode_transfer_queue_reqs",
    "num_paused_reqs",
)
_WANTED = {
    "vllm": (
        "num_requests_running",
        "num_requests_waiting",
        "num_requests_waiting_by_reason",
        "num_requests_swapped",  # up to 0.9: preempted to the CPU, and in flight
        "engine_sleep_state",
    ),
    "sglang": ("num_running_reqs", *_SGLANG_QUEUES),
    "tgi": ("queue_size", "batch_current_size"),
    "ray_serve": ("deployment_queued_queries", "replica_processing_queries"),
}


def counts(page: str, engine: str = "auto") -> Counts:
    """Sum what is in flight over all engines and models of the page; raises UnknownError."""
    spellings: dict[str, Rows] = {}
    for line in page.splitlines():
        match = _SAMPLE.fullmatch(line.strip())
        if match is None:
            continue
        prefix, name, labels, rest = match.groups()
        rows = spellings.setdefault(prefix, {})
        family = prefix[:-1].replace("ray_vllm", "vllm").replace("ray_sglang", "sglang")
        if name in _WANTED[family]:
            row = dict(_LABEL.findall(labels or "")), _count(prefix + name, rest)
            rows.setdefault(name, []).append(row)
    if engine == "auto":
        prefixes = " ".join(spellings)
        marks = ("ray_serve", "ray_vllm", "vllm", "sglang", "tgi")
        engine = next((mark for mark in marks if mark in prefixes), "").partition("_")[0]
    if engine not in READERS:
        raise UnknownError("the page has no series of an engine that is known")
    return READERS[engine](spellings)


def _count(name: str, text: str) -> float:
    try:
        value = float(text.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise UnknownError(f"{name} is {text[:40] or 'nothing'}, which is no count")
    return value


def _total(rows: Rows, *names: str) -> float | None:
    """Sum the first of these series that is there."""
    for name in names:
        if name in rows:
            return sum(value for _, value in rows[name])
    return None


def _largest(found: Iterable[Counts | None]) -> Counts:
    """Take one of several spellings of the same."""
    known = [each for each in found if each is not None]
    if not known:
        raise UnknownError("the page does not tell what is in flight")
    return max(known, key=lambda each: each.running + each.waiting)


def _vllm(spellings: dict[str, Rows], *prefixes: str) -> Counts:
    def read(rows: Rows) -> Counts | None:
        for labels, value in rows.get("engine_sleep_state", ()):
            if labels.get("sleep_state") == "awake" and value == 0:
                raise UnknownError("the engine sleeps: its gauges read 0 whatever waits for it")
        running = _total(rows, "num_requests_running")
        waiting = _total(rows, "num_requests_waiting", "num_requests_waiting_by_reason")
        if running is None or waiting is None:
            return None
        return Counts(running, waiting + (_total(rows, "num_requests_swapped") or 0.0))

    return _largest(read(spellings.get(prefix, {})) for prefix in prefixes or ("vllm:", "vllm_"))


def _sglang(spellings: dict[str, Rows]) -> Counts:
    def once(rows: Rows, *names: str) -> float | None:
        """Ranks of one schedule repeat its numbers; a row a priority is part of the row without."""
        schedules: dict[tuple[str, ...], float] = {}
        for name in names:
            for labels, value in rows.get(name, ()):
                if not labels.get("priority"):
                    of = ("model_name", "engine_type", "dp_rank")
                    key = (name, *(labels.get(label, "") for label in of))
                    schedules[key] = max(value, schedules.get(key, 0.0))
        return sum(schedules.values()) if schedules else None

    def read(rows: Rows) -> Counts | None:
        running, waiting = once(rows, "num_running_reqs"), once(rows, "num_queue_reqs")
        if running is None or waiting is None:
            return None
        return Counts(running, once(rows, *_SGLANG_QUEUES) or 0.0)

    prefixes = ("sglang:", "sglang_", "ray_sglang:", "ray_sglang_")
    return _largest(read(spellings.get(prefix, {})) for prefix in prefixes)


def _tgi(spellings: dict[str, Rows]) -> Counts:
    """Its exporter shows a gauge only once it was set: absent, on a page of its, is 0."""
    if "tgi_" not in spellings:
        raise UnknownError("the page has no series of TGI")
    rows = spellings["tgi_"]
    return Counts(_total(rows, "batch_current_size") or 0.0, _total(rows, "queue_size") or 0.0)


def _ray(spellings: dict[str, Rows]) -> Counts:
    """What engines say, and what Serve's replicas without one say; a request counts in each it passes."""
    serve = spellings.get("ray_serve_", {})
    engines = [spellings.get(prefix, {}) for prefix in ("ray_vllm:", "ray_vllm_")]
    running = waiting = 0.0
    if any("num_requests_running" in rows for rows in engines):
        found = _vllm(spellings, "ray_vllm:", "ray_vllm_")
        running, waiting = found.running, found.waiting
    elif "replica_processing_queries" not in serve:
        raise UnknownError("the page does not tell what is in flight")
    within = {
        labels.get("ReplicaId") for rows in engines for labels, _ in rows.get(_VLLM_RUNNING, ())
    }
    for labels, value in serve.get("replica_processing_queries", ()):
        running += 0.0 if labels.get("replica") in within else value
    waiting += _total(serve, "deployment_queued_queries") or 0.0
    return Counts(running, waiting, settles_s=RAY_SETTLES_S)


_VLLM_RUNNING = "num_requests_running"
READERS = {"vllm": _vllm, "tgi": _tgi, "sglang": _sglang, "ray": _ray}


# -- asking


class Server:
    """One port of the engine, and what was last found there."""

    def __init__(self, options: argparse.Namespace, port: int, *, tls: bool) -> None:
        self.options, self.port, self.tls = options, port, tls
        self.host = str(options.host)
        self.idle, self.words, self.settles_s = False, "not asked yet", 0.0

    def moves(self) -> bool:
        """Where localhost refuses and the pod's own address listens: ask there from now on."""
        places = (listening() or {}).get(self.port, []) if is_local(self.host) else []
        places = [place for place in places if place not in ("0.0.0.0", "::", self.host)]  # noqa: S104
        moved = bool(places) and self.host == str(self.options.host)
        self.host = places[0] if moved else self.host
        return moved


class Question(threading.Thread):
    """One reading of one page, in a thread of its own: a page that drips is left alone in time."""

    def __init__(self, server: Server, timeout_s: float) -> None:
        super().__init__(daemon=True)
        self._server, self._timeout_s = server, timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._idle, self._words, self._settles_s = False, "unknown: no whole page in time", 0.0

    def run(self) -> None:
        """Read the page and remember what it says."""
        server = self._server
        try:
            found = counts(self._page(), server.options.engine)
        except ConnectionRefusedError:
            moved = server.moves()
            self._idle = not moved
            self._words = f"unknown: it listens at {server.host}" if moved else "nobody listens"
        except UnknownError as error:
            self._words = f"unknown: {error}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            other = "http" if server.tls else "https"
            reason = str(error) or type(error).__name__
            self._words = f"unknown: no answer ({reason}); for {other} say --scheme={other}"
        else:
            self._idle = found.running + found.waiting == 0
            self._words = f"{found.running:g} running, {found.waiting:g} waiting"
            self._settles_s = found.settles_s

    def finish(self, timeout_s: float) -> None:
        """Wait so long for the answer, and hand it to the server."""
        self.join(timeout_s)
        server = self._server
        if self.is_alive():
            server.idle, server.words = False, "unknown: no whole page in time"
            connection = self._connection
            if connection is not None and connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            return
        server.idle, server.words = self._idle, self._words
        server.settles_s = self._settles_s

    def _page(self) -> str:
        server, options = self._server, self._server.options
        # not urllib: it would ask a proxy that the environment names
        connection = self._connection = (
            http.client.HTTPSConnection(
                server.host, server.port, timeout=self._timeout_s, context=options.tls
            )
            if server.tls
            else http.client.HTTPConnection(server.host, server.port, timeout=self._timeout_s)
        )
        try:
            connection.request("GET", options.path, headers={"Connection": "close"})
            answer = connection.getresponse()
            raw = answer.read(PAGE_BYTES_MAX + 1)
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise UnknownError(f"{options.path} answers {answer.status}")
        if len(raw) > PAGE_BYTES_MAX or answer.length:
            raise UnknownError("the page is cut off")
        return raw.decode("utf-8", "replace")


def servers_of(options: argparse.Namespace) -> list[Server]:
    """Return what is to be asked: the ports that are given, or those of the processes here."""
    known = dict(told())
    ports = options.ports
    if not ports:
        open_ports = listening()
        ports = [port for port in known if open_ports is None or port in open_ports] or [PORT]
    scheme = options.scheme
    return [
        Server(
            options, port, tls=scheme == "https" or (scheme == "auto" and known.get(port, False))
        )
        for port in ports
    ]


def ask(servers: Sequence[Server], *, timeout_s: float) -> str:
    """Ask all of them at once, for no longer than this; return what was found, in words."""
    ends_at = time.monotonic() + timeout_s
    questions = [Question(server, timeout_s) for server in servers]
    for question in questions:
        question.start()
    for question in questions:
        question.finish(max(0.0, ends_at - time.monotonic()))
    return "; ".join(f"{server.words} on port {server.port}" for server in servers)


def drain(
    options: argparse.Namespace,
    log: Log,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait; return whether the engine was found idle within the budget."""
    began = now()
    over_at = began + options.budget
    servers = servers_of(options)
    for words in [*options.words, *security(servers)]:
        log.write(words)
    ports = ", ".join(str(server.port) for server in servers)
    log.write(
        f"waiting {options.endpoint_delay:g} s for the endpoint to be withdrawn, then for "
        f"{options.host}:{ports} to be idle; {options.budget:g} s in all at most"
    )
    sleep(options.endpoint_delay)
    in_a_row, idle_at, said = 0, began, ""
    while True:
        at = now()
        words = ask(servers, timeout_s=max(POLL_S_MIN, min(POLL_TIMEOUT_S, over_at - at)))
        if words != said:
            log.write(f"{words}, after {now() - began:.1f} s")
            said = words
        idle_at = idle_at if in_a_row else at
        in_a_row = in_a_row + 1 if all(server.idle for server in servers) else 0
        settled = now() - idle_at >= max(server.settles_s for server in servers)
        if in_a_row >= options.polls and settled:
            log.write(f"idle, {in_a_row} polls in a row: nothing left; took {now() - began:.1f} s")
            return True
        if now() + options.period + POLL_S_MIN > over_at:
            log.write(f"the budget of {options.budget:g} s is over; left: {words}")
            return False
        sleep(options.period)


def security(servers: Sequence[Server]) -> list[str]:
    """Say which certificates are not looked at."""
    tls = servers[0].options.tls
    if not any(server.tls for server in servers) or tls.check_hostname:
        return []
    if tls.verify_mode == ssl.CERT_NONE:
        return ["https without a look at the certificate"]
    return ["https with a certificate of --ca, whatever name it bears"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the hook."""
    options = parse(arguments)
    # whatever hangs (a name server, a full pipe): the pod's grace is not this hook's to spend
    watchdog = threading.Timer(options.budget + OVERTIME_S, os._exit, [0])
    watchdog.daemon = True
    watchdog.start()
    drain(options, Log(options.log))
    return 0


if __name__ == "__main__":
    sys.exit(main())
