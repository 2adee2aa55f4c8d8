"""ServeGen's measurements of ten minutes each, made into requests.

Published as alibaba/ServeGen (Xiang et al., 2025): per window and tenant a rate, and a Gamma or
Weibull fit of the gaps between arrivals; beside the file, per tenant and six hours, percentiles of
the token counts. Each window of each tenant has exactly `round(rate * 600)` requests. Its gaps are
drawn from the fit and scaled to fill the window as a circle that is cut at a random moment, so that
no window begins or ends with a burst. What is longer than ten minutes is measured; what happens
inside a window, and how input and output go together, is modelled.

`gaps=cv` draws from the named family with the measured coefficient of variation instead of the
published fit. A Gamma fit has it anyway; a Weibull fit has a third to a half of it where the
measured one is above 4 (a few long pauses that no Weibull explains, and that a Weibull of that
variation turns into bursts all over the window).

A tenant's window draws from streams of its own: a part of the recording, or a tenant alone, has the
requests that the whole has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from simulations.agenda import NS
from simulations.rng import stream
from simulations.serving.columns import RequestColumns
from simulations.traces.contents import TraceContents, TraceFormat, asked_holes, check_drawn
from simulations.traces.files import open_lines
from simulations.traces.rows import TraceLines, csv_rows, named_columns
from simulations.traces.spec import TraceSpec
from simulations.traces.token_percentiles import BLOCK_S, TokenPercentiles, read_percentiles

COLUMNS = ("t", "tenant", "rate_rps", "cv", "iat_dist", "shape")
HEADER = "t,tenant,rate_rps,cv,iat_dist,shape,scale_s"
BURSTINESS = ("fit", "cv")
UNMEASURED = ("borrow", "omit")
WINDOW_S = 600
ONE: FloatArray = np.ones(1)
MANY = 12
"""Tenants that are named one by one in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One tenant's ten minutes."""

    at_s: int
    tenant: str
    count: int
    gaps: str
    """Family of the gaps, a key of GAPS."""
    shape: float


@dataclass(slots=True, kw_only=True)
class TraceWindows:
    """What a file says of the part that is asked for."""

    by_start: dict[int, list[Window]] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    """Starts at which any tenant has a rate, of the whole file."""
    tenants: set[str] = field(default_factory=set)
    """All of the file."""


def draw(lines: TraceLines, asked: TraceSpec) -> TraceContents:
    """Draw the requests of the tenants and of the windows that are asked for."""
    rules = {}
    for key, known in (("unmeasured", UNMEASURED), ("gaps", BURSTINESS)):
        rules[key] = asked.settings.get(key, known[0])
        if rules[key] not in known:
            raise asked.failure(f"{key} is {rules[key]!r}", remedy=f"write {' or '.join(known)}")
    named = asked.settings.get("tenant")
    wanted = None if named is None else frozenset(named.split("+"))
    windows = _read(lines, asked, wanted, by_cv=rules["gaps"] == "cv")
    unknown = sorted((wanted or frozenset()) - windows.tenants)
    if unknown:
        raise asked.failure(
            f"no tenant {', '.join(unknown)}; there are {_names_text(windows.tenants, most=200)}",
            remedy="write tenant=NUMBER, or tenant=NUMBER+NUMBER",
        )
    with open_lines(_tokens_path(lines.path, asked)) as token_lines:
        percentiles = read_percentiles(token_lines, tenants=wanted)
    notes = _settle_unmeasured(windows, percentiles, rules["unmeasured"], asked)
    expected = asked.thin * sum(w.count for rows in windows.by_start.values() for w in rows)
    check_drawn(expected, asked)
    # windows inside the recording in which no tenant at all has a rate
    starts = range(0, max(windows.known, default=0), WINDOW_S)
    holes = [(start, start + WINDOW_S) for start in starts if start not in windows.known]
    return TraceContents(
        requests=_requests(windows, percentiles, asked),
        holes_s=asked_holes(holes, asked),
        notes=notes,
    )


def _read(
    lines: TraceLines, asked: TraceSpec, wanted: Collection[str] | None, *, by_cv: bool
) -> TraceWindows:
    """The windows that the part touches."""
    places = named_columns(lines, next(iter(lines)), COLUMNS)
    windows = TraceWindows()
    for at, tenant, rate, cv, family, shape in csv_rows(lines, places, form=HEADER):
        at_s = _start(lines, at)
        windows.known.add(at_s)
        windows.tenants.add(tenant)
        if wanted is not None and tenant not in wanted:
            continue
        if not asked.touches(at_s, at_s + WINDOW_S):
            continue
        if family not in GAPS:
            raise lines.failure(f"iat_dist is {family!r}", remedy=f"write {' or '.join(GAPS)}")
        count = round(_positive(lines, rate, column="rate_rps") * WINDOW_S)
        window = Window(
            at_s=at_s,
            tenant=tenant,
            count=count,
            gaps=family,
            shape=shape_of(family, cv=_positive(lines, cv, column="cv"))
            if by_cv
            else _positive(lines, shape, column="shape"),
        )
        windows.by_start.setdefault(at_s, []).append(window)
    return windows


def _start(lines: TraceLines, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) % WINDOW_S:
        raise lines.failure(
            f"t is {text!r}", remedy=f"write the start of a window, a multiple of {WINDOW_S} s"
        )
    return int(text)


def _positive(lines: TraceLines, text: str, *, column: str) -> float:
    return lines.number_within(
        text, math.ulp(0.0), 1e9, column=column, remedy="write a number above 0"
    )


def _tokens_path(path: Path, asked: TraceSpec) -> Path:
    """The file of token percentiles beside one of windows, gzipped or not."""
    if "_windows" in path.name:
        beside = path.with_name(path.name.replace("_windows", "_tokens"))
        plain = beside.with_name(beside.name.removesuffix(".gz"))
        for candidate in (beside, plain, plain.with_name(plain.name + ".gz")):
            if candidate.is_file():
                return candidate
        where = str(beside)
    else:
        where = "a name with _tokens where this one's has _windows"
    raise asked.failure(
        f"no token percentiles beside it: {where} is not there",
        remedy="put both files of the recording into one folder under their own names",
    )


def _settle_unmeasured(
    windows: TraceWindows, percentiles: TokenPercentiles, rule: str, asked: TraceSpec
) -> tuple[str, ...]:
    """Say what becomes of tenants that have rates but no token counts; leave them out if asked.

    Their arrivals are measured, often a third of all: without them the sum would have another shape.
    Their lengths are not, so each of their requests borrows those of another tenant that was there in
    the same window, the more likely the more requests it had.
    """
    measured = percentiles.tenants()
    counts: Counter[str] = Counter()
    for rows in windows.by_start.values():
        for window in rows:
            counts[window.tenant] += window.count
    without = counts.keys() - measured
    if not without:
        return ()
    if len(without) == len(counts):
        raise asked.failure(
            f"no token percentiles of tenant {_names_text(without)}",
            remedy="name tenants that have them, or sum over all",
        )
    share = sum(counts[tenant] for tenant in without) / max(sum(counts.values()), 1)
    who = f"{len(without)} tenants ({_names_text(without)}; {share:.1%} of the requests)"
    if rule == "omit":
        for start, rows in windows.by_start.items():
            windows.by_start[start] = [w for w in rows if w.tenant not in without]
        return (f"{who} have no token percentiles and are left out",)
    return (f"{who} have no token percentiles: their requests have the others' lengths",)


def _names_text(tenants: Iterable[str], *, most: int = MANY) -> str:
    names = sorted(tenants, key=lambda name: (len(name), name))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _requests(
    windows: TraceWindows, percentiles: TokenPercentiles, asked: TraceSpec
) -> RequestColumns:
    """Draw the requests window by window, so that only one window is sorted in memory at a time."""
    parts: list[tuple[IntArray, IntArray, IntArray]] = []
    for start in sorted(windows.by_start):
        rows = [percentiles.row(w.tenant, w.at_s) for w in windows.by_start[start]]
        donors = _donors(windows.by_start[start], rows, percentiles)
        drawn = [
            _window(window, percentiles, donors if row is None else (np.array([row]), ONE), asked)
            for window, row in zip(windows.by_start[start], rows, strict=True)
        ]
        if drawn:
            at, prompts, outputs = (np.concatenate(column) for column in zip(*drawn, strict=True))
            order = np.argsort(at, kind="stable")
            parts.append((at[order], prompts[order], outputs[order]))
    columns = [
        np.concatenate([part[index] for part in parts]) if parts else np.zeros(0, dtype=np.int64)
        for index in range(3)
    ]
    return RequestColumns(arrival_ns=columns[0], prompt_tokens=columns[1], output_tokens=columns[2])


def _donors(
    windows: Sequence[Window], rows: Sequence[int | None], percentiles: TokenPercentiles
) -> tuple[IntArray, FloatArray]:
    """Rows whose lengths may be borrowed in a window, and their weights: by number of requests."""
    there = [(row, w.count) for w, row in zip(windows, rows, strict=True) if row is not None]
    if not there:
        # nobody: all that were there in these six hours, alike
        block = windows[0].at_s // BLOCK_S * BLOCK_S if windows else 0
        there = [(row, 1) for (_, at), row in percentiles.rows.items() if at == block]
        there = there or [(row, 1) for row in percentiles.rows.values()]
    weights = np.array([count for _, count in there], dtype=np.float64)
    return np.array([row for row, _ in there], dtype=np.int64), weights / weights.sum()


def _window(
    window: Window,
    percentiles: TokenPercentiles,
    weighted_rows: tuple[IntArray, FloatArray],
    asked: TraceSpec,
) -> tuple[IntArray, IntArray, IntArray]:
    """Arrivals (in order), input and output tokens of one tenant's window."""
    rows, weights = weighted_rows
    name = f"{window.tenant}/{window.at_s}"
    at_s = arrivals_s(window, thin=asked.thin, random=stream(asked.seed, f"arrivals/{name}"))
    random = stream(asked.seed, f"lengths/{name}")
    of = rows[np.zeros(len(at_s), dtype=np.int64)]
    if len(rows) > 1:
        of = rows[random.choice(len(rows), size=len(at_s), p=weights)]
    prompts, outputs = percentiles.draw(of, random)
    return window.at_s * NS + (at_s * NS).astype(np.int64), prompts, outputs


def arrivals_s(window: Window, *, thin: float, random: np.random.Generator) -> FloatArray:
    """Moments of a window's requests, seconds into it, in order.

    Where they are thinned, which of the requests stay is drawn first, and only they are placed.
    """
    if window.count == 0:
        return np.zeros(0)
    if thin < 1.0:
        stay = np.sort(
            random.choice(
                window.count,
                size=int(random.binomial(window.count, thin)),
                replace=False,
                shuffle=False,
            )
        )
        if not len(stay):
            return np.zeros(0)
        # gaps of the whole window between one that stays and the next, around the circle
        steps = np.diff(stay, append=stay[0] + window.count)
    else:
        steps = np.ones(window.count, dtype=np.int64)
    gaps = GAPS[window.gaps](window.shape, steps, random)
    total = float(gaps.sum())
    if not 0.0 < total < math.inf:
        # so uneven a fit that all but the longest gap vanish beside it
        gaps = np.zeros(len(steps))
        gaps[random.integers(len(steps))] = total = 1.0
    turned = (np.cumsum(gaps) / total + random.random()) % 1.0
    return np.sort(turned) * WINDOW_S


def _gamma(shape: float, steps: IntArray, random: np.random.Generator) -> FloatArray:
    """A sum of Gamma gaps is Gamma: the requests that were thinned away are never drawn."""
    return random.standard_gamma(shape * steps)


def _weibull(shape: float, steps: IntArray, random: np.random.Generator) -> FloatArray:
    """Weibull gaps, `steps` of them in a row added up; scaled by the longest (shapes go to 0.01)."""
    logarithms = np.log(random.standard_exponential(int(steps.sum()))) / shape
    gaps: FloatArray = np.exp(logarithms - logarithms.max())
    if len(gaps) == len(steps):
        return gaps
    return np.add.reduceat(gaps, np.cumsum(steps) - steps)


def shape_of(family: str, *, cv: float) -> float:
    """The shape at which gaps of a family have this coefficient of variation, 0.01 to 1000."""
    if family == "Gamma":
        return 1.0 / cv**2
    return float(np.exp(np.interp(-math.log(cv), *_WEIBULL_SHAPES)))


def _weibull_shapes() -> tuple[FloatArray, FloatArray]:
    """(-log cv, log shape) of Weibulls: the squared cv is G(1 + 2/k) / G(1 + 1/k)**2 - 1."""
    shapes = np.geomspace(0.08, 1000.0, 400)
    squares = [math.expm1(math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k)) for k in shapes]
    return -np.log(np.array(squares)) / 2, np.log(shapes)


_WEIBULL_SHAPES = _weibull_shapes()
GAPS: Mapping[str, Callable[[float, IntArray, np.random.Generator], FloatArray]] = {
    "Gamma": _gamma,
    "Weibull": _weibull,
}
"""Families of gaps, as the files name them: gaps of one scale, each the sum of so many."""


FORMAT = TraceFormat(
    name="servegen-windows",
    columns=COLUMNS,
    looks_like=HEADER,
    draw=draw,
    settings=("tenant", "unmeasured", "gaps"),
)
