"""Draws `architecture.svg` from the import contracts in `pyproject.toml`: `python docs/picture.py`.

A panel for each contract of layers; a test fails where the picture is not that of the contracts.
"""
# ruff: noqa: INP001  a script, no package

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"

COLUMNS = (("autoscaler", "autoscaler.sources"), ("autoscaler.core", "autoscaler.kube"))
"""Panels in columns, from the left; all others stand in a third one."""
WIDTH, ROW, GAP, HEAD = 340, 30, 6, 34
MARGIN = 24
STYLE = (
    "text{font:13px ui-sans-serif,system-ui,sans-serif;fill:#1f2933}"
    ".head{font-weight:600;font-size:15px}"
    ".panel{fill:#f5f7fa;stroke:#cbd2d9}.box{fill:#fff;stroke:#7b8794}"
)


class Panel(NamedTuple):
    """One contract of layers."""

    name: str
    """The package whose inside it is about."""
    rows: tuple[tuple[str, ...], ...]
    """From the top; entries of one row do not import each other."""

    @property
    def height(self) -> int:
        """In pixels."""
        return HEAD + len(self.rows) * (ROW + GAP) + GAP


def panels(pyproject: str) -> list[Panel]:
    """Read every contract of layers."""
    contracts = tomllib.loads(pyproject)["tool"]["importlinter"]["contracts"]
    found = []
    for contract in contracts:
        if contract["type"] != "layers":
            continue
        rows = [tuple(part.strip() for part in layer.split("|")) for layer in contract["layers"]]
        (container,) = contract.get("containers") or {rows[0][0].partition(".")[0]}
        short = tuple(tuple(part.removeprefix(f"{container}.") for part in row) for row in rows)
        found.append(Panel(name=container, rows=short))
    return found


def draw(pyproject: str) -> str:
    """Return the picture."""
    every = {panel.name: panel for panel in panels(pyproject)}
    named = {name for column in COLUMNS for name in column}
    columns = [[every[name] for name in column] for column in COLUMNS]
    columns.append([panel for name, panel in every.items() if name not in named])
    parts: list[str] = []
    bottoms = []
    for number, column in enumerate(columns):
        x, y = MARGIN + number * (WIDTH + MARGIN), MARGIN
        for panel in column:
            parts += _panel(panel, x=x, y=y)
            y += panel.height + MARGIN
        bottoms.append(y)
    width, height = MARGIN + len(columns) * (WIDTH + MARGIN), max(bottoms)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="Rooms and their layers">'
    )
    ground = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", ground, *parts, "</svg>", ""])


def _panel(panel: Panel, *, x: int, y: int) -> Iterable[str]:
    yield f'<rect class="panel" x="{x}" y="{y}" width="{WIDTH}" height="{panel.height}" rx="6"/>'
    yield f'<text class="head" x="{x + 12}" y="{y + 23}">{escape(panel.name)}</text>'
    for number, row in enumerate(panel.rows):
        yield from _row(row, x=x + 12, y=y + HEAD + number * (ROW + GAP))


def _row(row: Sequence[str], *, x: int, y: int) -> Iterable[str]:
    room = WIDTH - 24 - GAP * (len(row) - 1)
    letters = sum(len(name) + 4 for name in row)
    for name in row:
        width = round(room * (len(name) + 4) / letters)
        yield f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{ROW}" rx="4"/>'
        middle = x + width // 2
        yield f'<text x="{middle}" y="{y + 20}" text-anchor="middle">{escape(name)}</text>'
        x += width + GAP


if __name__ == "__main__":
    PICTURE.write_text(draw((ROOT / "pyproject.toml").read_text()))
