"""The charts of one trace, as plotly draws them; colours and marks say the same in all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoscaler.core.contract.state import FloatArray
from simulations.bounds.figures import BoundCurve, BoundSchedule
from simulations.results.scorecard import Timeline
from simulations.results.seeds import SeedAverage

COLOURS = ("#0b6e4f", "#d1495b", "#30638e", "#b8860b", "#6a4c93", "#00798c", "#7d8597", "#bc6c25")
SYMBOLS = ("circle", "square", "triangle-up", "hexagon")
"""Eight colours are told apart; each further eight policies take the next mark."""
GREY = "#555"
BOUND = "clairvoyant"
OURS = "inference-aware"
SHOWN = 4
"""Policies drawn over time at first; the reader picks others."""
MISSED_MIN = 0.01
"""Per cent: where less is missed a point stands at the axis' end."""
TICKS = (50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Per cent missed."""

DECADES = tuple(float(f"{digit}e{power}") for power in range(-3, 4) for digit in (1, 2, 5))
"""Ticks of a logarithmic axis, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One figure: its heading, a key for its element, and what `draw` in the page takes."""

    title: str
    key: str
    figure: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a policy is drawn."""

    colour: str
    symbol: str


def looks(entries: Sequence[SeedAverage]) -> dict[str, Look]:
    """By policy; a reference is grey."""
    found: dict[str, Look] = {}
    number = 0
    for entry in entries:
        if entry.policy in found:
            continue
        if entry.reference:
            found[entry.policy] = Look(colour=GREY, symbol="star")
            continue
        colour, symbol = COLOURS[number % len(COLOURS)], SYMBOLS[number // len(COLOURS) % 4]
        found[entry.policy] = Look(colour=colour, symbol=symbol)
        number += 1
    return found


def shown_first(entries: Sequence[SeedAverage]) -> set[str]:
    """Names drawn over time before the reader picks: ours, the references, the first others."""
    marked = [entry.name for entry in entries if entry.policy == OURS or entry.reference]
    others = [entry.name for entry in entries if entry.name not in marked]
    return {*marked, *others[: max(1, SHOWN - len(marked))]}


def charts(entries: Sequence[SeedAverage], curve: BoundCurve | None) -> list[Chart]:
    """All charts of one trace that there is something to draw for."""
    look = looks(entries)
    drawn = [entry for entry in entries if entry.timeline is not None]
    made = [
        Chart(title="Cost against attainment", key="trade", figure=_trade(entries, curve, look))
    ]
    if not drawn:
        return made
    replicas = _over_time(drawn, lambda line: line.on_demand + line.spot, look)
    if curve is not None and curve.schedule is not None:
        replicas["data"].insert(0, _schedule(curve))
    waiting = _over_time(drawn, lambda line: line.waiting, look)
    ttft = {**_over_time(drawn, lambda line: line.ttft_p95_s, look), "decades": DECADES}
    made += [
        Chart(title="Replicas paid for", key="replicas", figure=replicas),
        Chart(title="Requests without a first token", key="waiting", figure=waiting),
        Chart(title="Time to first token, 95 % quantile, seconds", key="ttft", figure=ttft),
    ]
    lines = [entry.timeline for entry in drawn if entry.timeline is not None]
    if any(line.spot.any() for line in lines):
        title = "Spot replicas paid for; × where nodes were taken away"
        made.append(Chart(title=title, key="spot", figure=_spot(drawn, look)))
    if any(line.lost.any() for line in lines):
        lost = _over_time(drawn, lambda line: np.cumsum(line.lost), look)
        made.append(Chart(title="Requests lost, in all so far", key="lost", figure=lost))
    return made


def _trade(
    entries: Sequence[SeedAverage], curve: BoundCurve | None, look: Mapping[str, Look]
) -> dict[str, Any]:
    """Missed share on a logarithmic axis, as 99 % and 99.9 % are told apart; ticks say attainment."""
    data: list[dict[str, Any]] = []
    if curve is not None:
        data.append(
            {
                "x": [_missed(share) for share in curve.attainment],
                "y": [round(cost, 4) for cost in curve.cost_usd],
                "mode": "lines+text",
                "name": BOUND,
                # its name once, over the middle of the line
                "text": [
                    BOUND if number == len(curve.attainment) // 2 else ""
                    for number in range(len(curve.attainment))
                ],
                "textposition": "top center",
                "hovertemplate": "clairvoyant, %{y:.2f} USD<extra></extra>",
                "line": {"color": GREY, "dash": "dot"},
            }
        )
    for policy in dict.fromkeys(entry.policy for entry in entries):
        points = [
            entry
            for entry in entries
            if entry.policy == policy and entry.mean.get("attainment") is not None
        ]
        data.append(_points(points, look[policy]))
    return {
        "data": data,
        "x": "attainment",
        "y": "cost, USD",
        "missed": [list(TICKS), [f"{100 - missed:g} %" for missed in TICKS]],
        "from_zero": True,
    }


def _points(points: Sequence[SeedAverage], look: Look) -> dict[str, Any]:
    """A policy's default, joined by a thin line with its best setting in hindsight: a hollow mark."""
    return {
        "x": [_missed(point.mean["attainment"] or 0.0) for point in points],
        "y": [point.mean.get("cost_usd") for point in points],
        "mode": "lines+markers+text",
        "name": points[0].policy if points else "",
        "text": [point.name for point in points],
        "customdata": [100 * (point.mean["attainment"] or 0.0) for point in points],
        "hovertemplate": "%{text}<br>%{customdata:.2f} %, %{y:.2f} USD<extra></extra>",
        "textposition": "top center",
        "line": {"color": look.colour, "width": 1, "dash": "dot"},
        "marker": {
            "color": look.colour,
            "size": 14 if points and points[0].policy == OURS else 10,
            "symbol": [
                look.symbol if point.setting == "default" else f"{look.symbol}-open"
                for point in points
            ],
            "line": {"width": 2},
        },
    }


def _missed(attainment: float) -> float:
    return max(MISSED_MIN, round(100 * (1 - attainment), 6))


def _over_time(
    entries: Sequence[SeedAverage],
    column: Callable[[Timeline], FloatArray],
    look: Mapping[str, Look],
) -> dict[str, Any]:
    shown = shown_first(entries)
    data = [
        {
            "x": _rounded(entry.timeline.hours),
            "y": _rounded(column(entry.timeline)),
            "mode": "lines",
            "name": entry.name,
            "line": {
                "color": look[entry.policy].colour,
                "width": 2.5 if entry.policy == OURS else 1.4,
                "dash": "solid" if entry.setting == "default" else "dash",
            },
            "visible": entry.name in shown,
        }
        for entry in entries
        if entry.timeline is not None
    ]
    return {"data": data, "x": "hours", "y": ""}


def _spot(entries: Sequence[SeedAverage], look: Mapping[str, Look]) -> dict[str, Any]:
    figure = _over_time(entries, lambda line: line.spot, look)
    shown = shown_first(entries)
    for entry in entries:
        line = entry.timeline
        if line is None or line.interruptions is None or not line.interruptions.any():
            continue
        at = np.flatnonzero(line.interruptions)
        figure["data"].append(
            {
                "x": _rounded(line.hours[at]),
                "y": _rounded(line.spot[at]),
                "mode": "markers",
                "name": entry.name,
                "text": [f"{int(count)} nodes" for count in line.interruptions[at]],
                "marker": {"color": look[entry.policy].colour, "symbol": "x", "size": 8},
                "visible": entry.name in shown,
            }
        )
    return figure


def schedule_name(schedule: BoundSchedule) -> str:
    """As the legend calls it."""
    return f"{BOUND} at {100 * schedule.attainment:.4g} %"


def _schedule(curve: BoundCurve) -> dict[str, Any]:
    assert curve.schedule is not None
    return {
        "x": _rounded(curve.schedule.hours),
        "y": _rounded(curve.schedule.replicas),
        "mode": "lines",
        "name": schedule_name(curve.schedule),
        "line": {"color": GREY, "dash": "dot", "width": 1.4, "shape": "hv"},
    }


def _rounded(values: Any) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in values]
