"""The cluster as a person sees it: kubectl, and waiting with a deadline that says what was seen.

What is asked several times a second goes through one `kubectl proxy`: to start a kubectl for every
question costs more processor time than all else that a scene does while it waits.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shlex
import subprocess
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import aiohttp

POLL_S = 0.5

_PATHS = {
    "daemonsets": "apis/apps/v1",
    "deployments": "apis/apps/v1",
    "endpointslices": "apis/discovery.k8s.io/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "nodes": "api/v1",
    "pods": "api/v1",
    "services": "api/v1",
}
"""Where the API server keeps each kind that scenes ask for."""


class Timeout(AssertionError):  # noqa: N818  it is the failure of a test
    """What was waited for did not come."""


def run(*argv: str, stdin: str | None = None, check: bool = True, timeout_s: float = 60) -> str:
    """Run a program; a failure shows what it printed."""
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if check and done.returncode != 0:
        message = f"{shlex.join(argv)} exited {done.returncode}:\n{done.stdout}{done.stderr}"
        raise AssertionError(message)
    return done.stdout


def kubectl(*argv: str, stdin: str | None = None, check: bool = True) -> str:
    """Run kubectl against KUBECONFIG."""
    return run("kubectl", *argv, stdin=stdin, check=check)


async def kubectl_async(*argv: str, stdin: str | None = None, check: bool = True) -> str:
    """The same, without holding up a load that runs meanwhile."""
    return await asyncio.to_thread(kubectl, *argv, stdin=stdin, check=check)


@cache
def _proxy() -> str:
    """The address of a `kubectl proxy` that serves as long as this process runs."""
    proxy = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)

    def end() -> None:
        proxy.kill()
        proxy.communicate()

    atexit.register(end)
    assert proxy.stdout is not None
    said = proxy.stdout.readline()  # Starting to serve on 127.0.0.1:34567
    assert said, "kubectl proxy did not start"
    return f"http://{said.split()[-1]}"


async def get(
    kind: str, name: str = "", *, namespace: str | None = None, labels: str = ""
) -> list[dict[str, Any]]:
    """Objects of a kind (the plural); an empty list while there is none or no API server."""
    parts = [_proxy(), _PATHS[kind], *(["namespaces", namespace] if namespace else []), kind, name]
    url = "/".join(part for part in parts if part)
    timeout = aiohttp.ClientTimeout(total=10)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, params={"labelSelector": labels} if labels else None) as answer,
        ):
            if answer.status != 200:
                return []
            found = json.loads(await answer.read())
    except (aiohttp.ClientError, TimeoutError):
        return []
    return list(found["items"]) if "items" in found else [found]


async def wait_until(
    what: str,
    condition: Callable[[], Awaitable[object]],
    *,
    timeout_s: float,
) -> Any:
    """Poll until `condition` is true and return its value; `what` is in the failure's message."""
    deadline = time.monotonic() + timeout_s
    seen: object = None
    while time.monotonic() < deadline:
        seen = await condition()
        if seen:
            return seen
        await asyncio.sleep(POLL_S)
    message = f"after {timeout_s:.0f} s still not: {what} (last seen: {seen!r})"
    raise Timeout(message)


async def answers(url: str) -> bool:
    """Whether a page is there."""
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def command_from(variable: str) -> list[str]:
    """A command that the caller of the suite gave, as `E2E_POWER_OFF`."""
    value = os.environ.get(variable)
    if not value:
        message = f"{variable} is not set: see tests/e2e/README.md"
        raise AssertionError(message)
    return shlex.split(value)
