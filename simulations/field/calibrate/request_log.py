"""A log of requests and of what their clients saw: CSV or JSON lines, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import TraceError
from simulations.serving.columns import RequestColumns

NAMES = ("t_s", "input_tokens", "output_tokens", "ttft_s", "e2e_s")
"""`t_s` is when it was sent, the last two are durations from then."""
REPLICA = "replica"
"""Who served it; without this column, all were served by one replica."""
FORM = f"{','.join(NAMES)}[,{REPLICA}]"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRequests:
    """What one replica was sent, and how it fared."""

    columns: RequestColumns
    ttft_s: FloatArray
    e2e_s: FloatArray

    @property
    def tpot_s(self) -> FloatArray:
        """Mean time between tokens; NaN where there is only one."""
        between = np.where(self.columns.output_tokens > 1, self.columns.output_tokens - 1.0, np.nan)
        return np.asarray((self.e2e_s - self.ttft_s) / between, dtype=np.float64)


def read_request_log(path: Path) -> list[ServedRequests]:
    """The requests of a log, by replica.

    Raises:
        TraceError: It cannot be read; the message says where and why.
    """
    by_replica: dict[str, list[tuple[float, ...]]] = {}
    for number, row in _rows(path):
        try:
            values = tuple(float(row[name]) for name in NAMES)
        except (KeyError, TypeError, ValueError):
            raise TraceError(
                f"{path}: line {number}: not all of {', '.join(NAMES)} are numbers; write {FORM}"
            ) from None
        if not all(np.isfinite(values)) or values[3] <= 0 or values[4] < values[3]:
            raise TraceError(
                f"{path}: line {number}: 0 < ttft_s <= e2e_s does not hold; leave out requests that "
                "did not complete"
            )
        by_replica.setdefault(str(row.get(REPLICA, "")), []).append(values)
    if not by_replica:
        raise TraceError(f"{path}: no requests in it; write a header and rows of {FORM}")
    earliest = min(values[0] for rows in by_replica.values() for values in rows)
    return [_served(sorted(rows), earliest) for _, rows in sorted(by_replica.items())]


def _served(rows: list[tuple[float, ...]], earliest_s: float) -> ServedRequests:
    sent, prompt, output, ttft, e2e = np.array(rows).T
    return ServedRequests(
        columns=RequestColumns(
            arrival_ns=np.round((sent - earliest_s) * 1e9).astype(np.int64),
            prompt_tokens=prompt.astype(np.int64),
            output_tokens=output.astype(np.int64),
        ),
        ttft_s=ttft,
        e2e_s=e2e,
    )


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Lines with their numbers, as mappings."""
    try:
        body = path.read_bytes()
        text = (gzip.decompress(body) if body.startswith(_GZIP) else body).decode()
    except (OSError, EOFError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise TraceError(f"reading the request log {path}: {error}") from error
    lines = text.splitlines()
    if lines and lines[0].lstrip().startswith("{"):
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, _object(path, number, line)
        return
    yield from enumerate(csv.DictReader(lines), start=2)


def _object(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise TraceError(f"{path}: line {number}: no JSON object; write {{{FORM}}} as keys")
    return found
