"""Keeps the daemon's long-lived tasks running: what nobody foresaw restarts one task, and nothing else.

What is foreseen is contained where it is met: per pod, per object, per document, per answer. This is for
the rest. A task that ends by an exception is logged with its trace, counted, and begun anew after a pause
that grows while it breaks again and again; the others do not notice. The daemon is never ended by it: it
would begin again with the same input, knowing less, and end again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from autoscaler.foreign_text import shown

PAUSE_S_MIN = 0.5
PAUSE_S_MAX = 30.0
CALM_S = 60.0
"""A task that ran this long since it was begun is whole again: its next failure is the first."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    times: int
    """In a row."""
    at: float
    """On the loop's clock, seconds."""
    text: str


class Supervisor:
    """Of one daemon."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        """By kind of task, since the start: one task each, but for the watches."""
        self._broken: dict[str, _Failure] = {}
        """By task, those that broke a short while ago."""
        self._closing = asyncio.Event()

    async def keep(
        self, kind: str, run: Callable[[], Awaitable[object]], *, which: str = ""
    ) -> None:
        """Run a task until it returns or is cancelled; begin it anew whenever it raises.

        Args:
            kind: Of a closed list: a metric label.
            run: Called for each life of the task; must be able to begin again.
            which: Tells tasks of one kind apart, for people.
        """
        name = f"{kind} ({which})" if which else kind
        loop = asyncio.get_running_loop()
        try:
            while True:
                began_at = loop.time()
                try:
                    await run()
                except Exception as error:  # noqa: BLE001  nobody foresaw it: logged, counted, begun anew
                    failure = self._note(name, error, began_at=began_at)
                    self.failures[kind] += 1
                    pause_s = min(PAUSE_S_MIN * 2.0 ** min(failure.times - 1, 16), PAUSE_S_MAX)
                    _log.exception("task.broke", task=name, times=failure.times, pause_s=pause_s)
                else:
                    return
                if await self._closes_within(pause_s):
                    return
        finally:
            self._broken.pop(name, None)

    def close(self) -> None:
        """Wait no more: what broke is not begun again and again while the daemon ends."""
        self._closing.set()

    def problems(self) -> tuple[str, ...]:
        """Tasks that broke within the last minute, for people; empty: none."""
        if not self._broken:
            return ()
        now = asyncio.get_running_loop().time()
        return tuple(
            f"task {name} broke {now - failure.at:.0f} s ago, {failure.times} times in a row "
            f"({failure.text}): a bug of ours, please report it; it was begun anew"
            for name, failure in sorted(self._broken.items())
            if now - failure.at < CALM_S
        )

    def _note(self, name: str, error: Exception, *, began_at: float) -> _Failure:
        now = asyncio.get_running_loop().time()
        before = self._broken.get(name)
        times = before.times + 1 if before is not None and now - began_at < CALM_S else 1
        text = f"{type(error).__name__}: {shown(error)}"
        self._broken[name] = failure = _Failure(times=times, at=now, text=text)
        return failure

    async def _closes_within(self, pause_s: float) -> bool:
        try:
            async with asyncio.timeout(pause_s):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True
