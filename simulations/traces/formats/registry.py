"""Every trace format that is read: one file and one line here. Found by content, not by name."""

from __future__ import annotations

from simulations.traces.formats import (
    azure_csv,
    burstgpt_csv,
    count_series,
    mooncake_jsonl,
    plain_csv,
    servegen_windows,
)

TRACES = (
    azure_csv.FORMAT,
    mooncake_jsonl.FORMAT,
    burstgpt_csv.FORMAT,
    servegen_windows.FORMAT,
    # before plain CSV: counts may have token columns too, requests have no count
    count_series.FORMAT,
    plain_csv.FORMAT,
)
"""In the order in which they are tried."""
