"""`python -m simulations.field.calibrate`; the same as `autoscaler calibrate`."""

from __future__ import annotations

import sys

import click

from autoscaler.errors import AutoscalerError
from simulations.field.calibrate.command import calibrate


def main() -> None:
    """Run the command; an error that is not a bug is a message and exit code 2."""
    try:
        calibrate.main(prog_name="python -m simulations.field.calibrate")
    except AutoscalerError as error:
        click.echo(f"calibrate: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
