"""Many seeds for people: one line a policy, each figure's mean and, where it differs, its worst seed.

A terminal has room for some columns: the first table takes the headline, the next ones the rest, each
with the policies' names again, so that nothing is cut and no line wraps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from simulations.results.scorecard import Row
from simulations.results.seeds import FIGURES, Averaged, Figure, averaged

GAP = 2
"""Cells between two columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    title: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(len, (self.title, *self.cells)))


def summary_tables(rows: Sequence[Row], *, width: int) -> Iterator[Table]:
    """The comparison on one trace, over its seeds, in tables of at most `width` cells.

    Args:
        rows: Of one trace.
        width: Of the terminal; a table is wider only where a single figure is.
    """
    lines = averaged(rows)
    names = _Column(title="policy", cells=tuple(line.name for line in lines))
    first = rows[0]
    seeds = len({row.seed for row in rows})
    title = f"{first.trace}: {first.requests} requests, mean of {seeds} seeds, and the worst"
    for number, block in enumerate(_blocks(_pairs(lines), width - names.width)):
        shown = Table(
            title=title if number == 0 else None,
            title_justify="left",
            box=None,
            pad_edge=False,
            header_style="bold",
        )
        shown.add_column(names.title, no_wrap=True)
        for column in block:
            shown.add_column(column.title, justify="right", no_wrap=True)
        for line, cells in zip(
            lines, zip(names.cells, *(column.cells for column in block), strict=True), strict=True
        ):
            shown.add_row(*cells, style="dim" if line.reference else None)
        yield shown


def _pairs(lines: Sequence[Averaged]) -> Iterator[list[_Column]]:
    """Each figure that any line has: its mean, and its worst seed where the two are not the same."""
    for key, figure in FIGURES.items():
        means = tuple(_cell(figure, line.mean[key]) for line in lines)
        worst = tuple(_cell(figure, line.worst[key]) for line in lines)
        if all(cell == "-" for cell in means):
            continue
        columns = [_Column(title=figure.title, cells=means)]
        if worst != means:
            columns.append(_Column(title="worst", cells=worst))
        yield columns


def _blocks(pairs: Iterator[list[_Column]], width: int) -> Iterator[list[_Column]]:
    block: list[_Column] = []
    taken = 0
    for pair in pairs:
        needed = sum(column.width + GAP for column in pair)
        if block and taken + needed > width:
            yield block
            block, taken = [], 0
        block += pair
        taken += needed
    if block:
        yield block


def _cell(figure: Figure, value: float | None) -> str:
    return "-" if value is None else format(value, figure.form)
