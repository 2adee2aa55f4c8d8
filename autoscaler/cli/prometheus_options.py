"""What every command is asked that reads a Prometheus: which one, how, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--prometheus", required=True, metavar="URL", help="A Prometheus that scrapes vLLM."
    ),
    click.option(
        "--bearer-token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Sent with every query.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Whom to trust, instead of the system's authorities.",
    ),
    click.option(
        "--header", "headers", multiple=True, metavar="NAME=VALUE", help="May be repeated."
    ),
    click.option(
        "--since", default="7d", show_default=True, metavar="SPAN", help="As 7d, 12h, 90m."
    ),
    click.option(
        "--step",
        type=click.IntRange(min=1),
        default=30,
        show_default=True,
        metavar="SECONDS",
        help="Resolution; not finer than what is scraped.",
    ),
)


def reads_prometheus(command: Callable[..., None]) -> Callable[..., None]:
    """Add these options; the command is given `server`, `since` and `step`."""

    @wraps(command)
    def with_server(
        *,
        prometheus: str,
        bearer_token_file: Path | None,
        ca_file: Path | None,
        headers: tuple[str, ...],
        **asked: Any,
    ) -> None:
        from simulations.field.capture.ranges import PrometheusServer, header_pairs

        pairs = header_pairs(headers)
        server = PrometheusServer(
            url=prometheus, bearer_token_file=bearer_token_file, ca_file=ca_file, headers=pairs
        )
        command(server=server, **asked)

    decorated: Callable[..., None] = with_server
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
