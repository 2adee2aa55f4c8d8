"""`autoscaler takeover` and `handback`: who writes the scale, from an HPA or KEDA to the daemon and back."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoscaler.cli.daemon import cluster_options
from autoscaler.cli.explain import server_option
from autoscaler.errors import SettingsError

if TYPE_CHECKING:
    from autoscaler.kube.api.client import Client
    from autoscaler.migration.takeover import TakeoverPlan

namespace_option = click.option(
    "-n",
    "--namespace",
    default="",
    help="Of MODEL, where that is a name alone; default where it is not given.",
)
yes_option = click.option(
    "--yes",
    is_flag=True,
    help="It is meant; without it a terminal is asked, and else nothing is changed.",
)


@click.command()
@click.argument("model")
@namespace_option
@server_option
@yes_option
@click.option(
    "--save-to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A new file for the copy of the predecessor, in place of a ConfigMap.",
)
@cluster_options
def takeover(
    model: str,
    *,
    namespace: str,
    server: str,
    yes: bool,
    save_to: Path | None,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Take the scale of MODEL over from its HPA or ScaledObject.

    MODEL is an InferenceAutoscaler in mode Observe, NAMESPACE/NAME or NAME. First the differences are shown; then, where it is
    meant, the predecessor is saved and taken away, and only when it is gone the mode becomes Active. Called again, it goes
    on where it stopped.
    """

    async def run(client: Client) -> None:
        from autoscaler.migration.handover import model_named
        from autoscaler.migration.takeover import plan_takeover, take_over

        named = model_named(client, model, namespace)
        plan = await plan_takeover(client, named)
        if plan.done:
            click.echo(
                f"{named.key} is taken over already; to give it back: autoscaler handback {named.key}"
            )
            return
        _show_shadow(named.key, plan, server)
        _confirm(yes, f"Take {named.key} over?")
        await take_over(client, named, plan, say=click.echo, save_to=save_to)

    _with_client(run, kubeconfig=kubeconfig, context=context)


@click.command()
@click.argument("model")
@namespace_option
@yes_option
@click.option(
    "--saved",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file with the predecessor, where it was saved in one.",
)
@click.option(
    "--daemon-stopped",
    is_flag=True,
    help="The daemon does not run: its word that it observes is not waited for.",
)
@cluster_options
def handback(
    model: str,
    *,
    namespace: str,
    yes: bool,
    saved: Path | None,
    daemon_stopped: bool,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Give the scale of MODEL back to the HPA or ScaledObject that had it, from the copy of the takeover.

    The mode becomes Observe first; when the daemon says so the predecessor is made again, with as many replicas as there are
    as its minimum until it has looked once. Called again, it goes on where it stopped.
    """

    async def run(client: Client) -> None:
        from autoscaler.migration.handback import hand_back, plan_handback
        from autoscaler.migration.handover import model_named

        named = model_named(client, model, namespace)
        copies = await plan_handback(client, named, saved=saved)
        if not copies:
            click.echo(f"{named.key} is given back already")
            return
        names = ", ".join(f"{each['kind']} {each['metadata']['name']}" for each in copies)
        _confirm(yes, f"Give {named.key} back to {names}?")
        await hand_back(client, named, copies, say=click.echo, daemon_stopped=daemon_stopped)

    _with_client(run, kubeconfig=kubeconfig, context=context)


def _with_client(
    run: Callable[[Client], Awaitable[None]], *, kubeconfig: str | None, context: str | None
) -> None:
    import asyncio

    async def connected() -> None:
        from autoscaler.kube.api.client import connect

        async with await connect(kubeconfig, context=context) as client:
            await run(client)

    asyncio.run(connected())


def _show_shadow(key: str, plan: TakeoverPlan, server: str) -> None:
    """Show what the daemon would do; raises SettingsError where nobody would scale after a takeover."""
    from autoscaler.cli.live_page import read_live_page
    from autoscaler.migration.shadow import shadow_lines, why_not_yet

    page = read_live_page(server)
    told = page.models.get(key)
    if told is None:
        known = ", ".join(sorted(page.models)) or "none"
        raise SettingsError(
            f"the daemon at {server} does not decide on {key} (it decides on: {known}); run it with --watch-resources and "
            "wait for its first decision"
        )
    why = "; ".join(page.problems) or why_not_yet(told.decision, told.asked, at=page.at)
    if why:
        raise SettingsError(
            f"the daemon would not scale {key} now: {why}; there would be nobody: nothing was changed"
        )
    writers = ", ".join(f"{each.kind} {each.name}" for each in plan.writers) or "nobody any more"
    click.echo(f"{key}, scaled by {writers}")
    for line in shadow_lines(told.decision, told.asked):
        click.echo(f"  {line}")
    for warning in plan.warnings:
        click.echo(f"  beware: {warning}")


def _confirm(yes: bool, question: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise SettingsError("nothing was changed: say that it is meant with --yes")
    click.confirm(question, abort=True)
