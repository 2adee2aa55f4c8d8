"""Asks one feed of the metadata service again and again, in a thread of its own: none waits for another."""

from __future__ import annotations

import random
import threading
import traceback

from autoscaler.agent.board import NoticeBoard
from autoscaler.agent.dialects.contract import MetadataError, MetadataFeed
from autoscaler.agent.log import Log

BACK_OFF_MAX = 5.0
"""Times the usual pause: a service that comes back is heard within ten seconds."""
JITTER = 0.1


class Polling(threading.Thread):
    """One feed. It ends when it is told to, and never of itself."""

    def __init__(
        self, feed: MetadataFeed, board: NoticeBoard, *, stopping: threading.Event, log: Log
    ) -> None:
        super().__init__(name=feed.name, daemon=True)
        self._feed = feed
        self._board = board
        self._stopping = stopping
        self._log = log
        self._failures = 0

    def run(self) -> None:
        """Until the end."""
        while not self._stopping.is_set():
            self._stopping.wait(self.step())

    def step(self) -> float:
        """Ask once; returns the seconds until the next time."""
        feed = self._feed
        try:
            told = feed.read()
        except MetadataError as error:
            return self._failed("metadata.failed", str(error))
        except Exception:  # noqa: BLE001  a bug in reading one answer must not end this feed or the others
            return self._failed("metadata.broke", traceback.format_exc(limit=-4))
        if self._failures:
            self._log("metadata.recovered", feed=feed.name, failures=self._failures)
            self._failures = 0
        self._board.answered(feed.name, told, denials_needed=feed.denials_needed)
        return jittered(feed.every_s)

    def _failed(self, event: str, found: str) -> float:
        if self._failures == 0:
            self._log(event, feed=self._feed.name, found=found)
        self._failures += 1
        return jittered(self._feed.every_s * min(2.0 ** min(self._failures, 8), BACK_OFF_MAX))


def jittered(seconds: float) -> float:
    """So that a thousand agents do not ask in step."""
    return seconds * random.uniform(1.0 - JITTER, 1.0 + JITTER)  # noqa: S311  no secret
