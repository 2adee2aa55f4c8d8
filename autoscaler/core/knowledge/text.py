"""The written form of a model's knowledge: a line of JSON that says what it is, with its parts packed into one text.

    {"version": 1, "model": "serving/llama", "writtenAt": 1700000000.0, ..., "packed": "c$_Vf..."}

What stands beside `packed` is for people, but for the version, the moments and what was told: a part that means nothing
where something else was told is left out then. Another version is not read: what was learnt is learnt again within a day,
and a wrong number would be believed. Each part names the layout of ours that its bytes rest on, so that one may
change without the others.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from autoscaler.core.contract.knowledge import KnowledgeEnd
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.knowledge.packing import GarbledError, Packer, Unpacker

VERSION = 1
TEXT_BYTES_MAX = 4096
"""Of one model's knowledge as it is stored."""
_UNPACKED_BYTES_MAX = 64 * 1024
"""What is packed may unfold to no more, whoever wrote it."""
_SAME = 1e-9


class Footing(NamedTuple):
    """What a model was told of itself, on which what it learns rests."""

    target: float
    ttft_s: float
    tpot_s: float
    attainment_ratio: float

    @classmethod
    def of(cls, spec: ModelSpec) -> Footing:
        """Return it of a specification."""
        objective = spec.objective
        return cls(
            spec.targets.in_flight_requests,
            objective.ttft_s,
            objective.tpot_s,
            objective.attainment_ratio,
        )

    def is_like(self, other: Footing) -> bool:
        """Tell whether both were told the same."""
        return all(
            math.isclose(mine, others, rel_tol=_SAME)
            for mine, others in zip(self, other, strict=True)
        )


class Written(NamedTuple):
    """One model's knowledge, as it was read."""

    written_at: float
    learnt_from: float
    """Since when something was seen of it, seconds."""
    told: Footing
    parts: Mapping[str, tuple[int, bytes]]
    """By name: the mark of its layout, and its bytes."""


class UnusableError(Exception):
    """A text that nothing is taken of."""

    def __init__(self, end: KnowledgeEnd, message: str, *, written_at: float | None = None) -> None:
        super().__init__(message)
        self.end = end
        self.written_at = written_at


def layout_mark(layout: tuple[object, ...]) -> int:
    """Return a number that is another one for another layout."""
    return zlib.crc32(repr(layout).encode())


def write_text(written: Written, *, model: str, said: Mapping[str, object]) -> str:
    """Write it.

    Args:
        written: all of it.
        model: whose; for people.
        said: what else is said for people.
    """
    packer = Packer()
    packer.counts(len(written.parts))
    for name, (mark, packed) in written.parts.items():
        packer.text(name)
        packer.counts(mark >> 16, mark & 0xFFFF)
        packer.piece(packed)
    told = written.told
    plain = {
        "version": VERSION,
        "model": model,
        "writtenAt": written.written_at,
        "learntFrom": written.learnt_from,
        "told": [told.target, told.ttft_s, told.tpot_s, told.attainment_ratio],
        **said,
        "packed": base64.b85encode(zlib.compress(packer.packed(), 9)).decode(),
    }
    return json.dumps(plain, separators=(",", ":"), allow_nan=False)


def read_text(text: str) -> Written:
    """Read it, whoever wrote it.

    Raises:
        UnusableError: Nothing of it can be used.
    """
    if len(text) > 4 * TEXT_BYTES_MAX:
        raise UnusableError(KnowledgeEnd.UNREADABLE, f"{len(text)} characters are none of ours")
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableError(KnowledgeEnd.UNREADABLE, "it is no JSON") from None
    if not isinstance(plain, dict):
        raise UnusableError(KnowledgeEnd.UNREADABLE, "it is no object")
    version = plain.get("version")
    if type(version) is not int:
        raise UnusableError(KnowledgeEnd.UNREADABLE, "it names no version")
    if version != VERSION:
        raise UnusableError(
            KnowledgeEnd.OTHER_VERSION, f"it is of version {version:d}, and {VERSION} is read"
        )
    try:
        return Written(
            written_at=_number(plain["writtenAt"]),
            learnt_from=_number(plain["learntFrom"]),
            told=_told(plain["told"]),
            parts=_unpacked(plain["packed"]),
        )
    except KeyError as error:
        raise UnusableError(KnowledgeEnd.UNREADABLE, f"{error.args[0]} is missing") from None
    except GarbledError as error:
        raise UnusableError(KnowledgeEnd.UNREADABLE, str(error)) from None


def _told(told: object) -> Footing:
    if not isinstance(told, list) or len(told) != len(Footing._fields):
        raise GarbledError("what was told is not told")
    return Footing(*(_number(each) for each in told))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GarbledError("a number is none")
    try:
        number = float(value)
    except OverflowError:
        raise GarbledError("a number is none") from None
    if not (math.isfinite(number) and number >= 0.0):
        raise GarbledError("a number that cannot be")
    return number


def _unpacked(packed: object) -> dict[str, tuple[int, bytes]]:
    if not isinstance(packed, str):
        raise GarbledError("`packed` is no text")
    unfolding = zlib.decompressobj()
    try:
        whole = unfolding.decompress(base64.b85decode(packed), _UNPACKED_BYTES_MAX)
    except (ValueError, zlib.error):
        raise GarbledError("`packed` is not what was written") from None
    if not unfolding.eof:
        raise GarbledError("`packed` is cut, or too much")
    unpacker = Unpacker(whole)
    (count,) = unpacker.counts(1)
    parts = {}
    for _ in range(count):
        name = unpacker.text()
        high, low = unpacker.counts(2)
        parts[name] = (high << 16) + low, unpacker.piece()
    unpacker.end()
    return parts
