"""`python -m simulations.studies.benchmark kernel|ticks|trace|memory [-o json]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import click
from rich.console import Console

from autoscaler.errors import AutoscalerError
from simulations.results.text import text_table
from simulations.studies.benchmark.kernel import kernel_cells, kernel_row
from simulations.studies.benchmark.memory import memory_cells, memory_row
from simulations.studies.benchmark.processes import Row, in_own_process
from simulations.studies.benchmark.ticks import ticks_cells, ticks_row
from simulations.studies.benchmark.whole_trace import trace_cells, trace_row

MADE_UP = "generate:diurnal,hours=24,rate=2"
BAD_INPUT = 2
_output = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
_repetitions = click.option(
    "--repetitions",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="The fastest one counts.",
)


@click.group()
def main() -> None:
    """Measure what the simulations cost on this machine."""


@main.command()
@click.option("--replicas", default="1,8,32,128", show_default=True, help="Sizes of fleets.")
@click.option("--requests", default=1_000_000, show_default=True, help="Of each row.")
@_repetitions
@_output
def kernel(replicas: str, requests: int, repetitions: int, output: str) -> None:
    """Requests per second of CPU time, beside the naive reference."""
    rows = [in_own_process(kernel_row, size, requests, repetitions) for size in _sizes(replicas)]
    _print(rows, kernel_cells, output)


@main.command()
@click.option("--replicas", default="1,8,32,128", show_default=True, help="Sizes of fleets.")
@click.option("--ticks", default=2_000, show_default=True, type=click.IntRange(min=1))
@_repetitions
@_output
def ticks(replicas: str, ticks: int, repetitions: int, output: str) -> None:
    """CPU time of a tick: the engine and the world around it, apart."""
    rows = [in_own_process(ticks_row, size, ticks, repetitions) for size in _sizes(replicas)]
    _print(rows, ticks_cells, output)


@main.command()
@click.argument("file", default=MADE_UP)
@click.option("--policy", "policies", multiple=True, default=["inference-aware"], show_default=True)
@click.option("--scale", default=1.0, show_default=True, type=click.FloatRange(0, min_open=True))
@_output
def trace(file: str, policies: tuple[str, ...], scale: float, output: str) -> None:
    """CPU time of a whole replay of FILE, from the first byte to the row."""
    try:
        rows = [in_own_process(trace_row, file, policy, scale) for policy in policies]
    except AutoscalerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(BAD_INPUT)
    _print(rows, trace_cells, output)


@main.command()
@click.option("--requests", default=10_000_000, show_default=True, type=click.IntRange(min=1))
@_output
def memory(requests: int, output: str) -> None:
    """Memory of so many requests, without their prefixes and with them."""
    rows = [memory_row(requests, prefixes=prefixes) for prefixes in (False, True)]
    _print(rows, memory_cells, output)


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise click.BadParameter(
            f"{text!r}: write numbers above 0, as 1,8,32", param_hint="--replicas"
        )
    return sizes


def _print(rows: list[Row], cells: Callable[[Row], dict[str, str]], output: str) -> None:
    if output == "json":
        print(json.dumps({"rows": rows}))
    else:
        Console().print(
            text_table(list(cells(rows[0])), [list(cells(row).values()) for row in rows])
        )


if __name__ == "__main__":
    main()
