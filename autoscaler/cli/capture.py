"""`autoscaler capture`: a trace of what a Prometheus saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autoscaler.cli.exits import end_with
from autoscaler.cli.prometheus_options import reads_prometheus


@click.command()
@reads_prometheus
@click.option("--namespace", help="Of the model's pods; any by default.")
@click.option("--model", help="Its model_name; may be left out where there is only one.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawn requests.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("captured.csv.gz"),
    show_default=True,
    help="The trace; replicas, holes and means go to a file beside it.",
)
def capture(**options: Any) -> None:
    """Make a trace of what a Prometheus saw of a model, for `autoscaler simulate`. Only reads."""
    from simulations.field.capture.run import run_capture

    end_with(run_capture(**options))
