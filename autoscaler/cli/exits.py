"""How a command ends: exit codes, and errors as messages."""

from __future__ import annotations

import click

from autoscaler.errors import AutoscalerError, RecordingError, SettingsError, TraceError

OK, FAILED, BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
_BAD_INPUTS = (SettingsError, TraceError, RecordingError)
_EXTRAS = {
    "joblib": "simulate",
    "llvmlite": "simulate",
    "numba": "simulate",
    "plotly": "report",
    "prometheus_api_client": "advise",
    "ray": "ray",
    "requests": "advise",
    "scipy": "simulate",
}
"""Which extra brings which library."""


def end_with(code: int) -> None:
    """End the command with this exit code; with 0 it goes on."""
    if code:
        raise click.exceptions.Exit(code)


def report_missing(error: ModuleNotFoundError) -> int:
    """Write which extra brings the library; raises the error again where none does: that is a bug."""
    library = (error.name or "").partition(".")[0]
    if library == "simulations":
        click.echo(
            "autoscaler: this image has the daemon alone; install the package where you want to replay: "
            "pip install inference-autoscaler",
            err=True,
        )
        return BAD_INPUT
    extra = _EXTRAS.get(library)
    if extra is None:
        raise error
    click.echo(
        f"autoscaler: this needs {error.name}, which is not installed; "
        f"install the extra `{extra}`: pip install 'inference-autoscaler[{extra}]'",
        err=True,
    )
    return BAD_INPUT


def report_error(error: AutoscalerError) -> int:
    """Write an error, line by line: a configuration has a line for each of its problems."""
    for line in str(error).splitlines():
        click.echo(f"autoscaler: {line}", err=True)
    return BAD_INPUT if isinstance(error, _BAD_INPUTS) else FAILED
