"""The page: each model with what it has, what it wants, why, and how that went. No script, and no request to anywhere.

It is made of texts that others wrote too (names, messages): each is escaped where it is put in.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from html import escape
from importlib import resources
from typing import NamedTuple

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.spec import Mode
from autoscaler.explain.asked import AskedModel
from autoscaler.explain.chart import chart
from autoscaler.explain.course import Course
from autoscaler.explain.explanation import explain
from autoscaler.explain.figures import number, percent, span
from autoscaler.explain.status import StatusRow, status_row

WHOLE_MAX = 8
"""Models that are shown whole on one page; of more, one is chosen from the table."""
REFRESH_S = 10


_PLACE = re.compile(r"\{\{([a-z]+)\}\}")


class PageModel(NamedTuple):
    """One model, as it is now and as it went."""

    decision: Decision
    asked: AskedModel
    course: Course


class PageState(NamedTuple):
    """What is said above the models."""

    at: float
    """Now, seconds since the epoch."""
    version: str
    problems: tuple[str, ...]
    live: bool
    """It changes: the browser is told to ask again, and the table has links."""


def page_in_steps(
    models: Mapping[str, PageModel], state: PageState, *, chosen: str = ""
) -> Generator[None, None, str]:
    """Write the page; yields between models.

    Args:
        models: By key.
        state: Of the daemon, or of what stands for it.
        chosen: The model that is shown whole; empty or unknown: all, where they are few.
    """
    rows = []
    for _, each in sorted(models.items()):
        rows.append(status_row(each.decision, each.asked))
        yield
    whole = [chosen] if chosen in models else sorted(models) if len(models) <= WHOLE_MAX else []
    sections = []
    for key in whole:
        sections.append(_section(models[key], alone=len(whole) == 1))
        yield
    title = chosen if chosen in models else "Inference Autoscaler"
    template = resources.files("autoscaler.explain").joinpath("page.html").read_text()
    parts = {
        "refresh": f'<meta http-equiv="refresh" content="{REFRESH_S}">' if state.live else "",
        "title": escape(title),
        "state": _state(state),
        "table": _table(rows, links=state.live) if len(models) != 1 else "",
        "models": "\n".join(sections),
    }
    # In one pass: what is put in may hold braces of its own.
    return _PLACE.sub(lambda place: parts[place[1]], template)


def _state(state: PageState) -> str:
    at = _moment(state.at)
    said = f"<p>version {escape(state.version)}, {at}</p>"
    return said + "".join(f'<p class="bad">{escape(each)}</p>' for each in state.problems)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _table(rows: list[StatusRow], *, links: bool) -> str:
    if not rows:
        return "<p>No model is decided on yet.</p>"
    head = (
        "model",
        "mode",
        "ready",
        "decided",
        "floor",
        "load",
        "attained",
        "budget",
        "$/h",
        "reason",
    )
    cells = "".join(f"<th>{each}</th>" for each in head)
    body = "".join(_row(row, links=links) for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(row: StatusRow, *, links: bool) -> str:
    key = escape(row.model)
    name = f'<a href="?model={key}">{key}</a>' if links else f'<a href="#{key}">{key}</a>'
    figures = (
        row.ready_text,
        row.desired_text,
        str(row.warm_floor_replicas),
        number(row.demand_replicas),
    )
    return (
        f"<tr><td>{name}</td><td>{escape(row.mode)}</td>"
        + "".join(f"<td>{each}</td>" for each in figures)
        + f"<td{_bad(row.misses)}>{percent(row.attained_ratio)}</td>"
        + f"<td{_bad(row.spent)}>{row.budget_text}</td>"
        + f"<td>{row.usd_text}</td>"
        + f"<td{_bad(bool(row.wrong))}>{escape(', '.join((row.reason, *row.wrong)))}</td></tr>"
    )


def _bad(is_bad: bool) -> str:  # noqa: FBT001  it says what it is
    return ' class="bad"' if is_bad else ""


def _section(model: PageModel, *, alone: bool) -> str:
    explanation, row = explain(model.decision, model.asked), status_row(model.decision, model.asked)
    tiles = (
        ("ready of asked for", row.ready_text, False),
        ("decided", row.desired_text, False),
        ("warm floor", str(row.warm_floor_replicas), False),
        ("load, in replicas", number(row.demand_replicas), False),
        ("expected", row.expected_text(" to "), False),
        ("attained, last hour", percent(row.attained_ratio), row.misses),
        ("a day's budget left", row.budget_text, row.spent),
        ("$ an hour", row.usd_text, False),
    )
    shown = "".join(
        f"<div{_bad(is_bad)}><b>{escape(value)}</b><span>{escape(name)}</span></div>"
        for name, value, is_bad in tiles
    )
    observes = model.asked.mode is Mode.OBSERVE
    note = (
        "<p>It observes: <i>decided</i> is what it would have had, <i>asked for</i> what somebody else did.</p>"
        if observes
        else ""
    )
    sections = "".join(
        f"<h4>{escape(each.title)}</h4><ul>"
        + "".join(f"<li>{escape(line)}</li>" for line in each.lines)
        + "</ul>"
        for each in explanation.sections
    )
    return (
        f'<section id="{escape(explanation.model)}"><h2>{escape(explanation.model)} '
        f"<small>{escape(row.mode)}</small></h2>"
        f'<p class="headline">{escape(explanation.headline)}</p>{note}<div class="tiles">{shown}</div>'
        f"{_drawn(model.course)}{_turns(model.course)}"
        f"<details{' open' if alone else ''}><summary>Why</summary>{sections}</details></section>"
    )


def _drawn(course: Course) -> str:
    drawn = chart(course)
    if not drawn:
        return ""
    at = course.column("at")
    over = span(float(at[-1] - at[0]))
    return f"<figure>{drawn}<figcaption>the last {over}, until {_moment(float(at[-1]))}</figcaption></figure>"


def _turns(course: Course) -> str:
    said = "".join(
        f"<li><time>{datetime.fromtimestamp(turn.at, tz=UTC):%H:%M:%S}</time> {escape(turn.said)}</li>"
        for turn in reversed(course.turns)
    )
    return (
        f'<h4>Last decisions that changed something</h4><ol class="turns">{said}</ol>'
        if said
        else ""
    )
