"""Many seeds for people: one line a policy, each figure's mean and, where it differs, its worst seed.

A terminal has room for some columns: the first table takes the headline, the next ones the rest, each
with the policies' names again, so that nothing is cut and no line wraps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from simulations.results.scorecard import Score
from simulations.results.seeds import FIGURES, SeedAverage, seed_averages
from simulations.results.text import number_text, text_table

GAP = 2
"""Cells between two columns."""
_Column = tuple[str, ...]
"""Its head, and its cells."""


def summary_tables(scores: Sequence[Score], *, width: int) -> Iterator[Table]:
    """The comparison on one trace, over its seeds; a table is wider than `width` only where a figure is."""
    averages = seed_averages(scores)
    names = ("policy", *(average.name for average in averages))
    first = scores[0]
    seeds = len({score.seed for score in scores})
    title = f"{first.trace}: {first.requests} requests, mean of {seeds} seeds, and the worst"
    references = [number for number, average in enumerate(averages) if average.reference]
    for number, block in enumerate(_blocks(_pairs(averages), width - _width(names))):
        heads, *rows = zip(names, *block, strict=True)
        yield text_table(heads, rows, title=None if number else title, dim=references)


def _pairs(averages: Sequence[SeedAverage]) -> Iterator[list[_Column]]:
    """Each figure that any policy has: its mean, and its worst seed where the two are not the same."""
    for key, figure in FIGURES.items():
        means = tuple(number_text(average.mean[key], figure.form) for average in averages)
        worst = tuple(number_text(average.worst[key], figure.form) for average in averages)
        if all(cell == "-" for cell in means):
            continue
        pair = [(figure.title, *means)]
        if worst != means:
            pair.append(("worst", *worst))
        yield pair


def _blocks(pairs: Iterator[list[_Column]], width: int) -> Iterator[list[_Column]]:
    block: list[_Column] = []
    used = 0
    for pair in pairs:
        needed = sum(_width(column) + GAP for column in pair)
        if block and used + needed > width:
            yield block
            block, used = [], 0
        block += pair
        used += needed
    if block:
        yield block


def _width(column: _Column) -> int:
    return max(map(len, column))
