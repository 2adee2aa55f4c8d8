"""From rows to the report's file."""

from __future__ import annotations

import importlib.util
import itertools
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from autoscaler.errors import SettingsError
from simulations.report.page import BoundCurve, Entry, render
from simulations.scorecard import Row

COLUMNS = {
    "cost_usd": "cost, USD",
    "attainment": "attained",
    "ratio": "cost / bound",
    "relaxed_ratio": "cost / relaxed bound",
    "gpu_hours": "GPU h",
    "worst_5min_attainment": "worst 5 min",
    "ttft_p95_s": "TTFT p95, s",
    "tpot_p95_s": "TPOT p95, s",
    "replicas_mean": "replicas",
    "starts": "starts",
    "flaps": "flaps",
    "aborted": "aborted",
    "lost": "lost",
}
MORE_IS_BETTER = {"attainment", "worst_5min_attainment"}


def check_report(path: Path) -> None:
    """Say what would keep a report from being written, before the runs that it is to show.

    Raises:
        SettingsError: There is no such folder, or plotly is not installed.
    """
    if not path.parent.is_dir():
        raise SettingsError(f"--report {path}: no folder {path.parent}; give one that exists")
    if importlib.util.find_spec("plotly") is None:
        raise SettingsError(
            "--report: plotly is not installed; pip install 'inference-autoscaler[report]'"
        )


def write_report(path: Path, rows: Sequence[Row], *, curves: Sequence[BoundCurve]) -> None:
    """Write the report of a comparison.

    Raises:
        SettingsError: The file cannot be written, or plotly is not installed.
    """
    entries = list(_entries(rows))
    bounded = any(row.bound is not None for row in rows)
    columns = {key: title for key, title in COLUMNS.items() if bounded or not key.endswith("ratio")}
    seeds = len({row.seed for row in rows})
    page = render(
        title="Replay",
        subtitle=(
            f"{len({row.policy for row in rows})} policies, {seeds} seed{'s' if seeds > 1 else ''}; "
            "small figures are the worst seed's; charts are of the first"
        ),
        entries=entries,
        columns=columns,
        bounds=curves,
    )
    try:
        path.write_text(page)
    except OSError as error:
        message = f"--report {path}: {error}; give a file in a folder that exists"
        raise SettingsError(message) from error


def _entries(rows: Sequence[Row]) -> Iterator[Entry]:
    told_by = operator.attrgetter("trace", "policy", "setting")
    for (trace, policy, setting), group in itertools.groupby(rows, key=told_by):
        of_policy = list(group)
        table = [_figures(row) for row in of_policy]
        yield Entry(
            trace=trace,
            policy=policy,
            setting=setting or "default",
            seeds=len(of_policy),
            figures={key: _mean([line[key] for line in table]) for key in COLUMNS},
            worst={key: _worst(key, [line[key] for line in table]) for key in COLUMNS},
            timeline=of_policy[0].timeline,
        )


def _figures(row: Row) -> dict[str, float | None]:
    return {
        "cost_usd": row.cost_usd,
        "attainment": row.attainment,
        "ratio": None if row.bound is None else row.bound.ratio,
        "relaxed_ratio": None if row.bound is None else row.bound.relaxed_ratio,
        "gpu_hours": row.gpu_hours,
        "worst_5min_attainment": row.worst_5min_attainment,
        "ttft_p95_s": row.ttft_s.p95,
        "tpot_p95_s": row.tpot_s.p95,
        "replicas_mean": row.replicas_mean,
        "starts": float(row.starts),
        "flaps": float(row.flaps),
        "aborted": float(row.aborted),
        "lost": float(row.lost),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _worst(key: str, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return min(known) if key in MORE_IS_BETTER else max(known)
