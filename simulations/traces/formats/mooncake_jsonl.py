"""Mooncake's JSON lines: `timestamp`, `input_length`, `output_length`, `hash_ids`.

Published as kvcache-ai/Mooncake, in milliseconds. `hash_ids` name the prompt's prefix blocks: an id stands
for the block and everything before it, so equal ids are a reusable prefix. Others have taken the names over
with units of their own: Alibaba's Bailian traces (with a `chat_id`) are in seconds, in blocks of 16 tokens
where Mooncake has 512. So the size of a block is told from the prompts' lengths, and where a file is none of
the two, the unit of its times is asked for rather than guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import msgspec

from autoscaler.errors import TraceError
from simulations.traces.contents import TraceFormat
from simulations.traces.rows import RequestRows, TraceLines
from simulations.traces.units import UNIT, unit_ns

FIELDS = ("timestamp", "input_length", "output_length")
BLOCK_TOKENS = 512
"""Mooncake's own."""
BLOCKS_TOKENS = (BLOCK_TOKENS, 16, 32, 64, 128, 256, 1024, 8, 2048, 4096)
"""Sizes of a block that engines have; of several that fit the first is taken."""
_FORM = '{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [n, …]}'


class _Row(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[Annotated[int, msgspec.Meta(ge=0, lt=2**62)]] = []
    chat_id: msgspec.Raw = msgspec.Raw()
    """Bailian's; of no use but to tell whose file it is."""


@dataclass(slots=True, kw_only=True)
class _Blocks:
    """What the rows so far say of the size of a block."""

    least: float = 0.0
    """A block is no smaller: so many ids name all tokens of a prompt."""
    most: float = math.inf
    """Nor larger: one id fewer would have named all full blocks."""

    def see(self, tokens: int, ids: int) -> None:
        """Take in one prompt; its last block may be there or not where it is not full."""
        if ids and tokens:
            self.least = max(self.least, tokens / (ids + 1) if tokens > ids else 0.0)
            self.most = min(self.most, (tokens - 1) / (ids - 1) if ids > 1 else math.inf)

    def fits(self, size: int) -> bool:
        """Whether blocks of this size fit all prompts."""
        return self.least <= size <= self.most


def read(lines: TraceLines, rows: RequestRows) -> None:
    """Read every request of the file, prefix blocks included, into `rows`."""
    asked = unit_ns(rows.settings)
    first, blocks, scale_ns = True, _Blocks(), 1e6 if asked is None else asked
    for line in lines:
        row = _row(lines, line)
        if first and asked is None and bytes(row.chat_id):
            scale_ns = 1e9
        if asked is None and scale_ns == 1e6 and not row.timestamp.is_integer():
            raise lines.failure(
                f"timestamp is {row.timestamp:g}, and Mooncake's are whole milliseconds",
                remedy="say what it is: unit=s or unit=ms behind the path",
            )
        first = False
        rows.append(
            lines,
            at_ns=round(row.timestamp * scale_ns),
            prompt_tokens=row.input_length,
            output_tokens=row.output_length,
        )
        blocks.see(row.input_length, len(row.hash_ids))
        rows.blocks.extend(row.hash_ids)
        rows.block_ends.append(len(rows.blocks))
    rows.block_tokens = _block_tokens(blocks, rows.notes)
    if rows.block_tokens != BLOCK_TOKENS and asked is None and scale_ns == 1e6:
        raise TraceError(
            f"{lines.path}: its hash_ids name blocks of {rows.block_tokens} tokens, Mooncake's own "
            f"have {BLOCK_TOKENS}, so the unit of its times is not known; write unit=s or unit=ms "
            "behind the path"
        )


def _block_tokens(blocks: _Blocks, notes: list[str]) -> int:
    found = next((size for size in BLOCKS_TOKENS if blocks.fits(size)), None)
    if found is None:
        notes.append(
            f"its hash_ids fit no size of a block (at least {blocks.least:.0f} tokens by one prompt, at most "
            f"{blocks.most:.0f} by another); {BLOCK_TOKENS} are taken, and what is reused is not to be trusted"
        )
    return found or BLOCK_TOKENS


def _row(lines: TraceLines, line: str) -> _Row:
    try:
        return msgspec.json.decode(line, type=_Row)
    except msgspec.ValidationError as error:
        raise lines.failure(str(error), remedy=f"write {_FORM}") from None
    except msgspec.DecodeError:
        raise lines.failure(
            f"no JSON: {line[:60]!r}", remedy=f"complete or drop the row: {_FORM}"
        ) from None


FORMAT = TraceFormat(
    name="mooncake-jsonl",
    fields=FIELDS,
    looks_like='{"timestamp": …, "input_length": …, "output_length": …}',
    read=read,
    settings=(UNIT,),
)
