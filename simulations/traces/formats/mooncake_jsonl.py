"""Mooncake's JSON lines: `timestamp` in ms, `input_length`, `output_length`, `hash_ids`.

Published as kvcache-ai/Mooncake. `hash_ids` name the prompt's prefix blocks of 512 tokens: an id
stands for the block and everything before it, so equal ids are a reusable prefix.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from simulations.traces.contents import TraceFormat
from simulations.traces.rows import RequestRows, TraceLines

FIELDS = ("timestamp", "input_length", "output_length")
BLOCK_TOKENS = 512
_FORM = '{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [n, …]}'


class _Row(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[Annotated[int, msgspec.Meta(ge=0, lt=2**62)]] = []


def read(lines: TraceLines, rows: RequestRows) -> None:
    """Read every request of the file, prefix blocks included, into `rows`."""
    rows.block_tokens = BLOCK_TOKENS
    for line in lines:
        row = _row(lines, line)
        rows.append(
            lines,
            at_ns=round(row.timestamp * 1_000_000),
            prompt_tokens=row.input_length,
            output_tokens=row.output_length,
        )
        rows.blocks.extend(row.hash_ids)
        rows.block_ends.append(len(rows.blocks))


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
)
