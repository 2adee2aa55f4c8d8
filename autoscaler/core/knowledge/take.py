"""Gives a model back what an earlier process had learnt of it.

What was seen since stands beside it, or above it where both cannot be true. No guard reads any of it: until a window
was full since the first observation nothing is scaled down, whatever was known before.
"""

from __future__ import annotations

from autoscaler.core.contract.events import KnowledgeRead
from autoscaler.core.contract.knowledge import KnowledgeEnd, KnowledgeTaken
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.knowledge.packing import GarbledError
from autoscaler.core.knowledge.part import Given
from autoscaler.core.knowledge.parts import PARTS
from autoscaler.core.knowledge.text import Footing, UnusableError, Written, layout_mark, read_text
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.order import PoolOrder

AGE_S_MAX = 7 * 86_400.0
"""As old as a history is read: of what is older hardly anything is left in a forecast."""
_AHEAD_S = 60.0
"""By which the clocks of two machines may differ."""


def take_knowledge(
    event: KnowledgeRead, *, at: float, spec: ModelSpec, order: PoolOrder, memory: ModelMemory
) -> KnowledgeTaken:
    """Take in what of it can be used.

    Args:
        event: with the text.
        at: now, seconds.
        spec: of the model.
        order: of its pools.
        memory: of the model; changed.
    """
    try:
        written = read_text(event.text)
        _doubt(written, at=at, memory=memory)
    except UnusableError as error:
        return no_knowledge(event.model, error.end, message=str(error), written_at=error.written_at)
    given = Given(
        at=max(at, written.written_at),
        written_at=written.written_at,
        spec=spec,
        preferred=spec.pools[order.preferred].name,
    )
    taken: list[str] = []
    left_out: list[str] = []
    same = written.told.is_like(Footing.of(spec))
    for name, part in PARTS.items():
        if name not in written.parts:
            continue
        mark, packed = written.parts[name]
        if mark != layout_mark(part.layout):
            why = "another version wrote it in another form"
        elif part.needs_target and not same:
            why = "another target or objective was told then"
        else:
            try:
                why = part.put_back(packed, memory, given)
            except GarbledError as error:
                why = f"it cannot be read: {error}"
        if why:
            left_out.append(f"{name}: {why}")
        else:
            taken.append(name)
    _note(memory, written, taken)
    return KnowledgeTaken(
        model=event.model,
        end=KnowledgeEnd.TAKEN,
        written_at=written.written_at,
        parts=tuple(taken),
        left_out=tuple(left_out),
        message="",
    )


def no_knowledge(
    model: str, end: KnowledgeEnd, *, message: str, written_at: float | None = None
) -> KnowledgeTaken:
    """Say that nothing was taken."""
    return KnowledgeTaken(
        model=model, end=end, written_at=written_at, parts=(), left_out=(), message=message
    )


def _doubt(written: Written, *, at: float, memory: ModelMemory) -> None:
    """Refuse what was written too long ago, or cannot have been yet, or once more."""
    age_s = at - written.written_at
    if memory.known_until is not None:
        raise UnusableError(
            KnowledgeEnd.TAKEN_BEFORE, "some was taken already", written_at=written.written_at
        )
    if age_s > AGE_S_MAX:
        raise UnusableError(
            KnowledgeEnd.TOO_OLD,
            f"it was written {age_s / 86_400.0:.1f} days ago",
            written_at=written.written_at,
        )
    if age_s < -_AHEAD_S or written.learnt_from > written.written_at:
        raise UnusableError(
            KnowledgeEnd.FROM_AHEAD,
            f"it was written {-age_s:.0f} s ahead of now, or before it was learnt",
            written_at=written.written_at,
        )


def _note(memory: ModelMemory, written: Written, taken: list[str]) -> None:
    """Note of which time something is known now, so that a history teaches none of it again."""
    memory.known_until = written.written_at
    if "residuals" not in taken:
        return
    memory.known_from = written.learnt_from
    before = memory.learnt_from
    memory.learnt_from = written.learnt_from if before is None else min(before, written.learnt_from)
