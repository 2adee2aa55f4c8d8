"""kubectl as a child process: it has the user's context, namespace and credentials, whatever plugin gives them."""

from __future__ import annotations

import json
import re
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from autoscaler.errors import AutoscalerError, SettingsError
from autoscaler.foreign_text import shown

ANSWER_S = 30.0
FORWARD_S = 15.0
"""Until a port is forwarded: kubectl asks the API server, and that the kubelet."""
END_S = 5.0
DEBUG_PORT = 8081
_FORWARDED = re.compile(r"Forwarding from (127\.0\.0\.1|\[::1\]):([0-9]{1,5}) ->")
_MESSAGE_CHARACTERS_MAX = 300


class KubectlError(AutoscalerError):
    """kubectl could not do what it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """kubectl with the options that say which cluster is meant."""

    options: tuple[str, ...] = ()
    command: str = "kubectl"

    def read(self, *arguments: str) -> dict[str, Any]:
        """Run `kubectl get ...` and read its JSON; raises KubectlError with what it said."""
        line = [self.command, *self.options, "get", *arguments, "-o", "json"]
        try:
            done = subprocess.run(  # noqa: S603  the user's own kubectl
                line, capture_output=True, text=True, timeout=ANSWER_S, check=False
            )
        except FileNotFoundError as error:
            raise _missing(self.command) from error
        except subprocess.TimeoutExpired as error:
            raise KubectlError(f"{_told(line)}: no answer within {ANSWER_S:.0f} s") from error
        if done.returncode:
            raise KubectlError(
                f"{_told(line)}: {shown(done.stderr, limit=_MESSAGE_CHARACTERS_MAX)}"
            )
        try:
            found = json.loads(done.stdout)
        except ValueError as error:
            raise KubectlError(f"{_told(line)}: answered {shown(done.stdout, limit=80)}") from error
        return found if isinstance(found, dict) else {}

    @contextmanager
    def forwarded(self, target: str, *, namespace: str, port: int = DEBUG_PORT) -> Iterator[str]:
        """Forward a port of a pod to one of this machine as long as the block runs; yields its URL.

        Raises KubectlError where it cannot be forwarded.
        """
        line = [
            self.command,
            *self.options,
            "-n",
            namespace,
            "port-forward",
            "--address=127.0.0.1",
            target,
            f":{port}",
        ]
        try:
            child = subprocess.Popen(  # noqa: S603  likewise
                line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        except FileNotFoundError as error:
            raise _missing(self.command) from error
        try:
            yield f"http://127.0.0.1:{_port(child, line)}"
        finally:
            _end(child)


def _missing(command: str) -> SettingsError:
    return SettingsError(
        f"there is no {command} on the PATH; install it, or name the daemon's address"
    )


def _told(line: Sequence[str]) -> str:
    return shown(" ".join(line), limit=_MESSAGE_CHARACTERS_MAX)


def _port(child: subprocess.Popen[str], line: Sequence[str]) -> int:
    """Wait for the line that names the port."""
    assert child.stdout is not None
    assert child.stderr is not None
    until = time.monotonic() + FORWARD_S
    while True:
        left_s = until - time.monotonic()
        if left_s <= 0 or not select.select([child.stdout], [], [], left_s)[0]:
            raise KubectlError(f"{_told(line)}: no port within {FORWARD_S:.0f} s")
        told = child.stdout.readline()
        if not told:
            said = child.stderr.read()
            raise KubectlError(f"{_told(line)}: {shown(said, limit=_MESSAGE_CHARACTERS_MAX)}")
        match = _FORWARDED.match(told)
        if match is not None:
            return int(match[2])


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
