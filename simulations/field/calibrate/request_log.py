"""A log of requests and of what their clients saw: CSV or JSON lines, plain or gzipped."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import TraceError
from simulations.serving.columns import RequestColumns
from simulations.traces.files import open_lines
from simulations.traces.rows import TraceLines

NAMES = ("t_s", "input_tokens", "output_tokens", "ttft_s", "e2e_s")
"""`t_s` is when it was sent, the last two are durations from then."""
REPLICA = "replica"
"""Who served it; without this column, all were served by one replica."""
FORM = f"{','.join(NAMES)}[,{REPLICA}]"


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
    with open_lines(path) as lines:
        for row in _rows(lines):
            try:
                values = tuple(float(row[name]) for name in NAMES)
            except (KeyError, TypeError, ValueError):
                raise lines.failure(
                    f"not all of {', '.join(NAMES)} are numbers", remedy=f"write {FORM}"
                ) from None
            if not all(np.isfinite(values)) or values[3] <= 0 or values[4] < values[3]:
                raise lines.failure(
                    "0 < ttft_s <= e2e_s does not hold",
                    remedy="leave out requests that did not complete",
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


def _rows(lines: TraceLines) -> Iterator[Mapping[str, Any]]:
    text = iter(lines)
    first = next(text, "")
    if not first.startswith("{"):
        yield from csv.DictReader(itertools.chain([first], text))
        return
    for line in itertools.chain([first], text):
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise lines.failure("no JSON object", remedy=f"write {{{FORM}}} as keys")
        yield found
