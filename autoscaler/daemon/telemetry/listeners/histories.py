"""What the engine made of a model's past, logged."""

from __future__ import annotations

import structlog

from autoscaler.daemon.loop import Handled, Listener

_log = structlog.get_logger(__name__)


class HistoryListener(Listener):
    """Takes note of each history that was taken in."""

    def handled(self, handled: Handled) -> None:
        """Log how much of it there was to learn from."""
        taken = handled.outcome.history
        if taken is None:
            return
        _log.info(
            "history.taken",
            model=taken.model,
            end=str(taken.end),
            from_at=taken.from_at,
            until_at=taken.until_at,
            rows=taken.rows,
            left_out=taken.left_out,
            known_ratio=None if taken.known_ratio is None else round(taken.known_ratio, 3),
            decide_s=round(handled.decide_s, 4),
        )
