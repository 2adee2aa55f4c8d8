"""`python -m simulations.studies.scoreboard`: replay entries of `scoreboard.toml`, keep their rows, write the page.

The page is made of all rows that are kept, whoever ran them and when; with --page nothing is run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from autoscaler.errors import AutoscalerError, SettingsError
from simulations.results.text import text_table
from simulations.runs.runs import cores
from simulations.studies.scoreboard.cache import EntryCache, sources_digest
from simulations.studies.scoreboard.entries import Board, Setting, read_board, settings_of
from simulations.studies.scoreboard.entry_runs import play_entry, play_ours
from simulations.studies.scoreboard.pace import Pace
from simulations.studies.scoreboard.page import (
    TABLES,
    board_errors,
    played_entries,
    readme_with,
    scoreboard_page,
)
from simulations.studies.scoreboard.rows import (
    ROWS,
    EntryRows,
    entry_rows,
    made_by,
    read_rows,
    why_not_ours_alone,
    with_ours,
    write_rows,
)
from simulations.studies.scoreboard.sizes import SizedEntry, sized_entry
from simulations.studies.scoreboard.tables_page import scoreboard_tables

FILE = Path(__file__).with_name("scoreboard.toml")
WIDTH = 160


@click.command(help=__doc__)
@click.option("--traces", type=click.Path(path_type=Path), help="Recordings' folder.")
@click.option(
    "--file", type=click.Path(path_type=Path), default=FILE, help="The board's TOML file."
)
@click.option("--only", multiple=True, metavar="NAME", help="This entry; may be repeated.")
@click.option(
    "--estimate",
    is_flag=True,
    help="Say how large each entry is, what is kept of it and how long it takes; run nothing.",
)
@click.option("--page", is_flag=True, help="Make the page of the rows that are kept; run nothing.")
@click.option(
    "--ours",
    is_flag=True,
    help="Run inference-aware alone, and keep the rows of its peers: where their code is as it was.",
)
@click.option("--fresh", is_flag=True, help="Run anew what a stopped run has finished.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path(".scoreboard"),
    show_default=True,
    help="Where finished runs are kept.",
)
@click.option(
    "--rows",
    type=click.Path(path_type=Path),
    default=ROWS,
    help="Where the rows of finished entries are kept; by default those of the repository.",
)
@click.option(
    "--readme",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Also write what is to be said of the board between the marks of this page.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Runs side by side; one a processor.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default=Path("-"),
    help=f"The page; {TABLES} is written beside it. Standard output by default, without the tables.",
)
def main(
    *,
    traces: Path | None,
    file: Path,
    only: tuple[str, ...],
    estimate: bool,
    page: bool,
    ours: bool,
    fresh: bool,
    cache: Path,
    rows: Path,
    readme: Path | None,
    jobs: int | None,
    output: Path,
) -> None:
    """Make the page; exits with 2 where something cannot be worked with, with 1 where the board is wrong."""
    try:
        board = read_board(file)
        if not page:
            if traces is None:
                raise SettingsError(
                    "--traces: name the folder of recordings, or make the --page alone"
                )
            settings = settings_of(board, path=file, traces=traces, only=only)
            caches = [EntryCache(cache, setting) for setting in settings]
            if fresh:
                for kept in caches:
                    kept.forget()
            entries = [_sized(s, kept) for s, kept in zip(settings, caches, strict=True)]
            if estimate:
                show_sizes(entries, caches, read_rows(rows, board.entry))
                return
            if ours:
                run_ours(entries, caches, rows=rows, jobs=jobs or cores())
            else:
                run_entries(entries, caches, rows=rows, jobs=jobs or cores())
        kept_rows = read_rows(rows, board.entry)
        wrong = write_pages(board, kept_rows, output)
        if readme is not None:
            _write(readme, readme_with(readme.read_text(encoding="utf-8"), board, kept_rows))
        for text in wrong:
            print(f"the board is wrong: {text}", file=sys.stderr)
        if wrong:
            sys.exit(1)
    except AutoscalerError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, SettingsError) else 1)


def run_entries(
    entries: Sequence[SizedEntry], caches: Sequence[EntryCache], *, rows: Path, jobs: int
) -> None:
    """Play every entry, or take what is kept of it, and keep its rows as soon as it is done."""
    pace = Pace(sys.stderr, weights=[entry.cpu_s for entry in entries])
    made = made_by(FILE.parent)
    with pace.bar:
        for number, (entry, kept) in enumerate(zip(entries, caches, strict=True)):
            pace.begin(number, entry.setting.entry.name)
            finished = play_entry(entry, cache=kept, jobs=jobs, pace=pace)
            write_rows(rows, entry_rows(entry, finished, made=made))


def run_ours(
    entries: Sequence[SizedEntry], caches: Sequence[EntryCache], *, rows: Path, jobs: int
) -> None:
    """Play our own rule on every entry, and put its rows in the place of the former ones.

    Raises:
        SettingsError: An entry has to be run whole; nothing was run then.
    """
    made = made_by(FILE.parent)
    kept = {row.name: row for row in read_rows(rows, [e.setting.entry for e in entries])}
    for entry in entries:
        asked = entry.setting.entry
        why = why_not_ours_alone(kept.get(asked.name), asked, made=made)
        if why is not None:
            raise SettingsError(f"--ours: entry {asked.name!r}: {why}; run it without --ours")
    pace = Pace(sys.stderr, weights=[entry.ours_cpu_s for entry in entries])
    with pace.bar:
        for number, (entry, cache) in enumerate(zip(entries, caches, strict=True)):
            name = entry.setting.entry.name
            pace.begin(number, name)
            finished = play_ours(entry, kept[name].found, cache=cache, jobs=jobs, pace=pace)
            write_rows(rows, with_ours(kept[name], entry, finished, made=made))


def write_pages(board: Board, rows: Sequence[EntryRows], output: Path) -> list[str]:
    """Write the page, and the tables beside it; says what is wrong with the board."""
    text = scoreboard_page(board, rows)
    if str(output) == "-":
        print(text, end="")
    else:
        _write(output, text)
        _write(output.with_name(TABLES), scoreboard_tables(board, rows))
    return board_errors(played_entries(board, rows))


def _sized(setting: Setting, kept: EntryCache) -> SizedEntry:
    print(f"measuring {setting.entry.name}", file=sys.stderr, flush=True)
    return sized_entry(setting, kept)


def show_sizes(
    entries: Sequence[SizedEntry], caches: Sequence[EntryCache], rows: Sequence[EntryRows]
) -> None:
    """What each entry comes to, about how long its runs take, and what is kept of it."""
    heads = ("entry", "requests", "hours", "scored", "scale", "target", "peak", "mean", "max")
    of = {row.name: row for row in rows}
    now = sources_digest()[:16]
    table: list[Sequence[str]] = []
    left_s = 0.0
    for entry, kept in zip(entries, caches, strict=True):
        size, asked = entry.size, entry.setting.entry
        done = min(1.0, kept.runs_kept() / entry.runs)
        left_s += entry.cpu_s * (1.0 - done)
        table.append(
            (
                asked.name,
                f"{size.requests:,}",
                f"{size.span_s / 3600:.2f}",
                f"{(size.span_s - size.score_from_s) / 3600:.2f}",
                f"{asked.scale:g}",
                f"{size.tested_target:g}",
                str(size.peak_replicas),
                f"{size.mean_replicas:.2f}",
                str(size.replicas_max),
                str(entry.runs),
                f"{entry.cpu_s / 60:.1f}",
                f"{100 * done:.0f} %",
                _state(of.get(asked.name), entry, now),
            )
        )
    runs, cpu_s = sum(e.runs for e in entries), sum(e.cpu_s for e in entries)
    table.append(("all", *[""] * 8, str(runs), f"{cpu_s / 60:.1f}", "", ""))
    Console(width=WIDTH).print(text_table((*heads, "runs", "CPU min", "kept", "rows"), table))
    print(
        f"about {cpu_s / 3600:.2f} CPU-hours in all, {left_s / 3600:.2f} of them to go: "
        f"{left_s / 3600 / cores():.2f} hours on the {cores()} processors here"
    )


def _state(rows: EntryRows | None, entry: SizedEntry, sources: str) -> str:
    """Whether the rows that are kept are of today's code and entry."""
    if rows is None:
        return "none"
    if not rows.is_of(entry.setting.entry):
        return f"of another entry, {rows.made.revision}"
    return "current" if rows.made.sources == sources else f"stale, {rows.made.revision}"


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
