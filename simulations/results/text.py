"""Numbers and tables as text: one form for each, whoever prints them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence

from rich.table import Table


def number_text(value: float | None, form: str = ".2f") -> str:
    """As `format` writes it; a dash where it is unknown."""
    return "-" if value is None else format(value, form)


def percent_text(ratio: float | None, digits: int = 2) -> str:
    """Per cent, by default with the two digits that attainments differ in."""
    return "-" if ratio is None else f"{100 * ratio:.{digits}f} %"


def usd_text(usd: float) -> str:
    """Dollars and cents."""
    return f"${usd:,.2f}"


def rounded(value: object) -> object:
    """As JSON has it: floats to six digits behind the point, a record as a mapping of its fields."""
    if isinstance(value, float):
        return round(value, 6)
    if dataclasses.is_dataclass(value):
        return {f.name: rounded(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return value


def text_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    dim: Collection[int] = (),
) -> Table:
    """A table for a terminal: the first column says what a row is of, the others are figures.

    Rows whose number is in `dim` stand back.
    """
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", no_wrap=True)
    for number, cells in enumerate(rows):
        table.add_row(*cells, style="dim" if number in dim else None)
    return table


def markdown_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[int] = (0,)
) -> str:
    """A table whose columns are right-aligned but for those in `left`."""
    rule = [":---" if column in left else "---:" for column in range(len(heads))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *rows))
