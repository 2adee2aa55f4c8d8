"""What is printed: the errors beside the noise floor, and the scheduler apart."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from rich import box
from rich.table import Table

from simulations.studies.fidelity.noise import Noise
from simulations.studies.fidelity.predict import Errors
from simulations.studies.fidelity.scheduler import SchedulerEquality

COLUMNS = MappingProxyType(
    {
        "ttft_mean": "TTFT",
        "ttft_p95": "p95",
        "tpot_mean": "TPOT",
        "e2e_mean": "E2E",
        "waiting_mean": "waiting",
        "preemptions": "preempted",
        "prefix_hit_tokens": "hits",
    }
)
WIDTH = 124
"""What the tables need; a narrower terminal wraps them."""


def error_table(rows: Sequence[Errors], noises: Sequence[Noise]) -> Table:
    """Errors of each run, blind and told the machine's speed, and the noise floor."""
    heads = ("run", "mode", "requests", *COLUMNS.values(), "machine told")
    table = _table("predicted against measured, in per cent", _caption(rows, noises), heads)
    for row in rows:
        cells = [_per_cent(getattr(row, f"{key}_error")) for key in COLUMNS]
        factors = (row.speed_reading, row.speed_arithmetic, row.speed_pause)
        speed = " ".join(f"{factor:.2f}" for factor in factors) if row.mode == "told" else ""
        table.add_row(row.run, row.mode, str(row.requests), *cells, speed)
    table.add_section()
    for noise in noises:
        cells = [_per_cent(getattr(noise, f"{key}_difference", None)) for key in COLUMNS]
        table.add_row(noise.second, "again", str(noise.requests), *cells, "")
    return table


def scheduler_table(rows: Sequence[SchedulerEquality]) -> Table:
    """How much of each step log comes out the same."""
    steps, equal = sum(row.steps for row in rows), sum(row.equal_steps for row in rows)
    table = _table(
        "the scheduler, told when each step began and ended",
        f"{equal:,} of {steps:,} steps have as many requests and tokens in them",
        ("run", "steps", "equal", "equal KV", "preempted", "hit tokens", "TTFT %", "E2E %"),
    )
    for row in rows:
        table.add_row(
            row.run,
            str(row.steps),
            str(row.equal_steps),
            str(row.equal_kv_steps),
            f"{row.preemptions} of {row.preemptions_measured}",
            f"{row.prefix_hit_tokens} of {row.prefix_hit_tokens_measured}",
            _per_cent(row.ttft_mean_error),
            _per_cent(row.e2e_mean_error),
        )
    return table


def _table(title: str, caption: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, caption=caption, box=box.SIMPLE)
    for head in heads:
        table.add_column(head, justify="left" if head in ("run", "mode") else "right", no_wrap=True)
    return table


def _per_cent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f}"


def _preempted(rows: Sequence[Errors]) -> str:
    """Preemptions of all runs together, as single runs have few."""
    predicted, measured = (
        sum(getattr(row, key) for row in rows) for key in ("preemptions", "preemptions_measured")
    )
    if not measured:
        return ""
    return f"; {predicted} of {measured} preemptions ({_per_cent(predicted / measured - 1.0)} %)"


def _caption(rows: Sequence[Errors], noises: Sequence[Noise]) -> str:
    keys = ("ttft_mean", "tpot_mean", "e2e_mean")
    lines = []
    for mode in ("blind", "told"):
        of_mode = [row for row in rows if row.mode == mode]
        medians = [
            f"{COLUMNS[key]} {100 * float(np.median(np.abs(found))):.1f} %"
            for key in keys
            if (found := [v for row in of_mode if (v := getattr(row, f"{key}_error")) is not None])
        ]
        lines.append(f"{mode}: medians " + ", ".join(medians) + _preempted(of_mode))
    lines += [
        f"noise floor: {noise.second} after {noise.first} "
        + ", ".join(f"{COLUMNS[k]} {_per_cent(getattr(noise, f'{k}_difference'))} %" for k in keys)
        for noise in noises
    ]
    lines.append("machine told: factors on the calibration's reading, arithmetic and pauses")
    return "\n".join(lines)
