"""`autoscaler run`, `rehearse` and `replay`: the daemon, its spot drill, its recordings."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from autoscaler.cli.exits import FAILED, end_with

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

config_option = click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path),
    help="A file of InferenceAutoscaler documents, or a folder of such files.",
)


def namespaces_of(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> tuple[str, ...]:
    """Read names that commas part, each once and in order."""
    if value is None:
        return ()
    names = [name.strip() for name in value.split(",")]
    for name in names:
        if not _LABEL.fullmatch(name):
            raise click.BadParameter(f"{name!r} is no namespace; write names that commas part")
    return tuple(dict.fromkeys(names))


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which a command is given the Prometheus servers."""
    for option in (
        click.option(
            "--credentials",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("/var/run/secrets/inference-autoscaler"),
            show_default=True,
            help="The folder below which token files lie.",
        ),
        click.option(
            "--prometheus-server",
            "prometheus_servers",
            multiple=True,
            metavar="NAME=URL[,KEY=VALUE]...",
            help="A Prometheus that documents may name; may be repeated. Keys: token-file=FILE, "
            "ca=FILE, header=NAME:VALUE, match=LABEL:VALUE; dcgm: it speaks for GPUs; history: it is "
            "asked for the past of models whose pods are read themselves; plain-http: http:// is meant.",
        ),
    ):
        command = option(command)
    return command


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which a command finds its cluster."""
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
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A file of InferenceAutoscaler documents, or a folder of such files.",
)
@click.option(
    "--watch-resources",
    is_flag=True,
    help="Instead of --config: the InferenceAutoscalers of the cluster (deploy/components/crd).",
)
@click.option(
    "--namespaces",
    callback=namespaces_of,
    metavar="NAME[,NAME]...",
    help="Of the resources that are watched; all by default.",
)
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
@cluster_options
@click.option(
    "--leader-elect/--no-leader-elect",
    default=None,
    help="Of several daemons one acts, by a Lease; the others stand by. On where the daemon is a pod of its "
    "cluster, off with a kubeconfig and with --dry-run.",
)
@click.option(
    "--lease-namespace",
    default="",
    help="Where the Lease is; by default the pod's own namespace, or inference-autoscaler.",
)
@click.option(
    "--lease-name",
    default="inference-autoscaler",
    show_default=True,
    help="The same for daemons that may stand in for each other, another for those of other models.",
)
@click.option(
    "--memory/--no-memory",
    default=None,
    help="What was learnt of models is kept in ConfigMaps beside the Lease, so that a restart knows it. On where the "
    "daemon is a pod of its cluster, off with a kubeconfig; with --dry-run it is read and not written.",
)
@click.option(
    "--listen",
    default=":8080",
    show_default=True,
    metavar="HOST:PORT",
    help="For /metrics, /healthz and /readyz.",
)
@click.option(
    "--debug-listen",
    default="127.0.0.1:8081",
    show_default=True,
    metavar="HOST:PORT",
    help="For /debug/models: decisions, addresses, prices; empty: not served.",
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
@server_options
@click.option(
    "--history-days",
    type=click.IntRange(0, 7),
    default=7,
    show_default=True,
    help="Of a model's past that are read from Prometheus once; 0: none.",
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
    "--dcgm-period-seconds",
    "dcgm_period_s",
    type=click.FloatRange(0.5, 300),
    default=15.0,
    show_default=True,
    help="Between two reads of it.",
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

    if (options["config"] is None) != options["watch_resources"]:
        raise click.UsageError(
            "write either --config FILE, for documents in files, or --watch-resources, for those of the cluster"
        )
    if options["namespaces"] and not options["watch_resources"]:
        raise click.UsageError("--namespaces is of --watch-resources: a document names its own")
    logs.configure(form=log_format, level=log_level)
    asyncio.run(app.run(app.DaemonOptions(**options)))


@click.command()
@click.argument("node")
@click.option(
    "--in", "in_seconds", type=float, default=60.0, show_default=True, help="Until the deadline."
)
@click.option("--cancel", is_flag=True, help="Take the announcement back.")
@cluster_options
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
@click.option(
    "--decisions",
    "with_decisions",
    is_flag=True,
    help="Tell each decision that changed something, in a sentence.",
)
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text")
def replay(file: Path, *, with_decisions: bool, output: str) -> None:
    """Decide the events of a recording again: FILE is one segment, or the folder of all.

    Then says what an HPA, KEDA and a static fleet would have cost and attained on the same traffic.
    """
    from autoscaler.daemon.recording.hindsight_table import hindsight_text
    from autoscaler.daemon.recording.replay_view import as_row, as_text
    from autoscaler.daemon.recording.reproduce import replay as replay_segments

    rows = []
    different = False
    told: dict[str, Any] = {}
    for report in replay_segments(file):
        told |= report.hindsights
        different = different or report.difference is not None
        if output == "json":
            rows.append(as_row(report))
            continue
        click.echo(as_text(report))
    if output == "text" and told:
        click.echo(hindsight_text(told))
    decisions = _told_decisions(file) if with_decisions else []
    if output == "json":
        import json

        shown = {"schema": "autoscaler.replay/v1", "rows": rows}
        if with_decisions:
            shown["decisions"] = decisions
        click.echo(json.dumps(shown, indent=2))
    else:
        for each in decisions:
            click.echo(f"{each['at']}  {each['model']} {each['said']}")
    if different:
        end_with(FAILED)


def _told_decisions(file: Path) -> list[dict[str, str]]:
    """List the decisions of a recording that changed something."""
    from autoscaler.daemon.recording.decisions import courses_at
    from autoscaler.explain.course import Turn
    from autoscaler.kube.api.timestamps import rfc3339

    found: list[dict[str, str]] = []

    def turned(model: str, turn: Turn) -> None:
        found.append({"at": rfc3339(turn.at), "model": model, "said": turn.said})

    courses_at(file, turned=turned)
    return found
