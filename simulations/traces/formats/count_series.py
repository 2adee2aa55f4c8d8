"""Counts of requests a step: `t_s,requests`, and mean token counts beside where they are known.

What a dashboard or a log exports. The requests of a step arrive at uniform moments of it; parts of a
request are carried on. Token counts are lognormal around the step's mean, or around the one that is
asked for: nobody measured their spread.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from simulations.agenda import NS
from simulations.rng import stream
from simulations.serving.columns import RequestColumns
from simulations.traces.contents import TraceContents, TraceFormat, asked_holes, check_drawn
from simulations.traces.generate import SPREAD_INPUT, SPREAD_OUTPUT, Recipe, lognormal_tokens
from simulations.traces.rows import (
    MAX_TOKENS,
    TraceLines,
    csv_rows,
    header_columns,
    named_columns,
)
from simulations.traces.spec import TraceSpec, number

COLUMNS = ("t_s", "requests")
LENGTHS = ("input_tokens", "output_tokens")
HEADER = "t_s,requests[,input_tokens,output_tokens]"
_DEFAULT = Recipe()


_Series: TypeAlias = dict[str, list[float]]
"""By column, those of mean tokens where the file has them; NaN: the file does not say."""


def draw(lines: TraceLines, asked: TraceSpec) -> TraceContents:
    """Draw the requests of the steps that are asked for."""
    series = _read(lines)
    at_s = np.array(series["t_s"])
    if len(at_s) < 2:
        raise lines.failure(
            f"{len(at_s)} steps", remedy="write two or more, so that a step has a length"
        )
    step_s = float(np.diff(at_s).min())
    counted = np.array(series["requests"])
    means, notes = _means(series, asked)
    # whole requests from the file's start on, so that a part has those of the whole
    carried = np.floor(np.cumsum(np.nan_to_num(counted)) * asked.thin + 1e-9)
    counts = np.diff(carried, prepend=0.0).astype(np.int64)
    within = (at_s + step_s > asked.from_s) & (at_s < asked.to_s)
    check_drawn(counts[within].sum(), asked)
    return TraceContents(
        requests=_requests(at_s, counts, step_s, means, asked),
        holes_s=_holes(at_s, counted, step_s, asked),
        notes=tuple(notes),
    )


def _read(lines: TraceLines) -> _Series:
    header = next(iter(lines))
    places = named_columns(lines, header, COLUMNS)
    lengths = {
        name: found[0] for name in LENGTHS if (found := header_columns(header, (name,))) is not None
    }
    series: _Series = {name: [] for name in (*COLUMNS, *lengths)}
    moments = series["t_s"]
    form = f"{HEADER}; leave requests empty where nothing is known"
    for row in csv_rows(lines, (*places, *lengths.values()), form=form):
        at, count, *means = (field.strip() for field in row)
        at_s = _number(lines, at, "t_s", least=-1e10)
        if moments and at_s <= moments[-1]:
            raise lines.failure(
                f"t_s is {at}, not after the row above it",
                remedy="sort the file by time, one row a step",
            )
        moments.append(at_s)
        series["requests"].append(_number_if_known(lines, count, "requests"))
        for name, mean in zip(lengths, means, strict=True):
            # a step without requests has no mean
            series[name].append(_number_if_known(lines, mean, name))
    return series


def _number(lines: TraceLines, text: str, column: str, *, least: float = 0.0) -> float:
    return lines.number_within(text, least, 1e10, column=column, remedy="write a number, 0 or more")


def _number_if_known(lines: TraceLines, text: str, column: str) -> float:
    """NaN: the field says nothing."""
    return math.nan if text.lower() in ("", "nan") else _number(lines, text, column)


def _means(series: _Series, asked: TraceSpec) -> tuple[list[FloatArray], list[str]]:
    """Mean input and output tokens of each step, and what to say about where they are from."""
    means: list[FloatArray] = []
    assumed: list[str] = []
    for name, key, otherwise in (
        ("input_tokens", "input", _DEFAULT.input_tokens),
        ("output_tokens", "output", _DEFAULT.output_tokens),
    ):
        given = number(asked.text, asked.settings, key, least=1.0, most=MAX_TOKENS)
        listed = np.array(series.get(name, []), dtype=np.float64)
        if not math.isnan(given):
            steps = np.full(len(series["t_s"]), given)
        elif len(listed) and not np.isnan(listed).all():
            # a step whose mean is not said has that of all steps
            steps = np.where(np.isnan(listed), np.nanmean(listed), listed)
        else:
            steps = np.full(len(series["t_s"]), otherwise)
            assumed.append(f"{key}={otherwise:g}")
        means.append(np.maximum(steps, 1.0))
    if not assumed:
        return means, []
    said = f"no token counts in the file: assumed are {' and '.join(assumed)}; write your own"
    return means, [said]


def _requests(
    at_s: FloatArray,
    counts: IntArray,
    step_s: float,
    means: list[FloatArray],
    asked: TraceSpec,
) -> RequestColumns:
    columns: list[list[IntArray]] = [[], [], []]
    for step in np.flatnonzero(counts):
        if not asked.touches(at_s[step], at_s[step] + step_s):
            continue
        # a stream a step: a part has the requests that the whole has
        random = stream(asked.seed, f"counts/{at_s[step]:.6f}")
        count = int(counts[step])
        moments = at_s[step] + np.sort(random.random(count)) * step_s
        columns[0].append((moments * NS).astype(np.int64))
        for column, mean, spread in zip(
            columns[1:], means, (SPREAD_INPUT, SPREAD_OUTPUT), strict=True
        ):
            drawn = lognormal_tokens(random, count, mean=float(mean[step]), spread=spread)
            column.append(drawn)
    arrival_ns, prompts, outputs = (
        np.concatenate(column) if column else np.zeros(0, dtype=np.int64) for column in columns
    )
    return RequestColumns(arrival_ns=arrival_ns, prompt_tokens=prompts, output_tokens=outputs)


def _holes(
    at_s: FloatArray, counted: FloatArray, step_s: float, asked: TraceSpec
) -> tuple[tuple[float, float], ...]:
    """Steps whose count is not said, and steps that are not there."""
    edges = [(float(at), float(at) + step_s) for at in at_s[np.isnan(counted)]]
    ends, following = at_s[:-1] + step_s, at_s[1:]
    missing = following > ends + step_s / 2
    edges += [(float(a), float(b)) for a, b in zip(ends[missing], following[missing], strict=True)]
    return asked_holes(edges, asked, tolerance_s=step_s / 1000)


FORMAT = TraceFormat(
    name="count-series",
    columns=COLUMNS,
    looks_like=HEADER,
    draw=draw,
    settings=("input", "output"),
)
