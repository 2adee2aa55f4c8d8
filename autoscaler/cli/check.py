"""`autoscaler check`: a configuration, and the scale targets that it names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from autoscaler.cli.daemon import cluster_options, config_option, server_options
from autoscaler.cli.exits import FAILED, end_with
from autoscaler.errors import SettingsError, SpecProblem

if TYPE_CHECKING:
    from autoscaler.core.contract.spec import ModelSpec
    from autoscaler.kube.api.client import Client
    from autoscaler.kube.soundness.findings import Finding
    from autoscaler.kube.soundness.targets_read import TargetsRead
    from autoscaler.settings import Config

CLUSTER = "CLUSTER"
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")

ClusterCheck: TypeAlias = "Callable[[Client, Config], Awaitable[Sequence[Finding]]]"
"""Asks a cluster one thing about all models of a configuration; what it finds is shown with the rest."""


def cluster_checks() -> Sequence[ClusterCheck]:
    """What `--targets CLUSTER` asks beside each target itself, in this order: add a line for another."""
    return (_notices,)


async def _notices(client: Client, config: Config) -> Sequence[Finding]:
    """Whether anything could ever give notice of the nodes of spot pools."""
    import time

    from autoscaler.core.contract.reasons import FindingReason
    from autoscaler.core.contract.state import CapacityType
    from autoscaler.kube.soundness.findings import warning
    from autoscaler.notices.coverage import PAGE, find_gaps
    from autoscaler.notices.survey import survey
    from autoscaler.settings import to_core

    spot_pools = [
        f"{model.key} {pool.name}"
        for model in map(to_core, config.resources)
        for pool in model.pools
        if pool.capacity_type is not CapacityType.ON_DEMAND
    ]
    if not spot_pools:
        return ()
    signs = await survey(client, spot_pools=spot_pools, at=time.time())
    return [
        warning(FindingReason.NO_NOTICE, "nodes", found=gap, remedy=f"see {PAGE}")
        for gap in find_gaps(signs)
    ]


@click.command()
@config_option
@click.option(
    "--targets",
    metavar="FILE|CLUSTER",
    help="Also look at the Deployments that it names: in a file of manifests (`-`: standard input, as "
    "`kubectl kustomize` writes it), or in the cluster.",
)
@server_options
@cluster_options
def check(
    config: Path,
    targets: str | None,
    prometheus_servers: tuple[str, ...],
    credentials: Path,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Validate a configuration and say what was understood.

    With --targets, hold the Deployments against it: whether their replicas start and end without losing
    requests. Exit code 1 where that has errors.
    """
    from autoscaler.settings import load_config, metrics_settings, read_servers, to_core

    servers = read_servers(prometheus_servers, credentials=credentials)
    loaded = load_config(config, servers=servers or None)
    for resource in loaded.resources:
        model = to_core(resource)
        pools = ", ".join(f"{pool.name} ({pool.capacity_type})" for pool in model.pools)
        click.echo(
            f"{model.key}: {model.min_replicas} to {model.max_replicas} replicas over {pools}; "
            f"warm floor {_floor_text(model)}; {_mode_text(model)}"
        )
        server = metrics_settings(resource).server
        if server and not servers:
            click.echo(
                f"{model.key}: asks the Prometheus {server}, which `autoscaler run` needs as "
                f"--prometheus-server {server}=URL"
            )
    if targets == CLUSTER:
        import asyncio

        _show(loaded, *asyncio.run(_ask_cluster(loaded, kubeconfig=kubeconfig, context=context)))
    elif targets is not None:
        _show(loaded, _read_manifests(targets), ())


def _mode_text(model: ModelSpec) -> str:
    """Say what is written, or would be."""
    from autoscaler.core.contract.spec import Mode, Pause

    writes = f"scale {', '.join(str(pool.target) for pool in model.pools)}, and drain doomed nodes"
    if model.mode is Mode.OBSERVE:
        return f"Observe: writes nothing; with `mode: Active` it would {writes}"
    if model.paused_replicas is not None:
        return (
            f"Active, but paused by annotation at {model.paused_replicas}: it will hold that many"
        )
    if model.pause is Pause.ALL:
        return f"Active, but paused by annotation: without it, it would {writes}"
    return f"Active: it will {writes}"


def _floor_text(model: ModelSpec) -> str:
    """Say what is kept warm, and what that costs an hour where the price of its pool is given."""
    from autoscaler.core.contract.spec import RampMode
    from autoscaler.core.pools.order import order_pools

    floor = model.warm_floor
    usd = model.pools[order_pools(model).warm].price_usd_per_hour

    def priced(replicas: int) -> str:
        return f"{replicas}" if usd is None else f"{replicas} ({replicas * usd:.2f} USD an hour)"

    parts = [priced(floor.replicas) if floor.replicas else "0"]
    parts += [f"{priced(schedule.replicas)} {schedule.text}" for schedule in floor.schedules]
    parts += ["what its ramp needs"] if floor.ramp is RampMode.AUTO else []
    return ", ".join(parts)


async def _ask_cluster(
    config: Config, *, kubeconfig: str | None, context: str | None
) -> tuple[TargetsRead, list[Finding]]:
    from autoscaler.kube.api.client import connect
    from autoscaler.kube.soundness.targets_read import read_cluster
    from autoscaler.settings import to_core

    models = [to_core(resource) for resource in config.resources]
    async with await connect(kubeconfig, context=context) as client:
        read = await read_cluster(client, models)
        return read, [each for ask in cluster_checks() for each in await ask(client, config)]


def _read_manifests(named: str) -> TargetsRead:
    """Read a file, a folder of files or standard input; raises SettingsError with every problem."""
    from autoscaler.kube.soundness.targets_read import read_manifests
    from autoscaler.settings import SpecError
    from autoscaler.settings.documents import MANIFESTS, files_of, read_documents

    path = Path("/dev/stdin" if named == "-" else named)
    if path.is_dir() and any((path / name).is_file() for name in _KUSTOMIZATIONS):
        raise SettingsError(
            f"--targets {named}: a kustomization, whose files are parts; build it first: "
            f"kubectl kustomize {named} | autoscaler check --config ... --targets -"
        )
    problems: list[SpecProblem] = []
    documents = [
        document
        for file in files_of(path)
        for document in read_documents(file, problems, kind="Deployment", limits=MANIFESTS)
    ]
    if problems:
        raise SpecError(problems)
    origin = "standard input" if named == "-" else named
    return read_manifests([document.content for document in documents], origin=origin)


def _show(config: Config, read: TargetsRead, others: Sequence[Finding]) -> None:
    """Write what was found, target by target; end with 1 where there are errors."""
    from autoscaler.kube.soundness.findings import Severity
    from autoscaler.kube.soundness.targets_read import findings_of
    from autoscaler.settings import metrics_settings, to_core

    models = [to_core(resource) for resource in config.resources]
    metrics = {resource.key: metrics_settings(resource) for resource in config.resources}
    rows = findings_of(read, models, metrics)
    for row in rows:
        click.echo(f"{row.target}: pool {row.pool} of {row.model}")
        for finding in row.findings:
            click.echo(f"  {finding}")
    for finding in others:
        click.echo(str(finding))
    for words in read.unread:
        click.echo(f"autoscaler: not read: {words}", err=True)
    found = [finding for row in rows for finding in row.findings] + list(others)
    errors = sum(finding.severity is Severity.ERROR for finding in found)
    click.echo(f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}")
    if errors:
        end_with(FAILED)


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
