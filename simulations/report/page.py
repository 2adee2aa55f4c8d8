"""The page: charts by plotly (its library inlined once), tables that sort, no request to anywhere."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np

from autoscaler.errors import SettingsError
from simulations.report.line import Timeline

COLOURS = ("#0b6e4f", "#d1495b", "#30638e", "#edae49", "#6a4c93", "#00798c", "#8d99ae", "#bc6c25")
OURS = "inference-aware"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One policy (in one setting) on one trace, over its seeds."""

    trace: str
    policy: str
    setting: str
    """`default` or `best`."""
    seeds: int
    figures: Mapping[str, float | None]
    """Mean over the seeds, by column; see `columns`."""
    worst: Mapping[str, float | None]
    timeline: Timeline | None = None
    """Of the first seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCurve:
    """The clairvoyant's cost over attainment, on one trace."""

    trace: str
    attainment: Sequence[float]
    cost_usd: Sequence[float]


def render(
    *,
    title: str,
    subtitle: str,
    entries: Sequence[Entry],
    columns: Mapping[str, str],
    bounds: Sequence[BoundCurve] = (),
    notes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """The whole page as text.

    Args:
        title: Heading.
        subtitle: What was run, in one line.
        entries: Rows, in order of trace.
        columns: Key in `figures` -> heading, in order.
        bounds: One curve a trace, where bounds were computed.
        notes: By trace: paragraphs over its table.

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
    template = resources.files("simulations.report").joinpath("page.html").read_text()
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
        message = "--report needs plotly: install inference-autoscaler[report]"
        raise SettingsError(message) from error
    # a closing tag inside the library's strings would end the script element
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _section(
    trace: str,
    entries: Sequence[Entry],
    columns: Mapping[str, str],
    curve: BoundCurve | None,
    number: int,
    notes: Sequence[str],
) -> str:
    charts = [("Cost against attainment", _trade(entries, curve), "trade")]
    drawn = [entry for entry in entries if entry.timeline is not None]
    if drawn:
        charts += [
            ("Replicas paid for", _over_time(drawn, _replicas), "replicas"),
            ("Requests without a first token", _over_time(drawn, lambda t: t.waiting), "waiting"),
            ("Time to first token, p95, s", _over_time(drawn, lambda t: t.ttft_p95_s), "ttft"),
        ]
        if any(entry.timeline is not None and entry.timeline.spot.any() for entry in drawn):
            charts += [
                ("Spot replicas", _over_time(drawn, lambda t: t.spot), "spot"),
                ("Requests lost", _over_time(drawn, lambda t: t.lost), "lost"),
            ]
    figures = "\n".join(
        f'<figure><figcaption>{html.escape(name)}</figcaption><div class="chart" id="c{number}-{key}">'
        f"</div></figure><script>draw('c{number}-{key}', {_json(figure)})</script>"
        for name, figure, key in charts
    )
    told = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return (
        f"<section><h2>{html.escape(trace)}</h2>{told}{_table(entries, columns)}{figures}</section>"
    )


def _table(entries: Sequence[Entry], columns: Mapping[str, str]) -> str:
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in ("policy", *columns.values()))
    rows = []
    for entry in entries:
        name = entry.policy + ("" if entry.setting == "default" else f" ({entry.setting})")
        cells = [f'<td data-v="{html.escape(name)}">{html.escape(name)}</td>']
        for key in columns:
            value, worst = entry.figures.get(key), entry.worst.get(key)
            shown = "–" if value is None else f"{value:.4g}"
            if entry.seeds > 1 and worst is not None and worst != value:
                shown += f" <small>{worst:.4g}</small>"
            cells.append(f'<td data-v="{"" if value is None else value}">{shown}</td>')
        mark = ' class="ours"' if entry.policy == OURS else ""
        rows.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _trade(entries: Sequence[Entry], curve: BoundCurve | None) -> dict[str, Any]:
    data: list[dict[str, Any]] = []
    if curve is not None:
        data.append(
            {
                "x": [100 * a for a in curve.attainment],
                "y": list(curve.cost_usd),
                "mode": "lines",
                "name": "clairvoyant bound",
                "line": {"color": "#555", "dash": "dot"},
            }
        )
    for colour, policy in zip(
        _colours(entries), dict.fromkeys(e.policy for e in entries), strict=True
    ):
        points = [entry for entry in entries if entry.policy == policy]
        data.append(
            {
                "x": [_percent(entry.figures.get("attainment")) for entry in points],
                "y": [entry.figures.get("cost_usd") for entry in points],
                "mode": "markers",
                "name": policy,
                "text": [entry.setting for entry in points],
                "marker": {"color": colour, "size": 14 if policy == OURS else 10},
            }
        )
    return {"data": data, "x": "attainment, %", "y": "cost, USD"}


def _over_time(entries: Sequence[Entry], column: Any) -> dict[str, Any]:
    data: list[dict[str, Any]] = []
    for colour, entry in zip(_colours(entries), entries, strict=False):
        assert entry.timeline is not None
        data.append(
            {
                "x": _rounded(entry.timeline.hours),
                "y": _rounded(column(entry.timeline)),
                "mode": "lines",
                "name": entry.policy + ("" if entry.setting == "default" else " best"),
                "line": {"color": colour, "width": 2.5 if entry.policy == OURS else 1.2},
                "visible": True if entry.policy == OURS or len(data) < 4 else "legendonly",
            }
        )
    return {"data": data, "x": "hours", "y": ""}


def _replicas(line: Timeline) -> Any:
    return line.on_demand + line.spot


def _colours(entries: Sequence[Entry]) -> list[str]:
    names = list(dict.fromkeys((e.policy, e.setting) for e in entries))
    return [COLOURS[index % len(COLOURS)] for index in range(len(names))]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _rounded(values: Any) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 4) for v in values]


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False).replace("</", "<\\/")
