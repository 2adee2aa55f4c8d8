"""`autoscaler status` and `explain`: what the daemon decides, told to people, from it or from its recording."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoscaler.errors import SettingsError

if TYPE_CHECKING:
    from autoscaler.cli.live_page import LiveModel, LivePage
    from autoscaler.explain import Explanation, StatusRow

_WIDTH = 100
_CLEAR = "\x1b[H\x1b[2J"
_HEAD = (
    "MODEL",
    "MODE",
    "READY",
    "WANTS",
    "FLOOR",
    "LOAD",
    "EXPECTED",
    "ATTAINED",
    "BUDGET",
    "$/H",
)
_TEXTS = frozenset({0, 1})

server_option = click.option(
    "--server",
    default="http://127.0.0.1:8081",
    show_default=True,
    metavar="URL",
    help="Where the daemon has /debug/models (its --debug-listen): forward that port.",
)
recording_option = click.option(
    "--recording",
    type=click.Path(path_type=Path, exists=True),
    help="A recording in place of a daemon: the folder that --record wrote, or one file of it.",
)
at_option = click.option(
    "--at",
    "at_text",
    metavar="TIME",
    help="Of a recording: the moment, as 2026-11-30T16:02:05Z; its end by default.",
)
output_option = click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    help="html: of a recording, the page that the daemon has at /.",
)


@click.command()
@server_option
@recording_option
@at_option
@click.option("--watch", is_flag=True, help="Tell it anew every two seconds.")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
def status(
    *, server: str, recording: Path | None, at_text: str | None, watch: bool, output: str
) -> None:
    """Say of every model: is it fine, what does it want, why.

    READY is ready of asked-for replicas, LOAD and EXPECTED are work in replicas, ATTAINED is of the last hour,
    BUDGET is what is left of a day's error budget, and $/H the price of what is desired.
    """
    if not watch:
        click.echo(_status(server, recording=recording, at_text=at_text, output=output))
        return
    if recording is not None:
        raise SettingsError(
            "--watch: a recording does not change; leave it out, or leave out --recording"
        )
    _watch(lambda: _status(server, recording=None, at_text=at_text, output=output))


def _watch(tell: Callable[[], str]) -> None:
    import time

    while True:
        text = tell()
        click.echo(f"{_CLEAR}{text}" if sys.stdout.isatty() else text)
        time.sleep(2.0)


@click.command()
@click.argument("model", required=False)
@server_option
@recording_option
@at_option
@output_option
def explain(
    model: str | None, *, server: str, recording: Path | None, at_text: str | None, output: str
) -> None:
    """Tell the decision on MODEL as a person would.

    What was seen and how old it is, what is expected, how the number came about, which guard changed it, and what
    would have made it another one. MODEL is NAMESPACE/NAME, or NAME where there is but one of that name.
    """
    from autoscaler.explain import explain as tell

    if output == "html":
        click.echo(_html(model, recording=recording, at_text=at_text))
        return
    page = _page(server, recording=recording, at_text=at_text)
    told = _chosen(page, model)
    explanation = tell(told.decision, told.asked)
    if output == "json":
        import json

        row = {
            "schema": "autoscaler.explain/v1",
            "model": explanation.model,
            "at": explanation.at,
            "headline": explanation.headline,
            "sections": [
                {"title": each.title, "lines": list(each.lines)} for each in explanation.sections
            ],
        }
        click.echo(json.dumps(row, indent=2))
        return
    click.echo(_explained(explanation, page))


def _page(server: str, *, recording: Path | None, at_text: str | None) -> LivePage:
    """Read the daemon, or what stands for it."""
    from autoscaler.cli.live_page import LiveModel, LivePage, read_live_page

    if recording is None:
        if at_text is not None:
            raise SettingsError(
                "--at: the daemon has its last decisions alone; give --recording, the folder of its --record"
            )
        return read_live_page(server)
    from autoscaler import __version__
    from autoscaler.daemon.recording.decisions import decisions_at
    from autoscaler.explain import asked_of

    found = decisions_at(recording, at=None if at_text is None else _seconds(at_text))
    return LivePage(
        at=max(each.decision.at for each in found.values()),
        version=__version__,
        problems=(),
        spec_problems=(),
        models={
            key: LiveModel(each.decision, asked_of(each.spec))
            for key, each in sorted(found.items())
        },
        recorded=True,
    )


def _html(model: str | None, *, recording: Path | None, at_text: str | None) -> str:
    """Write the page of a recording."""
    from autoscaler import __version__
    from autoscaler.daemon.recording.decisions import courses_at
    from autoscaler.explain.page import PageState, page_in_steps
    from autoscaler.sources.pages.turns import at_once

    if recording is None:
        raise SettingsError(
            "-o html: the daemon has its page at / of its --debug-listen; open that, or give --recording"
        )
    models = courses_at(recording, at=None if at_text is None else _seconds(at_text))
    if model is not None:
        models = {
            key: each for key, each in models.items() if model in (key, key.partition("/")[2])
        }
        if not models:
            raise SettingsError(f"MODEL: found {model}, and no such model is in the recording")
    at = max(each.decision.at for each in models.values())
    return at_once(page_in_steps(models, PageState(at, __version__, (), live=False)))


def _seconds(text: str) -> float:
    from autoscaler.kube.api.timestamps import seconds

    at = seconds(text)
    if at != at:  # noqa: PLR0124  NaN
        raise SettingsError(
            f"--at: found {text!r}; write a time with its zone, as 2026-11-30T16:02:05Z"
        )
    return at


def _chosen(page: LivePage, model: str | None) -> LiveModel:
    """Find the model that is meant."""
    known = sorted(page.models)
    if not known:
        why = "; ".join((*page.problems, *page.spec_problems)) or "no decision was made yet"
        raise SettingsError(f"there is no model to explain: {why}")
    if model is None and len(known) == 1:
        return page.models[known[0]]
    meant = [key for key in known if model in (key, key.partition("/")[2])]
    if len(meant) == 1:
        return page.models[meant[0]]
    there = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    if model is None:
        raise SettingsError(f"MODEL: say which: {there}")
    if meant:
        raise SettingsError(f"MODEL: found {model}, of which there are several: {', '.join(meant)}")
    raise SettingsError(f"MODEL: found {model}, and no such model is decided on; there are {there}")


# -- as text


def _explained(explanation: Explanation, page: LivePage) -> str:
    from autoscaler.explain.figures import span

    at = datetime.fromtimestamp(explanation.at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        *_wrapped(
            f"{explanation.model} {explanation.headline}", indent="", further="  ", bold=True
        ),
        f"decided at {at}" + ("" if page.recorded else f", {span(page.at - explanation.at)} ago"),
    ]
    for problem in (*page.problems, *page.spec_problems):
        lines += _wrapped(f"The daemon is not ready: {problem}", indent="", further="  ")
    for section in explanation.sections:
        lines += ["", click.style(section.title, bold=True)]
        for line in section.lines:
            lines += _wrapped(line, indent="  ", further="    ")
    return "\n".join(lines)


def _wrapped(text: str, *, indent: str, further: str, bold: bool = False) -> list[str]:
    lines = textwrap.wrap(
        text,
        width=_WIDTH,
        initial_indent=indent,
        subsequent_indent=further,
        break_on_hyphens=False,
    )
    return [click.style(line, bold=True) for line in lines] if bold else lines


def _status(server: str, *, recording: Path | None, at_text: str | None, output: str) -> str:
    from autoscaler.explain import status_row

    page = _page(server, recording=recording, at_text=at_text)
    rows = [status_row(told.decision, told.asked) for _, told in sorted(page.models.items())]
    if output == "json":
        import json

        return json.dumps(
            {
                "schema": "autoscaler.status/v1",
                "at": page.at,
                "version": page.version,
                "problems": [*page.problems, *page.spec_problems],
                "rows": [row._asdict() for row in rows],
            },
            indent=2,
        )
    return "\n".join(_table(rows, page))


def _table(rows: Sequence[StatusRow], page: LivePage) -> Iterator[str]:
    from autoscaler.explain.figures import aligned

    for problem in (*page.problems, *page.spec_problems):
        yield from _wrapped(f"The daemon is not ready: {problem}", indent="", further="  ")
    if not rows:
        yield "No model is decided on yet."
        return
    head, *lines = aligned([_HEAD, *(_cells(row) for row in rows)], texts=_TEXTS)
    yield click.style(head, bold=True)
    for row, line in zip(rows, lines, strict=True):
        yield line
        yield from _why(page.models[row.model], row)


def _why(told: LiveModel, row: StatusRow) -> Iterator[str]:
    """Say why, and what somebody may have to see to."""
    from autoscaler.explain.explanation import headline

    yield from _wrapped(headline(told.decision, told.asked), indent="  ", further="    ")
    if row.wrong:
        yield from _wrapped(
            f"see to {', '.join(row.wrong)}: autoscaler explain {row.model}",
            indent="  ",
            further="    ",
        )


def _cells(row: StatusRow) -> tuple[str, ...]:
    from autoscaler.explain.figures import number, percent

    return (
        row.model,
        row.mode,
        row.ready_text,
        row.desired_text,
        str(row.warm_floor_replicas),
        number(row.demand_replicas),
        row.expected_text(".."),
        percent(row.attained_ratio) + "!" * row.misses,
        row.budget_text,
        row.usd_text,
    )
