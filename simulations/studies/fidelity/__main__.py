"""`python -m simulations.studies.fidelity DIR`: how far the serving model is from a real vLLM.

Fits on the calibration runs (of DIR, and of `--calibration`), predicts every run in DIR, twice: *blind*
with the calibration's speed, and *told* the machine's speed in that run, as three factors from the
run's own step log. Beside it the noise floor, which is the same plan run twice, and the scheduler alone:
told when each step of the real engine began, does it put the same work into it?
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import msgspec
from rich.console import Console

from autoscaler.errors import AutoscalerError
from simulations.studies.fidelity.fit import FittedCoefficients, Speed, fit, speed_of
from simulations.studies.fidelity.noise import noise_floor
from simulations.studies.fidelity.predict import Errors, predict
from simulations.studies.fidelity.runs import MeasuredRun, read_runs
from simulations.studies.fidelity.scheduler import scheduler_equality
from simulations.studies.fidelity.tables import WIDTH, error_table, scheduler_table


def default_calibration() -> Path:
    """FIXTURES/vllm-runs, or a sibling folder's."""
    root = Path(os.environ.get("FIXTURES", Path.cwd().parent / "shared" / "fixtures"))
    return root / "vllm-runs"


def fidelity(runs: Sequence[MeasuredRun], calibrations: Sequence[MeasuredRun]) -> list[Errors]:
    """Errors of every run, blind and told, in order of the runs."""
    fitted: dict[str, FittedCoefficients] = {}
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
        noises = noise_floor(list({run.name: run for run in [*known.values(), *runs]}.values()))
        schedulers = [scheduler_equality(run) for run in runs]
    except AutoscalerError as error:
        click.echo(f"fidelity: {error}", err=True)
        sys.exit(2)
    if output == "json":
        document = {
            "rows": [asdict(row) for row in rows],
            "noise": [asdict(row) for row in noises],
            "scheduler": [asdict(row) for row in schedulers],
        }
        click.echo(msgspec.json.encode(document).decode())
    else:
        console = Console()
        console.width = max(console.width, WIDTH)
        console.print(error_table(rows, noises), scheduler_table(schedulers))


if __name__ == "__main__":
    main()
