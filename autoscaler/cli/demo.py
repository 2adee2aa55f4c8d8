"""`autoscaler demo`: the real daemon in a box."""

from __future__ import annotations

from pathlib import Path

import click

from autoscaler.cli.exits import end_with


@click.command()
@click.option("--plain", is_flag=True, help="Lines instead of the live view.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the daemon's recording in this folder.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the load.")
def demo(plain: bool, record: Path | None, seed: int) -> None:
    """Run the real daemon against a cluster in a box, under load, while a spot node is reclaimed."""
    from simulations.box.demo import run_demo

    end_with(run_demo(plain=plain, record=record, seed=seed))
