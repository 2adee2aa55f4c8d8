"""What a Prometheus answers to a query over a range: each series on the grid that was asked for.

It is read as any other answer (`answer`), piece by piece, and only what lies on the grid is kept: a server that
sends other moments, more of them or the same one twice, costs no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import SourceError
from autoscaler.sources.pages.limits import LABELS_MAX
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.sample_line import number
from autoscaler.sources.pages.turns import Steps
from autoscaler.sources.prometheus.answer import WRONG_FORM, Walk, no_answer

RANGE_SERIES_MAX = 64
"""In one answer: what is asked for are sums, a series each."""


class QueryGrid(NamedTuple):
    """Moments at which a query is evaluated: `begin_at`, then every `step_s`, so many `points`."""

    begin_at: int
    """Seconds since the epoch."""
    step_s: int
    points: int


class PastValues(NamedTuple):
    """One series."""

    labels: Mapping[str, str]
    values: FloatArray
    """[point] of the grid; NaN: none."""


class RangeAnswer(NamedTuple):
    """What a query returned, in no order."""

    series: tuple[PastValues, ...]
    warnings: tuple[str, ...]


def range_steps(body: bytes, *, grid: QueryGrid) -> Steps[RangeAnswer]:
    """Read the body of such an answer, step by step.

    Raises:
        SourceError: It reports an error, is not what Prometheus answers, or has more than that.
    """
    walk = _RangeWalk(grid=grid)
    try:
        text = body.decode()
        yield
        yield from walk.whole(text)
        return RangeAnswer(series=tuple(walk.past), warnings=walk.warnings())
    except WRONG_FORM as error:
        raise no_answer(body) from error


@dataclass(slots=True, kw_only=True)
class _RangeWalk(Walk):
    grid: QueryGrid
    past: list[PastValues] = field(default_factory=list)

    def _read_series(self, series: Any) -> None:
        """Keep the values of one series that lie on the grid; of a moment that is there twice the last."""
        if len(self.past) >= RANGE_SERIES_MAX:
            message = f"the answer has more than {RANGE_SERIES_MAX} series"
            raise SourceError(message, outcome=ReadOutcome.TOO_LARGE)
        labels = dict(series["metric"])
        if len(labels) > LABELS_MAX or not all(isinstance(each, str) for each in labels.values()):
            raise ValueError("labels that are none")
        begin_at, step_s, points = self.grid
        values = np.full(points, np.nan)
        for at, value in series["values"]:
            place, off = divmod(float(at) - begin_at, step_s)
            if off == 0.0 and 0 <= place < points:
                values[int(place)] = number(value)
        self.past.append(PastValues(labels=labels, values=values))
