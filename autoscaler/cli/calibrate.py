"""`autoscaler calibrate`: a profile of what an engine did."""

from __future__ import annotations

import click


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    short_help="Fit a profile to a log of requests or to an engine's metrics.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def calibrate(arguments: tuple[str, ...]) -> None:
    """Fit a profile to a log of requests or to an engine's metrics."""
    from simulations.field.calibrate.command import calibrate as command

    with command.make_context("autoscaler calibrate", list(arguments)) as context:
        command.invoke(context)
