"""`python -m simulations.box.local_cluster`: the cluster in a box, by itself, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click
import yaml

from simulations.box.local_cluster.cluster import LocalCluster
from simulations.box.local_cluster.machines.nodes import Machine
from simulations.box.local_cluster.objects import BY_KIND, Object


@click.command()
@click.option("--on-demand", "on_demand", default=1, show_default=True, help="On-demand nodes.")
@click.option("--spot", default=2, show_default=True, help="Spot nodes.")
@click.option("--gpus", default=4, show_default=True, help="GPUs a node.")
@click.option("--port", default=0, help="Of the API server; a free one unless given.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="For the kubeconfig and the pods' logs; a temporary one unless given.",
)
@click.argument("manifests", nargs=-1, type=click.Path(path_type=Path, exists=True))
def main(
    on_demand: int,
    spot: int,
    gpus: int,
    port: int,
    folder: Path | None,
    manifests: tuple[Path, ...],
) -> None:
    """Serve a small Kubernetes API on loopback, whose pods are processes of this machine.

    MANIFESTS are YAML files of Deployments, Services, ConfigMaps, PodDisruptionBudgets. A pod
    without a command runs simulations.box.vllm_server with the template's args.
    """
    machines = [Machine(name=f"on-demand-{n}", gpus=gpus) for n in range(1, on_demand + 1)]
    machines += [Machine(name=f"spot-{n}", spot=True, gpus=gpus) for n in range(1, spot + 1)]
    documents = [document for path in manifests for document in _documents(path)]
    asyncio.run(_serve(LocalCluster(port=port, folder=folder), machines, documents))


async def _serve(cluster: LocalCluster, machines: list[Machine], documents: list[Object]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with cluster:
        for machine in machines:
            cluster.nodes.add(machine)
        for document in documents:
            made = cluster.apply(document)
            if made["kind"] == "Service":
                port = made["spec"]["ports"][0]
                service = await cluster.expose(
                    made["metadata"]["namespace"],
                    made["spec"]["selector"],
                    port=port.get("targetPort", port["port"]),
                )
                click.echo(f"{made['metadata']['name']}: {service.url}")
        click.echo(f"export KUBECONFIG={cluster.kubeconfig}")
        click.echo(f"logs: {cluster.folder / 'logs'}")
        await stopped.wait()


def _documents(path: Path) -> list[Object]:
    """The objects of a file; a kind that means nothing here is named and left out."""
    try:
        documents = [d for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d]
    except yaml.YAMLError as error:
        raise click.BadParameter(f"{path}: this is no YAML: {error}") from error
    known = []
    for number, document in enumerate(documents, start=1):
        kind = document.get("kind") if isinstance(document, dict) else None
        if kind is None:
            raise click.BadParameter(f"{path}: document {number} has no kind: it is no manifest")
        if kind in BY_KIND:
            known.append(document)
        else:
            click.echo(f"{path}: document {number}, a {kind}, means nothing here", err=True)
    return known


if __name__ == "__main__":
    main()
