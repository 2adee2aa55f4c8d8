"""BurstGPT's CSV: `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type`.

Published as HPMLL/BurstGPT (Wang et al., "BurstGPT", KDD 2025): requests to GPT-3.5 and GPT-4 of one
Azure region, seconds from the recording's start. Later releases have a session and an elapsed time
beside. A request that failed has 0 response tokens: how long its answer would have been nobody
knows, so it is left out, and counted.
"""

from __future__ import annotations

from simulations.traces.contents import TraceFormat
from simulations.traces.rows import (
    RequestRows,
    TraceLines,
    csv_rows,
    integer,
    named_columns,
    nanoseconds,
)

COLUMNS = ("Timestamp", "Model", "Request tokens", "Response tokens", "Log Type")
HEADER = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"


def read(lines: TraceLines, rows: RequestRows) -> None:
    """Read every request that was answered, of the model and log type asked for, into `rows`."""
    places = named_columns(lines, next(iter(lines)), COLUMNS)
    model_wanted, log_wanted = rows.settings.get("model"), rows.settings.get("log_type")
    failed = 0
    seen: dict[tuple[str, str], None] = {}
    for time, model, prompt, output, log in csv_rows(lines, places, form=HEADER):
        seen[model, log] = None
        if model_wanted not in (None, model) or log_wanted not in (None, log):
            continue
        output_tokens = integer(lines, output, column="Response tokens")
        if output_tokens == 0:
            failed += 1
            continue
        rows.append(
            lines,
            at_ns=nanoseconds(lines, time, column="Timestamp"),
            prompt_tokens=integer(lines, prompt, column="Request tokens"),
            output_tokens=output_tokens,
        )
    if failed:
        total = failed + len(rows.arrival_ns)
        rows.notes.append(
            f"{failed} of {total} requests failed (0 response tokens) and are left out"
        )
    elif not rows.arrival_ns and seen:
        models = ", ".join(dict.fromkeys(model for model, _ in seen))
        logs = ", ".join(dict.fromkeys(log for _, log in seen))
        rows.notes.append(f"it has model {models}, and log_type {logs}")


FORMAT = TraceFormat(
    name="burstgpt-csv",
    columns=COLUMNS,
    looks_like=HEADER,
    read=read,
    settings=("model", "log_type"),
)
