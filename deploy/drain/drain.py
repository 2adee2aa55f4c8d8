# noqa: INP001  a script, mounted by itself
"""preStop hook of a vLLM container: let it finish what it has before it gets SIGTERM.

A pod that is being deleted loses its endpoints, but not at once: kube-proxies, gateways and
keep-alive connections hear of it a little later. And vLLM, on SIGTERM, aborts what is in flight
(`--shutdown-timeout 0`, the default) or answers new streams with nothing. So this hook first waits
until nothing new can arrive, then until the engine's page says that nothing is running or waiting,
several times in a row (a request counts there only after the step in which it was taken in). It
ends when that is so, or when its budget is over; then the kubelet sends SIGTERM.

The grace period pays for everything:
terminationGracePeriodSeconds > --budget + --shutdown-timeout of vLLM + 10 (its teardown).
An eviction may shorten the grace period; then the kubelet ends this hook in the middle.

A page that refuses the connection belongs to an engine that serves nobody (it is loading, or gone):
that is idle. A page that answers anything else, or nothing, is unknown, and unknown is not idle.

Python's standard library only, version 3.8 or newer, which every vLLM image has. Settings are
arguments, or environment variables where an argument is not given. The exit code is 0, so that no
FailedPreStopHook event is raised, and 2 for settings that make no sense.
"""

from __future__ import annotations

import argparse
import http.client
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
POLL_TIMEOUT_S = 5.0
"""Under full load a page took 0.2 s at worst; a slower one is no reason to give up."""
PAGE_BYTES_MAX = 8 * 1024 * 1024


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


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the settings; exit with code 2 and a message when they make no sense."""
    parser = argparse.ArgumentParser(
        description="Wait until a vLLM server has nothing in flight, within a budget.",
        epilog="Each option is also read from the environment: DRAIN_ENDPOINT_DELAY for "
        "--endpoint-delay, and so on.",
    )

    def add(option: str, kind: Callable[[str], object], default: object, text: str) -> None:
        variable = "DRAIN_" + option.lstrip("-").replace("-", "_").upper()
        default = os.environ.get(variable, default)  # argparse converts a default that is text
        parser.add_argument(option, type=kind, default=default, help=f"{text} [%(default)s]")

    add("--host", str, "localhost", "of the server")
    add("--port", int, 8000, "of the server")
    add("--path", str, "/metrics", "of its page")
    add("--endpoint-delay", float, 15.0, "seconds until nobody sends requests here any more")
    add("--budget", float, 60.0, "seconds that all of this may take, the delay included")
    add("--period", float, 1.0, "seconds between two polls")
    add("--polls", int, 3, "how many in a row must find nothing in flight")
    add("--log", str, "/proc/1/fd/1", "what the container's log is made of; - is standard output")
    options = parser.parse_args(arguments)
    if not 0 < options.port < 65536:
        parser.error(f"--port {options.port}: must be between 1 and 65535")
    if not (options.endpoint_delay >= 0 and options.period > 0 and options.polls >= 1):
        parser.error("--endpoint-delay must be >= 0, --period > 0, --polls >= 1")
    if not options.endpoint_delay <= options.budget < math.inf:
        parser.error(
            f"--budget {options.budget:g} must be at least --endpoint-delay "
            f"{options.endpoint_delay:g}: when it is over, requests would still arrive"
        )
    return options


def in_flight(options: argparse.Namespace, timeout_s: float) -> tuple[float, float] | None:
    """Return (running, waiting) over all engines and models of the page; None: it does not tell.

    Raises ConnectionRefusedError when nobody listens.
    """
    # not urllib: it would ask a proxy that the environment names
    connection = http.client.HTTPConnection(options.host, options.port, timeout=timeout_s)
    try:
        connection.request("GET", options.path, headers={"Connection": "close"})
        answer = connection.getresponse()
        page = answer.read(PAGE_BYTES_MAX).decode("utf-8", "replace")
        return counts(page) if answer.status == http.client.OK else None
    except ConnectionRefusedError:
        raise
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def counts(page: str) -> tuple[float, float] | None:
    """Sum both gauges over the page; None where one is missing or not a number."""
    sums: dict[str, float] = {}
    for line in page.splitlines():
        name, _, rest = line.replace("{", " {", 1).partition(" ")
        if name in (RUNNING, WAITING):
            try:
                value = float(rest[rest.rfind("}") + 1 :].split()[0])
            except (ValueError, IndexError):
                return None
            sums[name] = sums.get(name, 0.0) + value
    if len(sums) < 2 or not all(map(math.isfinite, sums.values())):
        return None
    return sums[RUNNING], sums[WAITING]


def look(options: argparse.Namespace, timeout_s: float) -> tuple[bool, str]:
    """Tell whether nothing is in flight, and what was found, as words."""
    try:
        found = in_flight(options, timeout_s)
    except ConnectionRefusedError:
        return True, "nobody listens"
    if found is None:
        return False, "the page does not tell what is in flight"
    running, waiting = found
    return running + waiting == 0, f"{running:g} running, {waiting:g} waiting"


def drain(
    options: argparse.Namespace,
    log: Log,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait; return whether the server was found idle within the budget."""
    began = now()
    over_at = began + options.budget
    log.write(
        f"waiting {options.endpoint_delay:g} s for the endpoint to be withdrawn, then for "
        f"{options.host}:{options.port} to be idle; {options.budget:g} s in all at most"
    )
    sleep(options.endpoint_delay)
    in_a_row, said = 0, ""
    while True:
        idle, words = look(options, max(0.1, min(POLL_TIMEOUT_S, over_at - now())))
        if words != said:
            log.write(f"{words} after {now() - began:.1f} s")
            said = words
        in_a_row = in_a_row + 1 if idle else 0
        if in_a_row >= options.polls:
            log.write(f"idle, {in_a_row} polls in a row; took {now() - began:.1f} s")
            return True
        if now() + options.period > over_at:
            log.write(f"the budget of {options.budget:g} s is over: {words}")
            return False
        sleep(options.period)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the hook."""
    options = parse(arguments)
    drain(options, Log(options.log))
    return 0


if __name__ == "__main__":
    sys.exit(main())
