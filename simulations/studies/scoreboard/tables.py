"""The table of an entry: one row a policy and setting."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.results.seeds import SeedAverage
from simulations.results.text import markdown_table, number_text, percent_text
from simulations.runs.sweep import BEST

_NUMBERS = (
    ("ratio", "ratio", ".2f"),
    ("relaxed", "relaxed_ratio", ".2f"),
    ("GPU h", "gpu_hours", ".1f"),
    ("goodput/s per GPU", "goodput_per_gpu", ".3f"),
    ("replicas", "replicas_mean", ".2f"),
    ("max", "", ""),
    ("worst 5 min", "", ""),
    ("TTFT p50 s", "ttft_p50_s", ".2f"),
    ("p95", "ttft_p95_s", ".2f"),
    ("p99", "ttft_p99_s", ".2f"),
    ("TPOT p50 s", "tpot_p50_s", ".3f"),
    ("p95", "tpot_p95_s", ".3f"),
    ("p99", "tpot_p99_s", ".3f"),
    ("starts/day", "starts_per_day", ".0f"),
    ("flaps", "flaps", ".0f"),
    ("aborted", "aborted", ".0f"),
    ("lost", "lost", ".0f"),
)
"""Head, figure and form of each column behind the attainments; two are no means."""
_SPOT_NUMBERS = (
    ("interruptions", "interruptions", ".1f"),
    ("lost in notice", "lost_within_notice", ".1f"),
    ("fallback h", "fallback_hours", ".1f"),
)


def entry_table(averages: Sequence[SeedAverage], *, attainment_ratio: float) -> str:
    """One row a policy and setting; columns of spot only where there was spot."""
    spot = any(average.mean["interruptions"] is not None for average in averages)
    numbers = _NUMBERS + (_SPOT_NUMBERS if spot else ())
    heads = (
        *("policy", "setting", "attains", "cost $ mean", "worst"),
        *("attained mean", "worst", "of unlimited"),
        *(head for head, _, _ in numbers),
    )
    rows = [
        (
            average.policy,
            _setting(average),
            "yes" if average.attainment >= attainment_ratio else "no",
            number_text(average.cost_usd),
            number_text(average.worst["cost_usd"]),
            percent_text(average.attainment),
            percent_text(average.worst["attainment"]),
            percent_text(average.mean["attainment_relative"]),
            *(_cell(average, *number) for number in numbers),
        )
        for average in averages
    ]
    return markdown_table(heads, rows, left=(0, 1))


def _cell(average: SeedAverage, head: str, figure: str, form: str) -> str:
    if head == "max":
        return str(average.replicas_max)
    if head == "worst 5 min":
        return percent_text(average.worst["worst_5min_attainment"], 1)
    return number_text(average.mean[figure], form)


def _setting(average: SeedAverage) -> str:
    if average.setting != BEST:
        return average.setting
    return f"{average.setting}: {parameters_text(average)}"


def parameters_text(average: SeedAverage) -> str:
    """Those that its setting changes."""
    return ", ".join(f"{name}={value:g}" for name, value in sorted(average.parameters.items()))
