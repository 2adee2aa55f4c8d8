"""The demo on a terminal, live, or as plain lines where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from simulations.box.demo.picture import Picture, ReplicaCounts

_BARS = " ▁▂▃▄▅▆▇█"
_NEWS_LINES_MIN, _NEWS_LINES_MAX = 4, 14
_OTHER_LINES = 19
"""Of the screen, beside the news."""
_OTHER_CELLS = 36
"""Of a line with a curve: frame, name and peak."""
_PLAIN_EVERY_S = 2.0


class View:
    """Shows pictures as they come; a context manager."""

    def __init__(self, console: Console, *, plain: bool) -> None:
        self._console = console
        self._live = None if plain or not console.is_terminal else Live(console=console)
        self._told = 0
        self._said_at_s = float("-inf")
        self._phase = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, picture: Picture) -> None:
        """Draw it anew, or say what is new."""
        if self._live is not None:
            width, height = self._console.size
            self._live.update(render(picture, width=width, height=height), refresh=True)
            return
        if picture.phase != self._phase:
            self._phase = picture.phase
            self._print(f"--- {picture.phase}")
        fresh = min(picture.news_total - self._told, len(picture.news))
        self._told = picture.news_total
        for line in list(picture.news)[len(picture.news) - fresh :]:
            self._print(line)
        if picture.at_s - self._said_at_s >= _PLAIN_EVERY_S and picture.at_s >= 0:
            self._said_at_s = picture.at_s
            self._print(plain_line(picture))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def plain_line(picture: Picture) -> str:
    """One moment on one line."""
    pools = "; ".join(
        f"{kind} {replicas.ready} of {replicas.desired}{_apart(replicas.starting, 'starting')}"
        f"{_apart(replicas.doomed, 'doomed')}{_apart(replicas.draining, 'draining')}"
        for kind, replicas in picture.replicas.items()
    )
    waiting = _whole(picture.measure("waiting_requests"))
    return (
        f"{picture.at_s:5.1f} s  in flight {picture.in_flight} ({waiting} waiting); "
        f"{pools}; floor {_whole(picture.measure('warm_floor_replicas'))}; "
        f"forecast {_band(picture)}; completed {picture.completed}, lost {picture.lost}; "
        f"GPU memory {_memory(picture)}, free GPUs {_whole(picture.gpus_free)}"
    )


def render(picture: Picture, *, width: int, height: int) -> RenderableType:
    """The whole screen, for a terminal of this size."""
    title = f"inference-autoscaler, in a box: {picture.phase}"
    if picture.at_s >= 0:
        title += f", {picture.at_s:.0f} s of {picture.seconds:.0f} s"
    lines = min(_NEWS_LINES_MAX, max(_NEWS_LINES_MIN, height - _OTHER_LINES))
    news = list(picture.news)[-lines:]
    return Panel(
        Group(
            _numbers(picture),
            _replicas(picture),
            _curves(picture, cells=max(20, width - _OTHER_CELLS)),
            Panel(
                Text("\n".join(news) or "nothing yet", no_wrap=True, overflow="ellipsis"),
                title="decisions and events",
                height=lines + 2,
            ),
        ),
        title=title,
    )


def _numbers(picture: Picture) -> RenderableType:
    table = Table.grid(padding=(0, 3))
    waiting = _whole(picture.measure("waiting_requests"))
    table.add_row(
        f"in flight [bold]{picture.in_flight}[/] ({waiting} waiting)",
        f"sent {picture.sent}, completed [green]{picture.completed}[/], "
        f"lost [{'red' if picture.lost else 'green'}]{picture.lost}[/]",
        f"cold start {_number(picture.measure('cold_start_s'))} s",
    )
    table.add_row(
        f"demand {_number(picture.measure('demand_replicas'))} replicas",
        f"forecast {_band(picture)}",
        f"warm floor {_whole(picture.measure('warm_floor_replicas'))}",
    )
    table.add_row(f"GPU memory {_memory(picture)}", f"GPUs free {_whole(picture.gpus_free)}")
    return table


def _replicas(picture: Picture) -> RenderableType:
    table = Table(expand=True)
    table.add_column("replicas")
    for column in fields(ReplicaCounts):
        table.add_column(column.name, justify="right")
    table.add_column("")
    for kind, replicas in picture.replicas.items():
        table.add_row(
            kind,
            *map(str, astuple(replicas)),
            Text.assemble(
                ("■ " * replicas.ready, "green"),
                ("□ " * replicas.starting, "yellow"),
                ("■ " * replicas.doomed, "red"),
                ("▢ " * replicas.draining, "dim"),
            ),
        )
    return table


def _curves(picture: Picture, *, cells: int) -> RenderableType:
    """Requests by a scale of their own, everything in replicas by one."""
    table = Table.grid(padding=(0, 1))
    top = max((_peak(v) for name, v in picture.curves.items() if name != "in flight"), default=0.0)
    for name, values in picture.curves.items():
        peak = _peak(values) if name == "in flight" else top
        table.add_row(name, curve(values, cells=cells, peak=peak), f"of {peak:.3g}")
    return table


def _peak(values: Sequence[float | None]) -> float:
    return max((value for value in values if value is not None), default=0.0)


def curve(values: Sequence[float | None], *, cells: int, peak: float) -> str:
    """A line of bars, the mean of what falls into each cell; a gap where nothing is known."""
    if not values:
        return " " * cells
    bars = []
    for cell in range(cells):
        first = cell * len(values) // cells
        last = max(first + 1, (cell + 1) * len(values) // cells)
        known = [value for value in values[first:last] if value is not None]
        height = sum(known) / len(known) / peak if known and peak > 0 else 0.0
        bars.append(_bar(height) if known else " ")
    return "".join(bars)


def _bar(height: float) -> str:
    """Something stands above nothing, however little it is."""
    return _BARS[0] if height <= 0 else _BARS[max(1, round(height * (len(_BARS) - 1)))]


def _memory(picture: Picture) -> str:
    """What the daemon reads of DCGM: those that load have less than those that serve."""
    used = [value / 2**30 for value in picture.framebuffers]
    if not used:
        return "?"
    full = max(used)
    loading = [value for value in used if value < 0.95 * full]
    text = f"{sum(used):.0f} GiB in {len(used)} replicas"
    return text + (f" (loading: {', '.join(f'{v:.0f}' for v in loading)})" if loading else "")


def _band(picture: Picture) -> str:
    mean = picture.measure("forecast_replicas")
    if mean is None:
        return "none yet"
    low, high = picture.measure("forecast_low_replicas"), picture.measure("forecast_high_replicas")
    return f"{mean:.1f} ({_number(low)} to {_number(high)})"


def _apart(count: int, what: str) -> str:
    return f" +{count} {what}" if count else ""


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def _whole(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"
