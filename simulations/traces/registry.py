"""Every trace format that is read: one file and one line here. Found by content, not by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulations.traces import azure_csv, mooncake_jsonl, plain_csv
from simulations.traces.rows import RequestRows, TraceLines


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFormat:
    """One format: how to tell it, and how to read it."""

    recognizes: Callable[[str], bool]
    """Whether a file whose first line that is not empty is this one is of the format."""
    read: Callable[[TraceLines, RequestRows], None]
    """Reads every request, in order of arrival; raises TraceError."""
    looks_like: str
    """For people: how a file of this format begins."""


TRACES: Mapping[str, TraceFormat] = MappingProxyType(
    {
        azure_csv.NAME: TraceFormat(
            recognizes=azure_csv.recognizes,
            read=azure_csv.read,
            looks_like="TIMESTAMP,ContextTokens,GeneratedTokens",
        ),
        mooncake_jsonl.NAME: TraceFormat(
            recognizes=mooncake_jsonl.recognizes,
            read=mooncake_jsonl.read,
            looks_like='{"timestamp": …, "input_length": …, "output_length": …}',
        ),
        plain_csv.NAME: TraceFormat(
            recognizes=plain_csv.recognizes,
            read=plain_csv.read,
            looks_like=plain_csv.HEADER,
        ),
    }
)
