"""`autoscaler simulate`: policies on recorded traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autoscaler.cli.exits import end_with


@click.command()
@click.argument("traces", nargs=-1, required=True, metavar="TRACE...")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    default=("inference-aware",),
    show_default=True,
    metavar="NAME|all",
    help="inference-aware, economic, reactive, a baseline (static-peak, hpa, keda, …), or all of them; "
    "may be repeated.",
)
@click.option(
    "--sweep",
    is_flag=True,
    help="Run every baseline at the best of its twelve settings too, chosen in hindsight.",
)
@click.option(
    "--objective",
    default="ttft=1+2x,tpot=0.1",
    show_default=True,
    metavar="ttft=S[+Fx],tpot=S",
    help="What a request is owed, in seconds; x is its own prefill on an idle replica.",
)
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Copies of the trace, each moved by up to 60 s; a fraction thins. Time is not stretched.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Runs each."
)
@click.option(
    "--profile",
    default="llama-3.1-8b/1xL40S",
    show_default=True,
    metavar="NAME|FILE",
    help="What a replica is; a file is one that `autoscaler calibrate` wrote.",
)
@click.option(
    "--prices",
    type=click.Path(dir_okay=False),
    help="Dollars per GPU-hour, in TOML, or a history of spot prices; list prices by default.",
)
@click.option(
    "--cold-start",
    default="standard",
    show_default=True,
    metavar="hot|warm|standard|cold|SECONDS|FILE",
    help="From a replica asked for to ready; a file holds starts that were measured.",
)
@click.option(
    "--max-replicas",
    type=click.IntRange(min=1),
    help="Of the fleet; by default 10, or half more than the peak needs.",
)
@click.option(
    "--routing",
    type=click.Choice(["round-robin", "least-outstanding", "prefix"]),
    default="least-outstanding",
    show_default=True,
    help="prefix: to whoever served most of the prompt before, unless that one is overfull.",
)
@click.option(
    "--spot",
    type=click.Path(dir_okay=False),
    metavar="TRACE",
    help="A recording of a spot market, PATH[,slot=…]; on-demand nodes only by default.",
)
@click.option(
    "--spot-lead",
    default="aws",
    show_default=True,
    metavar="aws|gcp|azure|none|SECONDS",
    help="From the notice to the loss of a spot node: 120, 30, 30 and 0 s.",
)
@click.option(
    "--faults",
    type=click.Path(dir_okay=False),
    help="What goes wrong, in TOML: metrics, watch, writes, starts; nothing by default.",
)
@click.option(
    "--bounds", is_flag=True, help="Hold every row against the least that anyone could have paid."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the comparison to this HTML file.",
)
@click.option(
    "-o",
    "output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="What goes to standard output.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Runs side by side; one a processor by default."
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Make the runs on this Ray cluster (auto: the one this machine is in), not in processes here.",
)
def simulate(**options: Any) -> None:
    """Replay traffic through policies and say what each would have served, lost and cost.

    TRACE is a recording (Azure or BurstGPT CSV, Mooncake JSON lines, ServeGen's windows,
    t_s,input_tokens,output_tokens, or counts), gzip'd or not, or PATH,from=2d,days=1 for a part of it;
    or it is made up: generate:diurnal (bursty, ramp, flat), as in generate:bursty,hours=2,rate=4.
    """
    from simulations.simulate import SimulateRequest, run_simulate

    end_with(run_simulate(SimulateRequest(**options)))
