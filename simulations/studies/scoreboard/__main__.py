"""`python -m simulations.studies.scoreboard`: replay every entry of `scoreboard.toml` and write the page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from autoscaler.errors import AutoscalerError, SettingsError
from simulations.results.text import text_table
from simulations.runs.runs import cores
from simulations.studies.scoreboard.cache import EntryCache
from simulations.studies.scoreboard.entries import Board, Setting, read_board, settings_of
from simulations.studies.scoreboard.entry_runs import play_entry
from simulations.studies.scoreboard.pace import Pace
from simulations.studies.scoreboard.page import EntryScores, scoreboard_page
from simulations.studies.scoreboard.sizes import SizedEntry, sized_entry

FILE = Path(__file__).with_name("scoreboard.toml")
WIDTH = 160


@click.command(help=__doc__)
@click.option(
    "--traces", type=click.Path(path_type=Path), required=True, help="Recordings' folder."
)
@click.option(
    "--file", type=click.Path(path_type=Path), default=FILE, help="The board's TOML file."
)
@click.option("--only", multiple=True, metavar="NAME", help="This entry; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Say how large each entry is, and run nothing.")
@click.option("--fresh", is_flag=True, help="Run anew what a stopped run has finished.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path(".scoreboard"),
    show_default=True,
    help="Where finished parts are kept.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Runs side by side; one a processor.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default=Path("-"),
    help="The page; standard output by default.",
)
def main(
    *,
    traces: Path,
    file: Path,
    only: tuple[str, ...],
    dry_run: bool,
    fresh: bool,
    cache: Path,
    jobs: int | None,
    output: Path,
) -> None:
    """Make the page; exits with 2 where something cannot be worked with."""
    try:
        board = read_board(file)
        settings = settings_of(board, path=file, traces=traces, only=only)
        caches = [EntryCache(cache, setting) for setting in settings]
        if fresh:
            for kept in caches:
                kept.forget()
        entries = [_sized(s, kept) for s, kept in zip(settings, caches, strict=True)]
        if dry_run:
            show_sizes(entries)
            return
        text = make_page(board, entries, caches, jobs=jobs or cores())
        if str(output) == "-":
            print(text, end="")
        else:
            _write(output, text)
    except AutoscalerError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, SettingsError) else 1)


def make_page(
    board: Board, entries: Sequence[SizedEntry], caches: Sequence[EntryCache], *, jobs: int
) -> str:
    """Play every entry, or take what is kept of it, and write the page."""
    pace = Pace(sys.stderr, weights=[entry.cpu_s for entry in entries])
    played = []
    with pace.bar:
        for number, (entry, kept) in enumerate(zip(entries, caches, strict=True)):
            pace.begin(number, entry.setting.entry.name)
            finished = play_entry(entry, cache=kept, jobs=jobs, pace=pace)
            played.append(EntryScores(sized=entry, finished=finished))
    return scoreboard_page(played, objective=board.objective, processors=min(jobs, cores()))


def _sized(setting: Setting, kept: EntryCache) -> SizedEntry:
    print(f"measuring {setting.entry.name}", file=sys.stderr, flush=True)
    return sized_entry(setting, kept)


def show_sizes(entries: Sequence[SizedEntry]) -> None:
    """What each entry comes to, and about how long the runs would take."""
    heads = ("entry", "requests", "hours", "scale", "target", "peak", "mean", "max", "runs")
    rows: list[Sequence[str]] = [
        (
            entry.setting.entry.name,
            f"{entry.size.requests:,}",
            f"{entry.size.span_s / 3600:.2f}",
            f"{entry.setting.entry.scale:g}",
            f"{entry.size.in_flight_target:g}",
            str(entry.size.peak_replicas),
            f"{entry.size.mean_replicas:.2f}",
            str(entry.size.replicas_max),
            str(entry.runs),
            f"{entry.cpu_s / 60:.1f}",
        )
        for entry in entries
    ]
    rows.append(("all", *[""] * 7, str(sum(entry.runs for entry in entries)), ""))
    Console(width=WIDTH).print(text_table((*heads, "CPU min"), rows))
    print(f"about {sum(entry.cpu_s for entry in entries) / 3600:.2f} CPU-hours in all")


def _write(output: Path, text: str) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"--output {output}: {error.strerror or error}; name a file that can be written"
        ) from error


if __name__ == "__main__":
    main()
