"""Every trace format that is read: one file and one line here. Found by content, not by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulations.traces.contents import TraceContents
from simulations.traces.formats import (
    azure_csv,
    burstgpt_csv,
    count_series,
    mooncake_jsonl,
    plain_csv,
    servegen_windows,
)
from simulations.traces.rows import RequestRows, TraceLines, header_columns
from simulations.traces.spec import TraceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFormat:
    """One format: how to tell it, and how to read it; `read` or `draw`."""

    name: str
    looks_like: str
    """For people: how a file of this format begins."""
    columns: tuple[str, ...] = ()
    """Of CSV: names that its header has; others may stand beside them."""
    fields: tuple[str, ...] = ()
    """Of JSON lines: keys that its first object has."""
    read: Callable[[TraceLines, RequestRows], None] | None = None
    """Reads every request, in order of arrival; raises TraceError."""
    draw: Callable[[TraceLines, TraceSpec], TraceContents] | None = None
    """Draws all steps that the part asked for touches, thinned; raises TraceError."""
    settings: tuple[str, ...] = ()
    """What may stand behind the path, beside what every format takes."""
    wall_clock: bool = False
    """Its times are dates: `from=` counts from the first request."""

    def recognizes(self, first_line: str) -> bool:
        """Whether a file whose first line that is not empty is this one is of the format."""
        if self.columns:
            return header_columns(first_line, self.columns) is not None
        try:
            row = json.loads(first_line)
        except ValueError:
            return False
        return isinstance(row, dict) and all(field in row for field in self.fields)


FORMATS = (
    TraceFormat(
        name=azure_csv.NAME,
        columns=azure_csv.COLUMNS,
        read=azure_csv.read,
        looks_like="TIMESTAMP,ContextTokens,GeneratedTokens",
        wall_clock=True,
    ),
    TraceFormat(
        name=mooncake_jsonl.NAME,
        fields=mooncake_jsonl.FIELDS,
        read=mooncake_jsonl.read,
        looks_like='{"timestamp": …, "input_length": …, "output_length": …}',
    ),
    TraceFormat(
        name=burstgpt_csv.NAME,
        columns=burstgpt_csv.COLUMNS,
        read=burstgpt_csv.read,
        looks_like=burstgpt_csv.HEADER,
        settings=burstgpt_csv.SETTINGS,
    ),
    TraceFormat(
        name=servegen_windows.NAME,
        columns=servegen_windows.COLUMNS,
        draw=servegen_windows.draw,
        looks_like=servegen_windows.HEADER,
        settings=servegen_windows.SETTINGS,
    ),
    # before plain CSV: counts may have token columns too, requests have no count
    TraceFormat(
        name=count_series.NAME,
        columns=count_series.COLUMNS,
        draw=count_series.draw,
        looks_like=count_series.HEADER,
        settings=count_series.SETTINGS,
    ),
    TraceFormat(
        name=plain_csv.NAME,
        columns=plain_csv.COLUMNS,
        read=plain_csv.read,
        looks_like=plain_csv.HEADER,
    ),
)
TRACES: Mapping[str, TraceFormat] = MappingProxyType({format_.name: format_ for format_ in FORMATS})
"""In the order in which they are tried."""
