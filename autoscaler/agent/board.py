"""What all feeds of the metadata service say, put together: the one notice that the Node is to carry.

A feed that fails says nothing: what it said last stays. Unknown is never "no notice".
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from autoscaler.agent.notice import NodeNotice, Told, worst

OUTLIVED_S = 600.0
"""A machine that is there so long after its deadline was not taken, or is back: whatever cannot be asked."""


class _Entry(NamedTuple):
    notice: NodeNotice
    dated: bool
    """Whether the cloud gave its deadline."""
    denials: int = 0
    """How many answers in a row said since then that there is none."""


class NoticeBoard:
    """Filled by the threads of the feeds, read by the one that writes."""

    def __init__(self, source: str, feeds: Iterable[str], *, now: Callable[[], float]) -> None:
        self._source = source
        self._now = now
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        """By feed."""
        self._silent = set(feeds)
        """Feeds that have not answered yet."""
        self._carried: NodeNotice | None = None
        self.changed = threading.Event()
        """Set when the notice may be another."""

    def take_over(self, carried: NodeNotice | None) -> None:
        """Hear what the Node carries already, from before this process began.

        It holds until every feed has answered, or it was outlived. A feed that says the same continues it: a restart of the
        agent puts no deadline off.
        """
        with self._lock:
            if carried is None or carried.source != self._source:
                return
            self._carried = carried
            self._entries = {
                feed: entry._replace(notice=self._continued(entry.notice, dated=entry.dated))
                for feed, entry in self._entries.items()
            }
            self.changed.set()

    def answered(self, feed: str, told: Told | None, *, denials_needed: int = 1) -> None:
        """Hear an answer of one feed.

        Args:
            feed: Which.
            told: What it says; None: there is nothing.
            denials_needed: So many answers in a row take a notice back.
        """
        with self._lock:
            before = self._entries.get(feed)
            if told is not None:
                self._entries[feed] = self._entry(told, before)
            elif before is not None:
                self._entries[feed] = before._replace(denials=before.denials + 1)
                if before.denials + 1 >= denials_needed:
                    del self._entries[feed]
            if feed in self._silent or self._entries.get(feed) != before:
                self._silent.discard(feed)
                self.changed.set()

    def notice(self) -> NodeNotice | None:
        """What the Node is to carry; None: nothing."""
        with self._lock:
            notices = [entry.notice for entry in self._entries.values()]
            if self._carried is not None and self._silent and not self._outlived(self._carried):
                notices.append(self._carried)
            return worst(notices)

    def _outlived(self, carried: NodeNotice) -> bool:
        return carried.deadline_at is not None and self._now() > carried.deadline_at + OUTLIVED_S

    def _entry(self, told: Told, before: _Entry | None) -> _Entry:
        fresh = NodeNotice(
            kind=told.kind,
            source=self._source,
            noticed_at=_whole(self._now() if told.noticed_at is None else told.noticed_at),
            deadline_at=None if told.deadline_at is None else _whole(told.deadline_at),
        )
        if before is not None and before.notice.kind == told.kind:
            return _Entry(_again(fresh, before.notice, dated=told.dated), told.dated)
        return _Entry(self._continued(fresh, dated=told.dated), told.dated)

    def _continued(self, fresh: NodeNotice, *, dated: bool) -> NodeNotice:
        """As the Node has it already, if that is the same notice.

        An undated one whose deadline on the Node has passed is another: that machine came back.
        """
        carried = self._carried
        if carried is None or carried.kind != fresh.kind:
            return fresh
        if dated:
            same = carried.deadline_at == fresh.deadline_at
        else:
            same = carried.deadline_at is not None and carried.deadline_at > self._now()
        return _again(fresh, carried, dated=dated) if same else fresh


def _again(fresh: NodeNotice, before: NodeNotice, *, dated: bool) -> NodeNotice:
    """Said again: it was noticed when it first was, and an undated deadline never moves back."""
    deadline_at = fresh.deadline_at
    if not dated and deadline_at is not None and before.deadline_at is not None:
        deadline_at = min(deadline_at, before.deadline_at)
    return NodeNotice(
        kind=fresh.kind,
        source=fresh.source,
        noticed_at=before.noticed_at,
        deadline_at=deadline_at,
    )


def _whole(at: float) -> float:
    return float(math.floor(at))
