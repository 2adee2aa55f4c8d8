"""KV blocks of one replica as the fast Python model keeps them: counts, and idle content by age.

Who holds which block does not matter, only how many are held and what can still be hit, so a decode
stretch of any length takes its blocks in one subtraction.
"""

from __future__ import annotations

from collections import OrderedDict

from simulations.serving.profiles.profiles import Profile

Content = int | tuple[int, int]
"""Of idle blocks: a prefix identity, or (request, which of its releases) for its own blocks."""


class KvCache:
    """Blocks in use, idle with content (oldest first) and plain. The rules are in `reference`."""

    __slots__ = (
        "_idle",
        "_plain",
        "_users",
        "block_tokens",
        "caching",
        "free",
        "prefix_blocks",
        "usable",
    )

    def __init__(self, profile: Profile, prefix_tokens: int) -> None:
        self.block_tokens = profile.block_tokens
        self.caching = profile.prefix_caching
        self.prefix_blocks = prefix_tokens // profile.block_tokens
        self.usable = profile.kv_blocks - 1
        self.free = self.usable
        """Blocks that are not in use."""
        self._plain = self.usable
        self._idle: OrderedDict[Content, int] = OrderedDict()
        self._users: dict[int, int] = {}

    def missing(self, computed: int, tokens: int) -> int:
        """Blocks that so many tokens take behind so many that are computed."""
        size = self.block_tokens
        return -(-(computed + tokens) // size) - -(-computed // size)

    def take(self, blocks: int) -> None:
        """Take free blocks for new content: plain ones, then those idle for longest."""
        self.free -= blocks
        self._plain -= blocks
        while self._plain < 0:
            content, held = self._idle.popitem(last=False)
            spared = 0 if isinstance(content, int) else max(0, held + self._plain)
            if spared:
                self._idle[content] = spared
                self._idle.move_to_end(content, last=False)
            self._plain += held - spared

    def leading(self, prefix: tuple[int, ...], blocks_max: int) -> int:
        """How many of the first prefix blocks are cached, of at most so many."""
        for position, identity in enumerate(prefix[:blocks_max]):
            if identity not in self._users and identity not in self._idle:
                return position
        return min(len(prefix), blocks_max)

    def own(self, content: Content | None) -> int:
        """How many of a request's own blocks are still there."""
        return 0 if content is None else self._idle.get(content, 0)

    def revivable(self, hit: tuple[int, ...]) -> int:
        """How many of these cached prefix blocks' KV blocks are idle, and would be in use."""
        return sum(self.prefix_blocks for identity in hit if identity in self._idle)

    def hold(self, hit: tuple[int, ...]) -> None:
        """One more holds these cached prefix blocks."""
        for identity in hit:
            self.free -= self._idle.pop(identity, 0)
            self._users[identity] = self._users.get(identity, 0) + 1

    def hold_own(self, content: Content) -> None:
        """A request is back and holds its own blocks again."""
        self.free -= self._idle.pop(content)

    def identify(self, scheduled: tuple[int, ...]) -> list[int]:
        """Those of the prefix blocks scheduled now that become the cached copy; it holds them."""
        fresh = [
            identity
            for identity in scheduled
            if identity not in self._users and identity not in self._idle
        ]
        for identity in fresh:
            self._users[identity] = 1
        return fresh

    def release(self, *, blocks: int, own: int, content: Content | None, held: list[int]) -> None:
        """Take a request's blocks back.

        Args:
            blocks: All that it has.
            own: Full ones behind its prefix blocks, which stay as `content`.
            content: Names them; needed where `own` is positive.
            held: The prefix blocks it holds under their identity, in order.
        """
        shared = len(held) * self.prefix_blocks
        self._plain += blocks - own - shared
        self.free += blocks - shared
        if own:
            assert content is not None
            self._idle[content] = own
        for identity in reversed(held):
            users = self._users[identity] - 1
            if users:
                self._users[identity] = users
            else:
                del self._users[identity]
                self._idle[identity] = self.prefix_blocks
                self.free += self.prefix_blocks
