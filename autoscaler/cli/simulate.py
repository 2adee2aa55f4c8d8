"""`autoscaler simulate`: policies on recorded traffic."""

from __future__ import annotations

from pathlib import Path

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
    "--profile", default="llama-3.1-8b/1xL40S", show_default=True, help="What a replica is."
)
@click.option(
    "--cold-start",
    default="standard",
    show_default=True,
    metavar="hot|warm|standard|cold|SECONDS",
    help="From a replica asked for to ready.",
)
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Copies of the trace, each moved by up to 60 s; a fraction thins. Time is not stretched.",
)
@click.option(
    "--objective",
    default="ttft=2,tpot=0.1",
    show_default=True,
    metavar="ttft=S,tpot=S",
    help="What a request is owed.",
)
@click.option("--max-replicas", type=click.IntRange(min=1), help="Of the fleet.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Runs each."
)
@click.option(
    "--spot", metavar="TRACE", help="A recording of a spot market; on-demand nodes only by default."
)
@click.option(
    "--spot-lead",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="From the notice to the loss of a spot node.",
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
    "--jobs", type=click.IntRange(min=1), help="Runs side by side; one a processor by default."
)
@click.option(
    "-o",
    "output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
)
def simulate(
    *,
    traces: tuple[str, ...],
    policies: tuple[str, ...],
    profile: str,
    cold_start: str,
    scale: float,
    objective: str,
    max_replicas: int | None,
    seeds: int,
    spot: str | None,
    spot_lead: float,
    bounds: bool,
    report: Path | None,
    jobs: int | None,
    output: str,
) -> None:
    """Replay traffic through policies and say what each would have served, lost and cost."""
    from simulations.simulate import run_simulate

    end_with(
        run_simulate(
            traces=traces,
            policies=policies,
            profile=profile,
            cold_start=cold_start,
            scale=scale,
            objective=objective,
            max_replicas=max_replicas,
            seeds=seeds,
            spot=spot,
            spot_lead=spot_lead,
            bounds=bounds,
            report=report,
            jobs=jobs,
            output=output,
        )
    )
