"""Mooncake's JSON lines: `timestamp` in ms, `input_length`, `output_length`, `hash_ids`.

Published as kvcache-ai/Mooncake. `hash_ids` name the prompt's prefix blocks of 512 tokens: an id
stands for the block and everything before it, so equal ids are a reusable prefix.
"""

from __future__ import annotations

import json
from typing import Any

from simulations.traces.contents import TraceFormat
from simulations.traces.rows import RequestRows, TraceLines

FIELDS = ("timestamp", "input_length", "output_length")
BLOCK_TOKENS = 512
MAX_BLOCK = 2**62
_FORM = '{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [n, …]}'


def _recognizes(first_line: str) -> bool:
    """Whether a file that starts with this line is of this format."""
    try:
        row = json.loads(first_line)
    except ValueError:
        return False
    return isinstance(row, dict) and all(field in row for field in FIELDS)


def read(lines: TraceLines, rows: RequestRows) -> None:
    """Read every request of the file, prefix blocks included, into `rows`."""
    rows.block_tokens = BLOCK_TOKENS
    for line in lines:
        row = _row(lines, line)
        rows.append(
            lines,
            at_ns=round(row["timestamp"] * 1_000_000),
            prompt_tokens=row["input_length"],
            output_tokens=row["output_length"],
        )
        rows.blocks.extend(_blocks(lines, row))
        rows.block_ends.append(len(rows.blocks))


def _row(lines: TraceLines, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        raise lines.failure(
            f"no JSON: {line[:60]!r}", remedy=f"complete or drop the row: {_FORM}"
        ) from None
    if not isinstance(row, dict):
        raise lines.failure(f"no JSON object: {line[:60]!r}", remedy=f"write {_FORM}")
    for field in FIELDS:
        found = row.get(field)
        wanted = (int, float) if field == "timestamp" else int
        if isinstance(found, bool) or not isinstance(found, wanted) or not abs(found) < MAX_BLOCK:
            raise lines.failure(f"{field} is {found!r}", remedy=f"write {_FORM}")
    return row


def _blocks(lines: TraceLines, row: dict[str, Any]) -> list[int]:
    blocks = row.get("hash_ids", [])
    if not isinstance(blocks, list) or not all(
        isinstance(block, int) and not isinstance(block, bool) and 0 <= block < MAX_BLOCK
        for block in blocks
    ):
        raise lines.failure(
            f"hash_ids is {str(blocks)[:60]}", remedy="write a list of whole numbers >= 0"
        )
    return blocks


FORMAT = TraceFormat(
    name="mooncake-jsonl",
    recognizes=_recognizes,
    looks_like='{"timestamp": …, "input_length": …, "output_length": …}',
    read=read,
)
