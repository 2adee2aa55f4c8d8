"""The kubelet's probes, over HTTP and TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from simulations.box.local_cluster.objects import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe of a container."""

    address: str
    port: int
    path: str | None
    """None: a TCP connection is enough."""
    period_s: float = 10.0
    delay_s: float = 0.0
    timeout_s: float = 1.0
    successes_needed: int = 1
    failures_needed: int = 3

    @classmethod
    def of(cls, container: Object, name: str, address: str) -> Probe | None:
        """`readinessProbe`, `startupProbe` or `livenessProbe` of a container, where it has one."""
        spec = container.get(name)
        if not spec:
            return None
        action = spec.get("httpGet") or spec.get("tcpSocket")
        if action is None:
            raise ValueError(f"{name} of {container['name']}: only httpGet and tcpSocket work here")
        return cls(
            address=address,
            port=container_port(container, action["port"]),
            path=action.get("path", "/") if "httpGet" in spec else None,
            period_s=float(spec.get("periodSeconds", 10)),
            delay_s=float(spec.get("initialDelaySeconds", 0)),
            timeout_s=float(spec.get("timeoutSeconds", 1)),
            successes_needed=int(spec.get("successThreshold", 1)),
            failures_needed=int(spec.get("failureThreshold", 3)),
        )

    async def follow(self, http: aiohttp.ClientSession, heard: Callable[[bool], bool]) -> bool:
        """Probe until `heard` of a verdict returns True; returns that verdict.

        A verdict is what enough answers in a row say.
        """
        await asyncio.sleep(self.delay_s)
        successes = failures = 0
        while True:
            passes = await self._passes(http)
            successes, failures = (successes + 1, 0) if passes else (0, failures + 1)
            enough = successes >= self.successes_needed or failures >= self.failures_needed
            if enough and heard(passes):
                return passes
            await asyncio.sleep(self.period_s)

    async def _passes(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with asyncio.timeout(self.timeout_s):
                if self.path is None:
                    _, writer = await asyncio.open_connection(self.address, self.port)
                    writer.close()
                    return True
                url = f"http://{self.address}:{self.port}{self.path}"
                async with http.get(url, headers={"User-Agent": "kube-probe/1.36"}) as answer:
                    return 200 <= answer.status < 400
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False


def container_port(container: Object, port: int | str) -> int:
    """A port by number, or by the name it has among the container's ports."""
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    return int(port)
