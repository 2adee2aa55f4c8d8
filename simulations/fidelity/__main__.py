"""`python -m simulations.fidelity DIR`: how far the serving model is from a real vLLM.

Fits on the calibration runs (of DIR, and of `--calibration`), predicts every run in DIR, twice: *blind*
with the calibration's speed, and *told* the machine's speed in that run, as three factors from the
run's own step log.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from autoscaler.errors import AutoscalerError
from simulations.fidelity.fit import Coefficients, Speed, fit, speed_of
from simulations.fidelity.predict import Errors, predict
from simulations.fidelity.runs import Run, read_runs

COLUMNS = {
    "ttft_mean_error": "TTFT",
    "ttft_p95_error": "TTFT p95",
    "tpot_mean_error": "TPOT",
    "e2e_mean_error": "E2E",
    "waiting_mean_error": "waiting",
    "preemptions_error": "preemptions",
    "prefix_hit_tokens_error": "prefix hits",
}


def default_calibration() -> Path:
    """FIXTURES/vllm-runs, or a sibling folder's."""
    root = Path(os.environ.get("FIXTURES", Path.cwd().parent / "shared" / "fixtures"))
    return root / "vllm-runs"


def fidelity(runs: Sequence[Run], calibrations: Sequence[Run]) -> list[Errors]:
    """Errors of every run, blind and told, in order of the runs."""
    fitted: dict[str, Coefficients] = {}
    rows = []
    for run in runs:
        if run.model not in fitted:
            fitted[run.model] = fit([c for c in calibrations if c.model == run.model])
        coefficients = fitted[run.model]
        rows.append(predict(run, coefficients, Speed(), mode="blind"))
        rows.append(predict(run, coefficients, speed_of(run, coefficients), mode="told"))
    return rows


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Folder of runs to fit on, beside those in DIR.  [default: FIXTURES/vllm-runs]",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def main(folder: Path, calibration: Path | None, output: str) -> None:
    """Read, fit, predict, print."""
    try:
        runs = read_runs(folder)
        known = {run.name: run for run in runs if run.calibration}
        other = calibration or default_calibration()
        if calibration is not None or other.is_dir():
            known |= {run.name: run for run in read_runs(other) if run.calibration}
        rows = fidelity(runs, list(known.values()))
    except AutoscalerError as error:
        click.echo(f"fidelity: {error}", err=True)
        sys.exit(2)
    if output == "json":
        click.echo(msgspec.json.encode({"rows": [asdict(row) for row in rows]}).decode())
    else:
        Console(width=None).print(_table(rows))


def _table(rows: Sequence[Errors]) -> Table:
    table = Table(title="predicted against measured, in per cent", caption=_caption(rows))
    table.add_column("run", no_wrap=True)
    table.add_column("mode")
    table.add_column("requests", justify="right")
    for title in COLUMNS.values():
        table.add_column(title, justify="right")
    for row in rows:
        cells = [getattr(row, key) for key in COLUMNS]
        table.add_row(
            row.run,
            row.mode,
            str(row.requests),
            *("" if cell is None else f"{100 * cell:+.1f}" for cell in cells),
        )
    return table


def _caption(rows: Sequence[Errors]) -> str:
    parts = []
    for mode in ("blind", "told"):
        medians = [
            f"{title} {100 * float(np.median(found)):.1f} %"
            for key, title in COLUMNS.items()
            if (
                found := [
                    abs(v)
                    for row in rows
                    if row.mode == mode and (v := getattr(row, key)) is not None
                ]
            )
            and key in ("ttft_mean_error", "tpot_mean_error", "e2e_mean_error")
        ]
        parts.append(f"{mode}: medians " + ", ".join(medians))
    return "\n".join(parts)


if __name__ == "__main__":
    main()
