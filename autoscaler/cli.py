"""The command line: `autoscaler run | check | rehearse | replay | simulate | capture | calibrate | demo`.

The only place that ends the process. Exit codes: 0 as wished, 1 a difference or a failure, 2 a usage or
an input that cannot be worked with, 130 interrupted. Results go to standard output, all else to standard
error. Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from autoscaler import __version__
from autoscaler.errors import AutoscalerError, RecordingError, SettingsError, TraceError

_OK, _FAILED, _BAD_INPUT, _INTERRUPTED, _BROKEN_PIPE = 0, 1, 2, 130, 141
_BAD_INPUTS = (SettingsError, TraceError, RecordingError)
_EXTRAS = {
    "numba": "simulate",
    "llvmlite": "simulate",
    "scipy": "simulate",
    "plotly": "report",
    "ray": "ray",
    "statsforecast": "yardstick",
}
"""Which extra brings which library."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="autoscaler")
def cli() -> None:
    """An inference-aware autoscaler for vLLM on Kubernetes."""


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


@cli.command()
@_config
@click.option("--dry-run", is_flag=True, help="Do everything but the writes.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for the recording, which `autoscaler replay` reproduces.",
)
@click.option(
    "--record-limit",
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
def run(
    *,
    config: Path,
    dry_run: bool,
    record: Path | None,
    record_limit: int,
    kubeconfig: str | None,
    context: str | None,
    listen: str,
    tick_seconds: float,
    gpu_budget: int | None,
    dcgm_namespace: str,
    dcgm_selector: str,
    dcgm_port: int,
    log_format: str,
    log_level: str,
) -> None:
    """Run the daemon: observe, forecast, decide, act."""
    import asyncio

    from autoscaler import app
    from autoscaler.daemon import logs

    logs.configure(form=log_format, level=log_level)
    options = app.Options(
        config=config,
        dry_run=dry_run,
        record=record,
        record_total_bytes=record_limit * 1024 * 1024,
        kubeconfig=kubeconfig,
        context=context,
        listen=listen,
        tick_s=tick_seconds,
        gpu_budget=gpu_budget,
        dcgm=app.DcgmExporters(namespace=dcgm_namespace, selector=dcgm_selector, port=dcgm_port),
    )
    asyncio.run(app.run(options))


@cli.command()
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


@cli.command()
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
        from autoscaler.interruptions import rehearse as rehearsal
        from autoscaler.kube.client import connect
        from autoscaler.kube.timestamps import rfc3339

        async with await connect(kubeconfig, context=context) as client:
            if cancel:
                await rehearsal.cancel(client, node)
                return f"node {node}: the announcement is taken back"
            deadline_at = await rehearsal.rehearse(client, node, in_s=in_seconds, at=time.time())
            return f"node {node}: announced to be taken away at {rfc3339(deadline_at)}"

    click.echo(asyncio.run(announce()))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text")
def replay(file: Path, output: str) -> None:
    """Decide the events of a recording again: FILE is one segment, or the folder of all."""
    from autoscaler.daemon.replay_view import as_row, as_text
    from autoscaler.daemon.reproduce import replay as replay_segments

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
        raise click.exceptions.Exit(_FAILED)


@cli.command()
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

    _exit(
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


@cli.command()
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
    from simulations.capture.ranges import Server
    from simulations.capture.run import run_capture

    pairs = dict(header.partition("=")[::2] for header in headers)
    server = Server(
        url=prometheus, bearer_token_file=bearer_token_file, ca_file=ca_file, headers=pairs
    )
    _exit(
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


@cli.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    short_help="Fit a profile to a log of requests or to an engine's metrics.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def calibrate(arguments: tuple[str, ...]) -> None:
    """Fit a profile to a log of requests or to an engine's metrics."""
    from simulations.calibrate.command import calibrate as command

    with command.make_context("autoscaler calibrate", list(arguments)) as context:
        command.invoke(context)


@cli.command()
@click.option("--plain", is_flag=True, help="Lines instead of the live view.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the daemon's recording in this folder.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the load.")
def demo(plain: bool, record: Path | None, seed: int) -> None:
    """Run the real daemon against a cluster in a box, under load, while a spot node is reclaimed."""
    from simulations.demo import run_demo

    _exit(run_demo(plain=plain, record=record, seed=seed))


def main() -> NoReturn:
    """Run the command line and end the process."""
    sys.exit(_exit_code(sys.argv[1:]))


def _exit(code: int) -> None:
    if code:
        raise click.exceptions.Exit(code)


def _exit_code(arguments: list[str]) -> int:
    """Run the command line; every error that is not a bug becomes a message and a code."""
    try:
        if "_AUTOSCALER_COMPLETE" in os.environ:
            cli.main(args=arguments, prog_name="autoscaler")
        # Not `cli.main`: it turns a broken pipe into a 1, which here means a difference.
        with cli.make_context("autoscaler", arguments) as context:
            cli.invoke(context)
        sys.stdout.flush()
        return _OK
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)  # the shell's prompt belongs on a line of its own
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has enough. Python would complain at exit, when it flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except ModuleNotFoundError as error:
        return _missing(error)
    except AutoscalerError as error:
        return _told(error)


def _missing(error: ModuleNotFoundError) -> int:
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        raise error
    click.echo(
        f"autoscaler: this needs {error.name}, which is not installed; "
        f"install the extra `{extra}`: pip install 'inference-autoscaler[{extra}]'",
        err=True,
    )
    return _BAD_INPUT


def _told(error: AutoscalerError) -> int:
    """Tell an error, line by line: a configuration has as many as it has problems."""
    for line in str(error).splitlines():
        click.echo(f"autoscaler: {line}", err=True)
    return _BAD_INPUT if isinstance(error, _BAD_INPUTS) else _FAILED


if __name__ == "__main__":
    main()
