"""Writes what was learnt of a model so that another process can begin with it: at most 4 KiB."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache, partial

from autoscaler.core.candidates.rules import RULES
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.knowledge.part import Grain
from autoscaler.core.knowledge.parts import LEAST_WORTH, PARTS, ROUGHENED
from autoscaler.core.knowledge.text import TEXT_BYTES_MAX, Footing, Written, layout_mark, write_text
from autoscaler.core.memory import ModelMemory
from autoscaler.core.supply.cold_starts import finished_cold_start_s

_SAID_POOLS_MAX = 3


def remember(memory: ModelMemory, *, spec: ModelSpec, at: float) -> str | None:
    """Write it; None: nothing was learnt yet.

    Args:
        memory: of the model.
        spec: of the model.
        at: now, seconds: the last event.

    Returns:
        At most TEXT_BYTES_MAX bytes. Where all of it is more it is written roughly, and what is worth least left out.
    """
    said = _said(memory, spec)
    learnt_from = at if memory.learnt_from is None else memory.learnt_from
    tries = [
        *((rough, 0) for rough in range(len(ROUGHENED))),
        *((len(ROUGHENED), left_out) for left_out in range(len(LEAST_WORTH) + 1)),
    ]
    pack = cache(partial(_pack, memory))
    for rough, left_out in tries:
        parts = _parts(pack, rough=ROUGHENED[:rough], left_out=LEAST_WORTH[:left_out])
        if not parts:
            return None
        written = Written(
            written_at=at, learnt_from=learnt_from, told=Footing.of(spec), parts=parts
        )
        text = write_text(written, model=spec.key, said=said)
        if len(text.encode()) <= TEXT_BYTES_MAX:
            return text
    return None  # pools whose names alone are more


def _pack(memory: ModelMemory, name: str, grain: Grain) -> bytes | None:
    return PARTS[name].pack(memory, grain)


def _parts(
    pack: Callable[[str, Grain], bytes | None], *, rough: Collection[str], left_out: Collection[str]
) -> dict[str, tuple[int, bytes]]:
    """Return, by name, the mark and the bytes of each part that there is."""
    found = {}
    for name, part in PARTS.items():
        if name in left_out:
            continue
        packed = pack(name, Grain.ROUGH if name in rough else Grain.FINE)
        if packed is not None:
            found[name] = layout_mark(part.layout), packed
    return found


def _said(memory: ModelMemory, spec: ModelSpec) -> dict[str, object]:
    """Say the most asked-for of it, for people."""
    starts = {
        name: round(finished_cold_start_s(each, prior_s=spec.cold_start_prior_s), 1)
        for name, each in sorted(memory.cold_starts.items())[:_SAID_POOLS_MAX]
        if each.measured_s
    }
    said: dict[str, object] = {"coldStartSeconds": starts}
    rules = memory.candidates
    if rules.settled:
        rule = RULES[rules.choice.chosen]
        said["carriedRatio"] = round(rules.capacity.ratio, 3)
        said["rule"] = {
            "windowSeconds": round(rule.window_s(spec.cold_start_prior_s)),
            "share": round(rule.share, 2),
        }
    return said
