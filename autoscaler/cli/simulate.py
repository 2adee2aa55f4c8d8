"""`autoscaler simulate`: policies on recorded traffic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoscaler.cli.exits import end_with
from autoscaler.errors import SettingsError

if TYPE_CHECKING:
    from autoscaler.core.contract.spec import WarmFloor


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
    help="Run every baseline at the best of its settings too, chosen in hindsight.",
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
    "--in-flight-target",
    default="x1",
    show_default=True,
    metavar="N|xF|default",
    help="What every policy is told that a replica carries: N, F times what a load test on the trace "
    "finds, or what ships.",
)
@click.option(
    "--max-replicas",
    type=click.IntRange(min=1),
    help="Of the fleet; by default 10, or half more than the peak needs.",
)
@click.option(
    "--warm-floor",
    metavar="FILE[,begins=MOMENT]",
    callback=lambda _context, _option, text: None if text is None else _warm_floor(text),
    help="Keep warm what the one resource in this file asks for, schedules and ramp included; begins: when the "
    "trace's zero is, as 2026-11-30T00:00+01:00 (by default 2026-01-01, a Thursday, 00:00 UTC).",
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
    "--score-from",
    default="0",
    show_default=True,
    metavar="SECONDS|24h|repeat",
    help="Play what comes before and do not score it, so that every policy begins warm; repeat: all of a "
    "recording named with repeat= before it begins anew.",
)
@click.option(
    "--bounds",
    is_flag=True,
    help="Hold every row against the least that anyone could have paid, and against the cheapest "
    "schedules found in hindsight.",
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


def _warm_floor(text: str) -> WarmFloor:
    """Read what a resource keeps warm, its schedules moved to the replay's clock."""
    from dataclasses import replace

    from autoscaler.core.contract.schedules import moved
    from autoscaler.core.contract.state import CapacityType
    from autoscaler.settings import load_config, to_core
    from simulations.agenda import EPOCH_S

    path, _, setting = text.partition(",")
    resources = load_config(Path(path)).resources
    if len(resources) != 1:
        raise SettingsError(
            f"--warm-floor {path}: {len(resources)} resources; name a file with the one whose floor is to be kept"
        )
    floor = to_core(resources[0]).warm_floor
    by_s = EPOCH_S - _begins_at(setting) if setting else 0
    return replace(
        floor,
        capacity_type=CapacityType.ON_DEMAND,  # where a replay keeps what is warm
        schedules=tuple(moved(schedule, by_s) for schedule in floor.schedules),
    )


def _begins_at(setting: str) -> int:
    """Read `begins=` as seconds since the epoch."""
    from datetime import datetime

    key, _, value = setting.partition("=")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if key != "begins" or moment is None or moment.tzinfo is None:
        raise SettingsError(
            f"--warm-floor …,{setting}: write begins= and a moment with its offset, such as "
            "begins=2026-11-30T00:00+01:00"
        )
    return round(moment.timestamp())
