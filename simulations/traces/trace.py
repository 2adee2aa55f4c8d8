"""Opens a trace, tells its format by its content, and reads it into columns.

`generate:SHAPE,key=value…` in place of a path makes one up (see `generate`); what may stand behind a
path is in `spec`.
"""

from __future__ import annotations

import itertools
from array import array
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoscaler.core.contract.state import IntArray
from autoscaler.errors import TraceError
from simulations.agenda import NS
from simulations.rng import stream
from simulations.serving.columns import RequestColumns, WholeNumbers
from simulations.traces import generate
from simulations.traces.contents import TraceContents, TraceFormat, check_drawn
from simulations.traces.files import open_lines
from simulations.traces.formats.registry import TRACES
from simulations.traces.overlay import selected_requests
from simulations.traces.rows import MAX_NS, RequestRows, TraceLines
from simulations.traces.spec import TraceSpec, trace_spec
from simulations.traces.units import check_span


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests over time, the first at 0."""

    name: str
    """The file's name without its endings, and what was asked of it: what rows call it."""
    requests: RequestColumns
    holes_s: tuple[tuple[float, float], ...] = ()
    """(from, to) on the clock of `requests` where the recording knows nothing, between the first
    request and the last: no request is there, and nobody knows how many there were."""
    notes: tuple[str, ...] = ()
    """What its user should be told: what was left out, and what was assumed."""
    repeat_s: float = 0.0
    """From the beginning of a repetition to that of the next; 0: it is not repeated."""

    @property
    def end_ns(self) -> int:
        """The last arrival: where the trace, and with it what is paid, ends."""
        arrivals = self.requests.arrival_ns
        return int(arrivals[-1]) if len(arrivals) else 0


def read_trace(spec: str) -> Trace:
    """Read the trace that `spec` names: `PATH[,key=value…]`, plain or gzipped, or `generate:…`.

    Raises:
        TraceError: It cannot be read; says which file, which line, what was found, what to do.
    """
    if spec.startswith(generate.PREFIX):
        return Trace(name=spec, requests=generate.generate(generate.recipe_of(spec)))
    asked = trace_spec(spec)
    with open_lines(asked.path) as lines:
        format_ = _format(lines)
        asked.only(format_.settings, format_name=format_.name)
        if format_.draw is not None:
            drawn = format_.draw(lines, asked)
            if not asked.whole:
                part = drawn.requests.part(_asked_rows(drawn.requests.arrival_ns, asked))
                drawn = replace(drawn, requests=part)
        else:
            drawn = _part(
                _read_recording(lines, format_, asked), asked, wall_clock=format_.wall_clock
            )
    if not len(drawn.requests):
        raise asked.failure(
            "no request in the part that is asked for",
            remedy="name another part of it with from, and hours or days",
        )
    made = _from_zero(trace_name(asked.path) + asked.suffix, drawn)
    return made if asked.repeat == 1 else _repeated(made, asked)


def trace_name(path: Path) -> str:
    """`azure2023_code` of `…/azure2023_code.csv.gz`."""
    name = path.name
    for ending in (".gz", ".csv", ".jsonl"):
        name = name.removesuffix(ending)
    return name or path.name


def _format(lines: TraceLines) -> TraceFormat:
    """The format of a file that was just opened; its first line stays to be read."""
    text = lines.lines
    first = next((line for line in text if line.strip()), None)
    if first is None:
        raise TraceError(f"{lines.path}: empty; name a trace that holds requests")
    lines.lines = itertools.chain([first], text)
    for format_ in TRACES:
        if format_.recognizes(first.strip()):
            return format_
    known = "; or ".join(f"{f.name}: {f.looks_like}" for f in TRACES)
    raise TraceError(
        f"{lines.path}: line 1: no known trace format: begins with {first.strip()[:60]!r}; "
        f"known are, plain or gzipped: {known}"
    )


def _read_recording(lines: TraceLines, format_: TraceFormat, asked: TraceSpec) -> TraceContents:
    rows = RequestRows(settings=asked.settings)
    assert format_.read is not None
    format_.read(lines, rows)
    if not rows.arrival_ns:
        said = "".join(f"; {note}" for note in rows.notes)
        raise TraceError(
            f"{lines.path}: holds a header and no request{said}; name a trace that holds requests"
        )
    tokens = _array(rows.prompt_tokens).sum() + _array(rows.output_tokens).sum()
    check_span(asked.text, _array(rows.arrival_ns), tokens=float(tokens))
    requests = RequestColumns(
        arrival_ns=_array(rows.arrival_ns),
        prompt_tokens=_array(rows.prompt_tokens),
        output_tokens=_array(rows.output_tokens),
        block_tokens=rows.block_tokens,
        blocks=_narrow_blocks(_array(rows.blocks)) if rows.block_tokens else None,
        block_ends=_array(rows.block_ends) if rows.block_tokens else None,
    )
    return TraceContents(requests=requests, notes=tuple(rows.notes))


def _array(column: array[int]) -> Any:
    """The same memory as an array of numpy's."""
    return np.frombuffer(column, dtype=column.typecode)


def _narrow_blocks(blocks: IntArray) -> WholeNumbers:
    """The ids in 32 bits, where they fit: half the memory."""
    small = np.iinfo(np.int32)
    if len(blocks) and small.min <= blocks.min() and blocks.max() <= small.max:
        return blocks.astype(np.int32)
    return blocks


def _part(drawn: TraceContents, asked: TraceSpec, *, wall_clock: bool) -> TraceContents:
    """The part of recorded requests that was asked for."""
    if asked.whole:
        return drawn
    arrivals = drawn.requests.arrival_ns
    zero_ns = int(arrivals[0]) if wall_clock else 0
    rows = np.arange(len(arrivals))[_asked_rows(arrivals, asked, zero_ns=zero_ns)]
    if not len(rows):
        begins, ends = ((int(arrivals[at]) - zero_ns) / NS for at in (0, -1))
        raise asked.failure(
            f"no request in the part that is asked for: the recording runs from {begins:g} s "
            f"to {ends:g} s",
            remedy="name a part of that with from, and hours or days",
        )
    if asked.thin < 1.0:
        # by row number of the whole recording: another part keeps the same requests of it
        kept = stream(asked.seed, "thin").random(len(arrivals)) < asked.thin
        rows = rows[kept[rows]]
    return TraceContents(requests=selected_requests(drawn.requests, rows), notes=drawn.notes)


def _asked_rows(arrivals: IntArray, asked: TraceSpec, *, zero_ns: int = 0) -> slice:
    """Rows that arrive in the part that is asked for; its clock is zero at `zero_ns`."""
    bounds_s = asked.from_s, min(asked.to_s, MAX_NS / NS)
    first, last = np.searchsorted(arrivals, [zero_ns + round(at_s * NS) for at_s in bounds_s])
    return slice(int(first), int(last))


def _repeated(trace: Trace, asked: TraceSpec) -> Trace:
    """The trace so many times in a row: each begins a mean gap behind the last request of the one before.

    Prefixes are each repetition's own: the same conversations come again, from other people.
    """
    requests, times = trace.requests, asked.repeat
    check_drawn(len(requests) * times, asked)
    gap_ns = trace.end_ns // max(1, len(requests) - 1)
    period_ns = max(1, trace.end_ns + gap_ns)
    number = np.repeat(np.arange(times, dtype=np.int64), len(requests))
    rows = np.tile(np.arange(len(requests)), times)
    return replace(
        trace,
        requests=selected_requests(
            requests, rows, arrival_ns=requests.arrival_ns[rows] + number * period_ns, copy=number
        ),
        holes_s=tuple(
            (start + again * period_ns / NS, end + again * period_ns / NS)
            for again in range(times)
            for start, end in trace.holes_s
        ),
        repeat_s=period_ns / NS,
    )


def _from_zero(name: str, drawn: TraceContents) -> Trace:
    """The trace with its first request at 0, and the holes between its first request and last."""
    requests = drawn.requests
    arrivals = requests.arrival_ns
    first_s, last_s = int(arrivals[0]) / NS, int(arrivals[-1]) / NS
    holes_s = tuple(
        (max(start, first_s) - first_s, min(end, last_s) - first_s)
        for start, end in drawn.holes_s
        if end > first_s and start < last_s
    )
    notes = drawn.notes
    if holes_s:
        total_s = sum(end - start for start, end in holes_s)
        said = (
            f"{len(holes_s)} holes of together {total_s / 60:.0f} min, where the recording knows "
            "nothing and no request is: outages of the recording more likely than of the users"
        )
        notes = (*notes, said)
    if arrivals[0]:
        requests = replace(requests, arrival_ns=arrivals - arrivals[0])
    return Trace(name=name, requests=requests, holes_s=holes_s, notes=notes)
