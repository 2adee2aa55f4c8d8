"""What happened, in order: a digest that two runs of one seed share, and the last lines for people."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from typing import Any

LINES_KEPT = 4_000


class History:
    """Of one run. Nothing enters it that differs between two runs of a seed."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.counts: Counter[str] = Counter()
        """Entries by kind."""

    def note(self, kind: str, *parts: Any) -> None:
        """Enter one thing that happened now."""
        at = asyncio.get_running_loop().time()
        line = f"{at:10.3f} {kind:9} {' '.join(map(str, parts))}"
        self._digest.update(line.encode() + b"\n")
        self.lines.append(line)
        self.counts[kind] += 1

    @property
    def digest(self) -> str:
        """Of all that was entered."""
        return self._digest.hexdigest()
