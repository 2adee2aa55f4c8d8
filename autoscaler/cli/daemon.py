"""`autoscaler run`, `check`, `rehearse` and `replay`: the daemon, its settings, its spot drill, its recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from autoscaler.cli.exits import FAILED, end_with

_config = click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path),
    help="A file of InferenceAutoscaler documents, or a folder of such files.",
)


def _cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--context", help="The kubeconfig's context; its current one by default."),
        click.option(
            "--kubeconfig",
            help="By default KUBECONFIG, the pod's service account, or ~/.kube/config.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@_config
@click.option("--dry-run", is_flag=True, help="Do everything but the writes.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for the recording, which `autoscaler replay` reproduces.",
)
@click.option(
    "--record-limit",
    "record_limit_mib",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    metavar="MIB",
    help="The oldest parts of the recording are deleted beyond this size.",
)
@_cluster_options
@click.option(
    "--listen",
    default=":8080",
    show_default=True,
    metavar="HOST:PORT",
    help="For /metrics, /healthz, /readyz and /debug/models.",
)
@click.option(
    "--tick-seconds",
    "--tick",
    "tick_s",
    type=click.FloatRange(0.1, 60),
    default=5.0,
    show_default=True,
    help="Between two decisions.",
)
@click.option(
    "--gpu-budget", type=click.IntRange(min=0), help="GPUs over all models; no limit by default."
)
@click.option(
    "--dcgm-namespace",
    default="gpu-operator",
    show_default=True,
    help="Where the DCGM exporter runs; empty: looked for everywhere.",
)
@click.option(
    "--dcgm-selector",
    default="app=nvidia-dcgm-exporter",
    show_default=True,
    help="Labels of its pods; empty: it is not read.",
)
@click.option(
    "--dcgm-port", type=click.IntRange(1, 65_535), default=9400, show_default=True, help="Its port."
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "pretty"]),
    default="auto",
    show_default=True,
    help="auto: pretty on a terminal, else JSON.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="debug has a line for every decision, also when nothing changed.",
)
def run(*, log_format: str, log_level: str, **options: Any) -> None:
    """Run the daemon: observe, forecast, decide, act."""
    import asyncio

    from autoscaler import app
    from autoscaler.daemon.telemetry import logs

    logs.configure(form=log_format, level=log_level)
    asyncio.run(app.run(app.DaemonOptions(**options)))


@click.command()
@_config
def check(config: Path) -> None:
    """Validate a configuration and say what was understood."""
    from autoscaler.settings import load_config, to_core

    for resource in load_config(config).resources:
        model = to_core(resource)
        pools = ", ".join(f"{pool.name} ({pool.capacity_type})" for pool in model.pools)
        click.echo(
            f"{model.key}: {model.min_replicas} to {model.max_replicas} replicas over {pools}; "
            f"warm floor {model.warm_floor.replicas}; {model.mode}"
        )


@click.command()
@click.argument("node")
@click.option(
    "--in", "in_seconds", type=float, default=60.0, show_default=True, help="Until the deadline."
)
@click.option("--cancel", is_flag=True, help="Take the announcement back.")
@_cluster_options
def rehearse(
    node: str, in_seconds: float, cancel: bool, kubeconfig: str | None, context: str | None
) -> None:
    """Announce that NODE will be taken away, as a spot interruption would.

    The machine is not touched; on-demand fallback, cordon and drain are real.
    """
    import asyncio
    import time

    async def announce() -> str:
        from autoscaler.kube.api.client import connect
        from autoscaler.kube.api.timestamps import rfc3339
        from autoscaler.notices import rehearse as rehearsal

        async with await connect(kubeconfig, context=context) as client:
            if cancel:
                await rehearsal.cancel(client, node)
                return f"node {node}: the announcement is taken back"
            deadline_at = await rehearsal.rehearse(client, node, in_s=in_seconds, at=time.time())
            return f"node {node}: announced to be taken away at {rfc3339(deadline_at)}"

    click.echo(asyncio.run(announce()))


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text")
def replay(file: Path, output: str) -> None:
    """Decide the events of a recording again: FILE is one segment, or the folder of all."""
    from autoscaler.daemon.recording.replay_view import as_row, as_text
    from autoscaler.daemon.recording.reproduce import replay as replay_segments

    rows = []
    different = False
    for report in replay_segments(file):
        different = different or report.difference is not None
        if output == "json":
            rows.append(as_row(report))
            continue
        click.echo(as_text(report))
    if output == "json":
        import json

        click.echo(json.dumps({"schema": "autoscaler.replay/v1", "rows": rows}, indent=2))
    if different:
        end_with(FAILED)
