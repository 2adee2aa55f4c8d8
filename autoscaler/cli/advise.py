"""`autoscaler advise`: what it would be worth, from a Prometheus alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoscaler.cli.exits import end_with
from autoscaler.cli.prometheus_options import reads_prometheus

if TYPE_CHECKING:
    from simulations.field.capture.ranges import PrometheusServer


@click.command()
@reads_prometheus
@click.option("--namespace", help="Of the models' pods; any by default.")
@click.option(
    "--model", "models", multiple=True, help="Its model_name; all by default. May be repeated."
)
@click.option("--until", metavar="TIME", help="As 2026-01-31T12:00:00Z.  [default: now]")
@click.option(
    "--manifests",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of HPAs or ScaledObjects, replayed as what runs now. May be repeated; without "
    "any the replicas as they were stand for it.",
)
@click.option("--context", help="Read HPAs and ScaledObjects from this kubeconfig's context.")
@click.option("--kubeconfig", help="Read them from the cluster of this kubeconfig. Only reads.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="[MODEL=]NAME|FILE",
    help="What a replica is; may be repeated.  [default: guessed, and said so]",
)
@click.option(
    "--cold-start",
    metavar="hot|warm|standard|cold|SECONDS",
    help="Of a new replica.  [default: as recorded, else standard]",
)
@click.option(
    "--objective",
    default="ttft=1+2x,tpot=0.1",
    show_default=True,
    metavar="ttft=S,tpot=S",
    help="What a request is owed; x is its own prefill.",
)
@click.option("--max-replicas", type=click.IntRange(min=1), help="Of each model.")
@click.option("--full", is_flag=True, help="Replay all of it, even where that takes long.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Runs side by side; one a processor by default."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it to this HTML file too.",
)
@click.option(
    "-o", "output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def advise(
    *,
    server: PrometheusServer,
    until: str | None,
    context: str | None,
    kubeconfig: str | None,
    report: Path | None,
    output: str,
    **asked: Any,
) -> None:
    """Say what your models would have cost and attained. No install, no write access.

    Finds the models in a Prometheus that scrapes vLLM, replays what scales them now and
    inference-aware on their own traffic, and holds the replay against what really happened.
    """
    from simulations.field.advise.run import AdviseRequest, run_advise

    from_cluster = (
        _scalers(kubeconfig, context, asked["namespace"]) if kubeconfig or context else []
    )
    end_with(
        run_advise(
            AdviseRequest(server=server, until=_moment(until), **asked),
            from_cluster=from_cluster,
            output=output,
            report=report,
        )
    )


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is no time; write it as 2026-01-31T12:00:00Z", param_hint="--until"
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _scalers(
    kubeconfig: str | None, context: str | None, namespace: str | None
) -> list[dict[str, Any]]:
    """The cluster's HPAs and ScaledObjects.

    Raises:
        SettingsError: They cannot be read.
    """
    import asyncio

    from autoscaler.errors import AutoscalerError, SettingsError
    from autoscaler.kube.api.client import ApiError, connect
    from autoscaler.kube.api.resources import HPAS, SCALED_OBJECTS

    kinds = {"HorizontalPodAutoscaler": HPAS, "ScaledObject": SCALED_OBJECTS}

    async def read() -> list[dict[str, Any]]:
        found = []
        async with await connect(kubeconfig, context=context) as client:
            for kind, resource in kinds.items():
                try:
                    answer = await client.call("list", resource, namespace=namespace or "")
                except ApiError as error:
                    if error.status == 404 and kind == "ScaledObject":
                        continue  # no KEDA there
                    raise
                version = f"{resource.group}/{resource.version}"
                # items of a list do not say what they are
                found += [{"apiVersion": version, "kind": kind, **item} for item in answer["items"]]
        return found

    try:
        return asyncio.run(read())
    except AutoscalerError as error:
        raise SettingsError(
            f"{error}; or leave out --kubeconfig and --context: the replicas as they were stand for "
            "what scales them, and --manifests FILE takes the same from `kubectl get hpa,scaledobject "
            "-A -o yaml`"
        ) from error
