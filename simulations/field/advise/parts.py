"""Which stretches of a capture are replayed: those between holes, and of a long one perhaps a few days.

A hole has no arrivals to replay: a policy that scales down in it would save what nobody could have
saved. So a capture is cut at its holes and the parts are replayed apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray
from autoscaler.errors import SettingsError
from simulations.field.capture.capture import Capture
from simulations.field.capture.counters import stretches
from simulations.serving.columns import RequestColumns
from simulations.traces.trace import Trace

SHORT_HOLE_S = 300
"""A shorter hole stays in: Prometheus restarted. It is replayed as rest."""
SHORTEST_S = 900
"""A shorter part is left out: every policy begins it without a past."""
DIP_STEPS = 2
"""A replica that is away for so many steps and back again lost a scrape."""
DAY_S = 86_400
TICK_COST_S = 0.0005
"""Of a tick of five seconds of the engine and its world: half of the runs' time."""
REQUEST_COST_S = 3e-6
"""Of a request in one run; the kernel serves a million a second, the rest is counting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Steps [first, last) of a capture, replayed as one."""

    first: int
    last: int
    weight: float = 1.0
    """How many stretches like it there were: more than one where a day stands for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTrace(Trace):
    """A part's requests; its end is the part's, not the last arrival."""

    length_ns: int

    @property
    def end_ns(self) -> int:
        """Where what is paid ends."""
        return self.length_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedParts:
    """What of a capture is replayed."""

    parts: tuple[Part, ...]
    explanation: str
    """How it was chosen; empty: all that is known is replayed."""


def choose_parts(captured: Capture, *, budget_s: float, runs: int, jobs: int) -> ReplayedParts:
    """Everything known where its runs fit the budget on so many processes, else the busiest and the median day.

    Raises:
        SettingsError: No stretch is long enough to be replayed.
    """
    whole = _between_holes(captured, 0, len(captured.arrivals))
    if not whole:
        raise SettingsError(
            f"{captured.subject.name}: no stretch of {SHORTEST_S // 60} min without a hole; ask for "
            "more with --since"
        )
    step = captured.grid.step
    days = _days(captured)
    if len(days) < 3 or estimate_s(captured, whole, runs=runs, jobs=jobs) <= budget_s:
        return ReplayedParts(parts=tuple(whole), explanation="")
    ranked = sorted(days, key=lambda day: float(captured.arrivals[day[0] : day[1]].sum()))
    median, peak = ranked[(len(ranked) - 1) // 2], ranked[-1]
    parts = [
        Part(first=part.first, last=part.last, weight=weight)
        for day, weight in sorted([(peak, 1.0), (median, len(days) - 1.0)])
        for part in _between_holes(captured, *day)
    ]
    replayed_h = sum(part.last - part.first for part in parts) * step / 3600
    return ReplayedParts(
        parts=tuple(parts),
        explanation=(
            f"{replayed_h:.0f} h of {len(captured.arrivals) * step / 3600:.0f} h are replayed: the "
            f"busiest day once, and the median day for the other {len(days) - 1}; figures are "
            "extrapolated from them (--full replays all)"
        ),
    )


def estimate_s(captured: Capture, parts: Sequence[Part], *, runs: int, jobs: int) -> float:
    """About how long the replays of these parts take, seconds; the engine's own run is one of them."""
    seconds = sum(part.last - part.first for part in parts) * captured.grid.step
    requests = sum(float(captured.arrivals[p.first : p.last].sum()) for p in parts)
    engine_s = seconds / 5 * TICK_COST_S + requests * REQUEST_COST_S
    others_s = (runs - 1) * (seconds / 15 * TICK_COST_S / 2 + requests * REQUEST_COST_S)
    return max(engine_s, (engine_s + others_s) / max(1, jobs))


def _days(captured: Capture) -> list[tuple[int, int]]:
    """Whole days, back from the end, in which there is something to replay."""
    each = DAY_S // captured.grid.step
    last = len(captured.arrivals)
    days = [(first, first + each) for first in range(last - each, -1, -each)]
    return [day for day in reversed(days) if _between_holes(captured, *day)]


def _between_holes(captured: Capture, first: int, last: int) -> list[Part]:
    step = captured.grid.step
    known = _known_or_short_hole(captured.known[first:last], SHORT_HOLE_S // step)
    return [
        Part(first=first + a, last=first + b)
        for a, b in stretches(known)
        if (b - a) * step >= SHORTEST_S
    ]


def _known_or_short_hole(known: BoolArray, steps: int) -> BoolArray:
    """Steps that are known, or in a hole of at most so many steps between known ones."""
    bridged = known.copy()
    for a, b in stretches(~known):
        if b - a <= steps and a > 0 and b < len(known):
            bridged[a:b] = True
    return bridged


def replica_counts(captured: Capture) -> FloatArray:
    """Replicas at the end of each step, as a policy can follow them.

    Where Prometheus knew nothing the last count stands, and one that lost a scrape was not away.
    """
    counts = captured.replicas.copy()
    unknown = counts == 0
    if unknown.all():
        return np.ones(len(counts))
    known_at = np.flatnonzero(~unknown)
    before = np.searchsorted(known_at, np.arange(len(counts)), side="right") - 1
    counts = counts[known_at[np.maximum(before, 0)]]
    for width in range(1, DIP_STEPS + 1):
        for at in range(1, len(counts) - width):
            around = min(counts[at - 1], counts[at + width])
            if (counts[at : at + width] < around).all():
                counts[at : at + width] = around
    return counts


def part_trace(captured: Capture, requests: RequestColumns, part: Part) -> PartTrace:
    """The requests of a part, its start at zero."""
    step_ns = captured.grid.step * 1_000_000_000
    begin, end = part.first * step_ns, part.last * step_ns
    a, b = np.searchsorted(requests.arrival_ns, [begin, end])
    return PartTrace(
        name=captured.subject.name,
        requests=RequestColumns(
            arrival_ns=requests.arrival_ns[a:b] - begin,
            prompt_tokens=requests.prompt_tokens[a:b],
            output_tokens=requests.output_tokens[a:b],
        ),
        length_ns=end - begin,
    )
