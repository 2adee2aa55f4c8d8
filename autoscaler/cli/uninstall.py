"""`autoscaler uninstall`: what is left behind once everything of ours is deleted, and how to leave nothing."""

from __future__ import annotations

import click

from autoscaler.cli.daemon import cluster_options, namespaces_of
from autoscaler.cli.exits import FAILED, end_with


@click.command()
@click.option("--yes", is_flag=True, help="Take it away; without it, it is only told.")
@click.option(
    "--copies",
    is_flag=True,
    help="Also the copies of HPAs and ScaledObjects that a takeover saved.",
)
@click.option(
    "--namespaces",
    callback=namespaces_of,
    metavar="NAME[,NAME]...",
    help="Of the models; all by default.",
)
@click.option(
    "--lease-namespace", default="inference-autoscaler", show_default=True, help="Of the Lease."
)
@click.option("--lease-name", default="inference-autoscaler", show_default=True, help="Of it.")
@cluster_options
def uninstall(
    *,
    yes: bool,
    copies: bool,
    namespaces: tuple[str, ...],
    lease_namespace: str,
    lease_name: str,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Tell what is left behind on nodes, Deployments and pods, and with --yes take it away.

    Run it after `kubectl delete -k`: a daemon that acts would write all of it again. Replicas stay as they are, and so do
    the InferenceAutoscaler resources with their definition.
    """
    import asyncio

    failed = asyncio.run(
        _uninstall(
            yes=yes,
            copies=copies,
            namespaces=namespaces,
            lease=(lease_namespace, lease_name),
            kubeconfig=kubeconfig,
            context=context,
        )
    )
    end_with(FAILED if failed else 0)


async def _uninstall(
    *,
    yes: bool,
    copies: bool,
    namespaces: tuple[str, ...],
    lease: tuple[str, str],
    kubeconfig: str | None,
    context: str | None,
) -> bool:
    """Tell and, if so wished, remove; returns whether something could not be."""
    import asyncio

    from autoscaler.errors import ActuationError
    from autoscaler.kube.api.client import ApiError, connect
    from autoscaler.kube.api.resources import CONFIG_MAPS
    from autoscaler.kube.remains import (
        acting_holder,
        find_copies,
        find_remnants,
        remove,
        taken_over,
    )
    from autoscaler.migration.saved_copy import COPIES, PREDECESSOR_ANNOTATION
    from autoscaler.notices.node_agent import ALIVE_ANNOTATION, NOTICE_ANNOTATION

    unread: list[str] = []
    failed = False
    async with await connect(kubeconfig, context=context) as client:
        holder = await acting_holder(client, lease=lease, sleep=asyncio.sleep)
        if holder:
            message = (
                f"{holder} acts: it renews the Lease {'/'.join(lease)}, and would write all of it again; delete the "
                "daemon first: kubectl delete -k deploy/overlays/site"
            )
            if yes:
                raise ActuationError(message)
            click.echo(f"autoscaler: {message}", err=True)
        for key in await taken_over(
            client, annotation=PREDECESSOR_ANNOTATION, namespaces=namespaces
        ):
            namespace, _, name = key.partition("/")
            click.echo(
                f"autoscaler: {key} was taken over, and is not given back: autoscaler handback {name} -n {namespace}",
                err=True,
            )
        saved = await find_copies(
            client, CONFIG_MAPS, selector=COPIES, namespaces=namespaces, unread=unread
        )
        found = await find_remnants(
            client,
            of_agents=(NOTICE_ANNOTATION, ALIVE_ANNOTATION),
            namespaces=namespaces,
            lease=lease,
            unread=unread,
        )
        kept = [] if copies else saved
        found += saved if copies else []
        for remnant in found:
            if yes:
                try:
                    await remove(client, remnant)
                except ApiError as failure:
                    failed = True
                    click.echo(f"autoscaler: {remnant}: {failure}", err=True)
                    continue
            click.echo(f"{'removed' if yes else 'left'}: {remnant}")
    for words in unread:
        click.echo(f"autoscaler: not looked at: {words}", err=True)
    for remnant in kept:
        click.echo(
            f"kept: {remnant}: what scaled a target before a takeover; --copies takes it too"
        )
    if not found and not kept and not unread:
        click.echo("nothing is left")
    elif found and not yes:
        click.echo("autoscaler: --yes takes it away; nothing was changed", err=True)
    return failed or bool(unread)
