"""The cluster as a person sees it: kubectl, and waiting with a deadline that says what was seen."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

POLL_S = 0.5


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


async def get(kind: str, *argv: str, namespace: str | None = None) -> list[dict[str, Any]]:
    """Objects of a kind; an empty list while the API server is away."""
    where = ["-n", namespace] if namespace else []
    text = await kubectl_async("get", kind, *argv, *where, "-o", "json", check=False)
    if not text.strip():
        return []
    found = json.loads(text)
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
