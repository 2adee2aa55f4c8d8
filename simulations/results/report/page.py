"""The page: charts by plotly (its library inlined once), tables that sort, no request to anywhere."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any

from autoscaler.errors import SettingsError
from simulations.bounds.figures import BoundCurve
from simulations.results.report.charts import GREY, OURS, charts, looks, schedule_name, shown_first
from simulations.results.seeds import SeedAverage


def render(
    *,
    title: str,
    subtitle: str,
    entries: Sequence[SeedAverage],
    columns: Mapping[str, tuple[str, str]],
    bounds: Sequence[BoundCurve] = (),
    notes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """The whole page as text, with a section a trace, in the order of the entries.

    `columns` say by key of a figure its heading and how `format` writes it; `notes` are by trace.

    Raises:
        SettingsError: plotly is not installed.
    """
    traces = list(dict.fromkeys(entry.trace for entry in entries))
    parts = [
        _section(
            trace,
            [entry for entry in entries if entry.trace == trace],
            columns,
            next((curve for curve in bounds if curve.trace == trace), None),
            number,
            notes.get(trace, ()),
        )
        for number, trace in enumerate(traces)
    ]
    template = resources.files("simulations.results.report").joinpath("page.html").read_text()
    return (
        template.replace("{{title}}", html.escape(title))
        .replace("{{subtitle}}", html.escape(subtitle))
        .replace("{{plotly}}", _plotly())
        .replace("{{body}}", "\n".join(parts))
    )


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415  in the report extra
    except ImportError as error:
        raise SettingsError(
            "--report needs plotly: install inference-autoscaler[report]"
        ) from error
    # a closing tag inside the library's strings would end the script element
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _section(
    trace: str,
    entries: Sequence[SeedAverage],
    columns: Mapping[str, tuple[str, str]],
    curve: BoundCurve | None,
    number: int,
    notes: Sequence[str],
) -> str:
    made = charts(entries, curve)
    figures = [
        f'<figure><figcaption>{html.escape(chart.title)}</figcaption><div class="chart" '
        f'id="c{number}-{chart.key}"></div></figure>'
        f"<script>draw('c{number}-{chart.key}', {_json(chart.figure)})</script>"
        for chart in made
    ]
    # what picks the lines over time stands before the first of them
    figures.insert(1, _chips(entries, curve))
    paragraphs = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return (
        f"<section><h2>{html.escape(trace)}</h2>{paragraphs}{_table(entries, columns)}"
        f"{''.join(figures)}</section>"
    )


def _table(entries: Sequence[SeedAverage], columns: Mapping[str, tuple[str, str]]) -> str:
    titles = ("policy", *(title for title, _ in columns.values()))
    heads = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    rows = []
    for entry in entries:
        name = html.escape(entry.name)
        cells = [f'<td data-v="{name}">{name}</td>']
        for key, (_, form) in columns.items():
            value, worst = entry.mean.get(key), entry.worst.get(key)
            shown = "–" if value is None else format(value, form)
            if len(entry.scores) > 1 and worst is not None and worst != value:
                shown += f" <small>{format(worst, form)}</small>"
            cells.append(f'<td data-v="{"" if value is None else value}">{shown}</td>')
        kind = "ours" if entry.policy == OURS else "reference" if entry.reference else ""
        mark = f' class="{kind}"' if kind else ""
        rows.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _chips(entries: Sequence[SeedAverage], curve: BoundCurve | None) -> str:
    """Buttons that are the legend of all charts, and pick what those over time show."""
    look, shown = looks(entries), shown_first(entries)
    buttons = []
    for entry in entries:
        if entry.timeline is None:
            continue
        dot = "dot" if entry.setting == "default" else "dot hollow"
        colour = look[entry.policy].colour
        buttons.append(_chip(entry.name, dot, colour, pressed=entry.name in shown))
    if not buttons:
        return ""
    if curve is not None and curve.schedule is not None:
        buttons.append(_chip(schedule_name(curve.schedule), "dot hollow", GREY, pressed=True))
    return f'<div class="chips" role="group" aria-label="policies shown over time">{"".join(buttons)}</div>'


def _chip(name: str, dot: str, colour: str, *, pressed: bool) -> str:
    text = html.escape(name, quote=True)
    return (
        f'<button type="button" class="chip" data-name="{text}" aria-pressed="{str(pressed).lower()}">'
        f'<i class="{dot}" style="--c:{colour}"></i>{text}</button>'
    )


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False).replace("</", "<\\/")
