"""`autoscaler capture`: a trace of what a Prometheus saw."""

from __future__ import annotations

from pathlib import Path

import click

from autoscaler.cli.exits import end_with


@click.command()
@click.option("--prometheus", required=True, metavar="URL", help="A Prometheus that scrapes vLLM.")
@click.option("--namespace", help="Of the model's pods; any by default.")
@click.option("--model", help="Its model_name; may be left out where there is only one.")
@click.option("--since", default="7d", show_default=True, metavar="SPAN", help="As 7d, 12h, 90m.")
@click.option(
    "--step",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Resolution; not finer than what is scraped.",
)
@click.option("--bearer-token-file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--ca-file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawn requests.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("captured.csv.gz"),
    show_default=True,
    help="The trace; replicas, holes and means go to a file beside it.",
)
def capture(
    *,
    prometheus: str,
    namespace: str | None,
    model: str | None,
    since: str,
    step: int,
    bearer_token_file: Path | None,
    ca_file: Path | None,
    headers: tuple[str, ...],
    seed: int,
    output: Path,
) -> None:
    """Make a trace of what a Prometheus saw of a model, for `autoscaler simulate`. Only reads."""
    from simulations.capture.ranges import Server, header_pairs
    from simulations.capture.run import run_capture

    pairs = header_pairs(headers)
    server = Server(
        url=prometheus, bearer_token_file=bearer_token_file, ca_file=ca_file, headers=pairs
    )
    end_with(
        run_capture(
            server=server,
            output=output,
            namespace=namespace,
            model=model,
            since=since,
            step=step,
            seed=seed,
        )
    )
