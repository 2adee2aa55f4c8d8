"""`autoscaler init`: a first resource for a Deployment that is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoscaler.cli.daemon import cluster_options
from autoscaler.errors import SpecProblem

if TYPE_CHECKING:
    from autoscaler.core.contract.spec import ModelSpec
    from autoscaler.kube.first_resource.draft import FirstResource
    from autoscaler.kube.soundness.targets_read import TargetsRead
    from autoscaler.settings import EngineType, InferenceAutoscaler

_ENGINES = ("VLLM", "SGLang", "TGI", "RayServe")


@click.command()
@click.argument("deployment", required=False)
@click.option(
    "-n", "--namespace", help="Of the Deployment; `default`, or what the file says, by default."
)
@click.option(
    "-f",
    "--file",
    "file",
    metavar="FILE",
    help="Manifests in place of a cluster; `-`: standard input, as `kubectl kustomize` writes it.",
)
@click.option(
    "--engine",
    type=click.Choice(_ENGINES, case_sensitive=False),
    help="Where neither image nor command line tells it.",
)
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="Of the metrics page, where nothing tells it."
)
@cluster_options
def init(
    *,
    deployment: str | None,
    namespace: str | None,
    file: str | None,
    engine: str | None,
    port: int | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Write a first InferenceAutoscaler for DEPLOYMENT, with what differs from the defaults.

    Engine, port, GPUs and kind of nodes are told from its template, the spot twin from the Deployments beside it,
    the cold start from its pods. The document goes to standard output, what was found to standard error. It
    changes nothing.
    """
    from autoscaler.settings import EngineType

    chosen = None if engine is None else EngineType(engine)
    if file is None:
        import asyncio

        draft, read = asyncio.run(
            _from_cluster(
                deployment,
                namespace=namespace or "default",
                engine=chosen,
                port=port,
                kubeconfig=kubeconfig,
                context=context,
            )
        )
    else:
        draft, read = _from_file(file, deployment, namespace=namespace, engine=chosen, port=port)
    _write(draft, read)


def _from_file(
    file: str,
    name: str | None,
    *,
    namespace: str | None,
    engine: EngineType | None,
    port: int | None,
) -> tuple[FirstResource, TargetsRead]:
    from autoscaler.kube.first_resource.draft import first_resource
    from autoscaler.kube.first_resource.namespace_read import namespace_of_manifests
    from autoscaler.kube.soundness.targets_read import read_manifests
    from autoscaler.settings import SpecError
    from autoscaler.settings.documents import MANIFESTS, files_of, read_documents

    problems: list[SpecProblem] = []
    objects = [
        document.content
        for path in files_of(Path("/dev/stdin" if file == "-" else file))
        for document in read_documents(path, problems, kind="Deployment", limits=MANIFESTS)
        if isinstance(document.content, Mapping)
    ]
    if problems:
        raise SpecError(problems)
    origin = "standard input" if file == "-" else file
    found = namespace_of_manifests(objects, origin=origin, namespace=namespace)
    return first_resource(found, name, engine=engine, port=port), read_manifests(
        objects, origin=origin
    )


async def _from_cluster(
    name: str | None,
    *,
    namespace: str,
    engine: EngineType | None,
    port: int | None,
    kubeconfig: str | None,
    context: str | None,
) -> tuple[FirstResource, TargetsRead]:
    from autoscaler.kube.api.client import connect
    from autoscaler.kube.first_resource.draft import first_resource, with_starts
    from autoscaler.kube.first_resource.namespace_read import namespace_of_cluster
    from autoscaler.kube.first_resource.starts import read_starts
    from autoscaler.kube.soundness.targets_read import read_cluster

    async with await connect(kubeconfig, context=context) as client:
        found = await namespace_of_cluster(client, namespace)
        draft = first_resource(found, name, engine=engine, port=port)
        starts = {
            pool.name: await read_starts(client, namespace, found.deployments[pool.name])
            for pool in draft.pools
        }
        for words in found.unread:
            click.echo(f"autoscaler: not read: {words}", err=True)
        draft = with_starts(draft, starts)
        return draft, await read_cluster(client, [_model(draft)])


def _resource(draft: FirstResource) -> InferenceAutoscaler:
    """Read what is to be written, as `autoscaler check` does; raises SpecError where it would refuse it."""
    import yaml

    from autoscaler.kube.first_resource.resource_text import resource_text
    from autoscaler.settings import SpecError, read_resources
    from autoscaler.settings.documents import Document

    content = yaml.safe_load(resource_text(draft))
    document = Document(file=Path("-"), ordinal=1, content=content, told_as="the first resource")
    config = read_resources([document], path=Path("-"))
    if config.problems:
        raise SpecError(config.problems)
    (resource,) = config.resources
    return resource


def _model(draft: FirstResource) -> ModelSpec:
    from autoscaler.settings import to_core

    return to_core(_resource(draft))


def _write(draft: FirstResource, read: TargetsRead) -> None:
    """Write the document, and beside it what was found and what is unsound in what is there."""
    from autoscaler.kube.first_resource.resource_text import notes_of, resource_text
    from autoscaler.kube.soundness.targets_read import findings_of
    from autoscaler.settings import metrics_settings, to_core

    resource = _resource(draft)
    for note in notes_of(draft):
        click.echo(f"autoscaler: {note}", err=True)
    for row in findings_of(read, [to_core(resource)], {resource.key: metrics_settings(resource)}):
        for finding in row.findings:
            click.echo(f"autoscaler: {row.target}: {finding}", err=True)
    click.echo(resource_text(draft), nl=False)
    click.echo(
        "autoscaler: next: autoscaler check --config FILE --targets CLUSTER; kubectl apply -f FILE",
        err=True,
    )
