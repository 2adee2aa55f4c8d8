"""`autoscaler node-agent`: what a spot node's metadata service says, marked on its Node.

The agent reads its options itself: `python -m autoscaler.agent`, which the DaemonSet runs, has no click.
"""

from __future__ import annotations

import click

from autoscaler.cli.exits import end_with


@click.command(
    "node-agent",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    short_help="Mark the Node of a spot machine that is being taken away.",
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def node_agent(options: tuple[str, ...]) -> None:
    """Poll this machine's metadata service and mark its Node: a DaemonSet's, for spot nodes."""
    from autoscaler.agent.command import main

    end_with(main(options))
