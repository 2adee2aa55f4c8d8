"""The command line: `autoscaler run | check | status | explain | replay | simulate | advise | ...`.

The only place that ends the process. Exit codes: 0 as wished, 1 a difference or a failure, 2 a usage or
an input that cannot be worked with, 130 interrupted. Results go to standard output, all else to standard
error. Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from autoscaler import __version__
from autoscaler.cli import (
    advise,
    calibrate,
    capture,
    check,
    crd,
    daemon,
    demo,
    exits,
    explain,
    init,
    migrate,
    node_agent,
    simulate,
    takeover,
    uninstall,
)
from autoscaler.errors import AutoscalerError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="autoscaler")
def cli() -> None:
    """An inference-aware autoscaler for vLLM on Kubernetes."""


for _command in (
    daemon.run,
    init.init,
    check.check,
    crd.crd,
    daemon.rehearse,
    daemon.replay,
    explain.status,
    explain.explain,
    migrate.import_,
    takeover.takeover,
    takeover.handback,
    node_agent.node_agent,
    uninstall.uninstall,
    simulate.simulate,
    capture.capture,
    advise.advise,
    calibrate.calibrate,
    demo.demo,
):
    cli.add_command(_command)


def main() -> NoReturn:
    """Run the command line and end the process."""
    sys.exit(_exit_code(sys.argv[1:]))


def _exit_code(arguments: list[str]) -> int:
    if "_AUTOSCALER_COMPLETE" in os.environ:
        cli.main(args=arguments, prog_name="autoscaler")
    return run_command_line(cli, "autoscaler", arguments)


def run_command_line(command: click.Group, name: str, arguments: list[str]) -> int:
    """Run a command line; every error that is not a bug becomes a message and a code."""
    try:
        # Not `command.main`: it turns a broken pipe into a 1, which here means a difference.
        with command.make_context(name, arguments) as context:
            command.invoke(context)
        sys.stdout.flush()
        return exits.OK
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)  # the shell's prompt belongs on a line of its own
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has enough. Python would complain at exit, when it flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BROKEN_PIPE
    except ModuleNotFoundError as error:
        return exits.report_missing(error)
    except AutoscalerError as error:
        return exits.report_error(error)
