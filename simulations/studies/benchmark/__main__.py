"""`python -m simulations.studies.benchmark kernel|ticks|trace|memory [-o json]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from autoscaler.errors import AutoscalerError
from simulations.studies.benchmark.kernel import kernel_row, kernel_table
from simulations.studies.benchmark.memory import memory_row, memory_table
from simulations.studies.benchmark.ticks import ticks_row, ticks_table
from simulations.studies.benchmark.whole_trace import trace_row, trace_table

MADE_UP = "generate:diurnal,hours=24,rate=2"
BAD_INPUT = 2
Measured = TypeVar("Measured")
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
    rows = [_in_own_process(kernel_row, size, requests, repetitions) for size in _sizes(replicas)]
    _print(rows, kernel_table, output)


@main.command()
@click.option("--replicas", default="1,8,32,128", show_default=True, help="Sizes of fleets.")
@click.option("--ticks", default=2_000, show_default=True, type=click.IntRange(min=1))
@_repetitions
@_output
def ticks(replicas: str, ticks: int, repetitions: int, output: str) -> None:
    """CPU time of a tick: the engine and the world around it, apart."""
    rows = [_in_own_process(ticks_row, size, ticks, repetitions) for size in _sizes(replicas)]
    _print(rows, ticks_table, output)


@main.command()
@click.argument("file", default=MADE_UP)
@click.option("--policy", "policies", multiple=True, default=["inference-aware"], show_default=True)
@click.option("--scale", default=1.0, show_default=True, type=click.FloatRange(0, min_open=True))
@_output
def trace(file: str, policies: tuple[str, ...], scale: float, output: str) -> None:
    """CPU time of a whole replay of FILE, from the first byte to the row."""
    try:
        rows = [_in_own_process(trace_row, file, policy, scale) for policy in policies]
    except AutoscalerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(BAD_INPUT)
    _print(rows, trace_table, output)


@main.command()
@click.option("--requests", default=10_000_000, show_default=True, type=click.IntRange(min=1))
@_output
def memory(requests: int, output: str) -> None:
    """Memory of so many requests, without their prefixes and with them."""
    rows = [memory_row(requests, prefixes=prefixes) for prefixes in (False, True)]
    _print(rows, memory_table, output)


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


def _in_own_process(measure: Callable[..., Measured], *arguments: object) -> Measured:
    """Call it in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def _print(rows: list[Any], table: Callable[[list[Any]], Table], output: str) -> None:
    if output == "json":
        print(json.dumps({"rows": [asdict(row) for row in rows]}))
    else:
        Console().print(table(rows))


if __name__ == "__main__":
    main()
