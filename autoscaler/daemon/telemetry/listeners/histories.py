"""What the engine made of a model's past, and of what an earlier process had learnt of it, logged."""

from __future__ import annotations

import structlog

from autoscaler.core.contract.knowledge import KnowledgeEnd
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.foreign_text import shown

_log = structlog.get_logger(__name__)


class HistoryListener(Listener):
    """Takes note of each history, and of all knowledge, that was taken in."""

    def handled(self, handled: Handled) -> None:
        """Log how much of it there was to learn from."""
        known = handled.outcome.knowledge
        if known is not None:
            tell = _log.info if known.end is KnowledgeEnd.TAKEN else _log.warning
            age_s = None if known.written_at is None else round(handled.event.at - known.written_at)
            tell(
                "knowledge.taken",
                model=known.model,
                end=str(known.end),
                age_s=age_s,
                parts=list(known.parts),
                left_out=[shown(each) for each in known.left_out],
                message=shown(known.message),
            )
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
