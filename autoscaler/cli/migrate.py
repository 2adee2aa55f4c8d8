"""`autoscaler import`: what an HPA or a ScaledObject asks for, as an InferenceAutoscaler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoscaler.cli.daemon import cluster_options
from autoscaler.errors import SettingsError, SpecProblem
from autoscaler.foreign_text import shown

if TYPE_CHECKING:
    from autoscaler.kube.api.client import Client
    from autoscaler.migration.cluster import Named
    from autoscaler.migration.metric_names import MetricSignal
    from autoscaler.migration.sources import Imported
    from autoscaler.settings.documents import Document

namespace_option = click.option(
    "-n", "--namespace", default="", help="Of what is named; of a file, in place of the file's own."
)


@click.command("import")
@click.argument("source", metavar="FILE|-|KIND/NAME")
@namespace_option
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME=Waiting|Running|InFlight|KVCache",
    help="What a metric of your own counts; may be repeated.",
)
@click.option(
    "--ask-cluster",
    is_flag=True,
    help="Of a file: read the Deployment that it names in the cluster.",
)
@cluster_options
def import_(
    source: str,
    namespace: str,
    metrics: tuple[str, ...],
    ask_cluster: bool,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Write the InferenceAutoscaler that asks for what an HPA or a ScaledObject asks for.

    From a file of manifests (`-`: standard input), or from the cluster: hpa/NAME or scaledobject/NAME. What
    became of each field is said on standard error, and in the comments of what is written. Its mode is Observe.
    """
    import asyncio

    from autoscaler.migration.cluster import named_object
    from autoscaler.migration.document import ordered_notes, yaml_text

    told = _told(metrics)
    named = None if Path(source).exists() else named_object(source)
    documents = [] if named is not None else _documents(source)
    if named is None and not ask_cluster:
        found = _from_documents(documents, told, namespace=namespace)
    else:

        async def ask() -> list[Imported]:
            from autoscaler.kube.api.client import connect

            async with await connect(kubeconfig, context=context) as client:
                return await _from_cluster(client, named, documents, told, namespace=namespace)

        found = asyncio.run(ask())
    for each in found:
        predecessor = each.predecessor
        click.echo(f"{predecessor.kind} {shown(predecessor.name, limit=80)}:", err=True)
        for note in ordered_notes(predecessor):
            click.echo(f"  {note}", err=True)
    click.echo("---\n".join(yaml_text(each.predecessor, each.document) for each in found), nl=False)


def _told(metrics: Sequence[str]) -> dict[str, MetricSignal]:
    from autoscaler.migration.metric_names import TOLD_WORDS, MetricSignal

    told = {}
    for each in metrics:
        name, equals, word = each.rpartition("=")
        if not equals or not name or word not in {str(word) for word in TOLD_WORDS}:
            raise SettingsError(
                f"--metric {each}: write NAME=WORD, with one of {', '.join(TOLD_WORDS)} as the word"
            )
        told[name] = MetricSignal(word)
    return told


def _documents(source: str) -> list[Document]:
    from autoscaler.settings import SpecError
    from autoscaler.settings.documents import MANIFESTS, files_of, read_documents

    problems: list[SpecProblem] = []
    path = Path("/dev/stdin" if source == "-" else source)
    found = [
        document
        for file in files_of(path)
        for document in read_documents(
            file, problems, kind="HorizontalPodAutoscaler or ScaledObject", limits=MANIFESTS
        )
    ]
    if problems:
        raise SpecError(problems)
    return found


def _from_documents(
    documents: list[Document], told: dict[str, MetricSignal], *, namespace: str
) -> list[Imported]:
    from autoscaler.migration.sources import facts_in, imported, read_predecessors
    from autoscaler.settings import SpecError

    problems: list[SpecProblem] = []
    found = [
        imported(each, facts_in(documents, each), namespace=namespace, problems=problems)
        for each in read_predecessors(documents, told, problems)
    ]
    if problems:
        raise SpecError(problems)
    return found


async def _from_cluster(
    client: Client,
    named: Named | None,
    documents: list[Document],
    told: dict[str, MetricSignal],
    *,
    namespace: str,
) -> list[Imported]:
    """Read what is named, or take the documents, with their Deployments in the cluster."""
    from autoscaler.migration.cluster import facts_in_cluster, read_named
    from autoscaler.migration.sources import imported, read_predecessors
    from autoscaler.settings import SpecError

    if named is not None:
        documents = [await read_named(client, named, namespace=namespace or "default")]
    problems: list[SpecProblem] = []
    found = []
    for each in read_predecessors(documents, told, problems):
        where = namespace or each.namespace or "default"
        facts = await facts_in_cluster(client, each, namespace=where)
        found.append(imported(each, facts, namespace=where, problems=problems))
    if problems:
        raise SpecError(problems)
    return found
