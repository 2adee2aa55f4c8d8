"""Reads one model's last days from one Prometheus, a day at a time, the newest first.

Bounded in everything: in time, in queries, and in what is kept of the answers. What came before the time was up, or
before the server stopped answering, is used.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import SourceError
from autoscaler.sources.history.expressions import (
    CHANGE,
    FIGURE,
    FIGURES,
    FINISHED,
    KV_USAGE,
    REPLICAS,
    RUNNING,
    WAITING,
    PastPods,
    everything,
    how_often,
    interval_s,
)
from autoscaler.sources.pages.history_series import HistorySeries
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.reader import BodyReader
from autoscaler.sources.prometheus.answer import QueryRefusedError
from autoscaler.sources.prometheus.client import PrometheusClient
from autoscaler.sources.prometheus.range_answer import QueryGrid, RangeAnswer

STEP_S = 60
POINTS_PER_QUERY = 1_440
"""A day; Prometheus refuses more than 11,000, and a day of rates of a large fleet is what it computes at once."""
POINTS_MIN = 60
"""A query that is refused is cut in four, but not below this."""
QUERIES_MAX = 60
QUERY_S_MAX = 10.0
READ_S_MAX = 60.0
"""Of one model, with everything."""


class HistoryOutcome(StrEnum):
    """How the reading of a history ended: a metric label."""

    WHOLE = "Whole"
    """Everything that was asked for was answered."""
    PARTIAL = "Partial"
    """Some of it was."""
    EMPTY = "Empty"
    """It was answered, and there is nothing of this model."""
    FAILED = "Failed"
    """Nothing was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRead:
    """What came of it."""

    outcome: HistoryOutcome
    history: HistoryColumns
    known_ratio: float
    """Of the rows that were asked for: those of which something is known."""
    queries: int
    interval_s: float | None
    """Between scrapes; None: it was not asked."""
    refused: bool
    """The server answers, and takes no such query: to ask again is in vain."""
    message: str
    """What kept it from being whole, and what the server says beside it; empty: nothing."""


@dataclass(slots=True)
class _Reading:
    """One model's reading, as far as it is."""

    grid: QueryGrid
    columns: dict[str, FloatArray] = field(default_factory=dict)
    interval_s: float | None = None
    refused: bool = False
    hurried: bool = False
    """A query took too long, and shorter spans are asked for since."""
    queries: int = 0
    answered: int = 0
    problems: list[str] = field(default_factory=list)
    said: tuple[str, ...] = ()
    """What Prometheus says beside its answers."""

    def __post_init__(self) -> None:
        self.columns = {figure: np.full(self.grid.points, np.nan) for figure in FIGURES}

    def take(self, answer: RangeAnswer, *, first: int, points: int) -> None:
        """Put an answer where it belongs; what nobody asked for is left out."""
        self.answered += 1
        for series in answer.series:
            column = self.columns.get(series.labels.get(FIGURE, ""))
            if column is not None:
                column[first : first + points] = series.values
        self.said += answer.warnings


class HistoryReader:
    """Reads histories from one server."""

    def __init__(
        self,
        client: PrometheusClient,
        *,
        query_s_max: float = QUERY_S_MAX,
        read_s_max: float = READ_S_MAX,
    ) -> None:
        """Prepare; nothing is asked yet."""
        self._client = client
        self._query_s_max = query_s_max
        self._read_s_max = read_s_max

    async def read(
        self,
        reader: BodyReader,
        pods: PastPods,
        series: HistorySeries,
        *,
        until: float,
        span_s: float,
    ) -> PastRead:
        """Read what there is of the `span_s` before `until`, in whole minutes; takes `read_s_max` at most.

        Args:
            reader: of bodies.
            pods: whose series.
            series: of their engine.
            until: seconds since the epoch.
            span_s: seconds.
        """
        points = max(1, math.floor(span_s / STEP_S))
        last_at = math.floor(until / STEP_S) * STEP_S
        reading = _Reading(QueryGrid(last_at - (points - 1) * STEP_S, STEP_S, points))
        try:
            async with asyncio.timeout(self._read_s_max):
                await self._read(reading, reader, pods, series)
        except TimeoutError:
            reading.problems.append(f"not all was answered within {self._read_s_max:g} s")
        return _put_together(reading)

    async def _read(
        self, reading: _Reading, reader: BodyReader, pods: PastPods, series: HistorySeries
    ) -> None:
        """Ask, piece by piece, until all is asked or the server cannot be reached."""

        async def ask(expression: str, grid: QueryGrid) -> RangeAnswer:
            reading.queries += 1
            return await self._client.query_range(
                reader,
                expression,
                grid=grid,
                deadline_s=self._query_s_max,
                owner=f"history of {pods.namespace}/{pods.deployments[0]}",
            )

        begin_at, step_s, points = reading.grid
        last_at = begin_at + (points - 1) * step_s
        try:
            # By the hour of the last day: of pods that are younger than a look, too few are counted.
            grid = QueryGrid(last_at - (_LOOKS - 1) * 3600, 3600, _LOOKS)
            answer = await ask(how_often(pods, series), grid)
            reading.interval_s = interval_s(_greatest(answer))
        except QueryRefusedError as error:
            reading.refused = True
            reading.problems.append(str(error))
            reading.interval_s = interval_s(None)
        except SourceError as error:
            reading.problems.append(str(error))
            return
        expression = everything(pods, series, span_s=STEP_S, interval_s=reading.interval_s)
        pieces = deque(_pieces(points))
        while pieces:
            if reading.queries >= QUERIES_MAX:
                reading.problems.append(f"{reading.queries} queries were not enough")
                return
            first, count = pieces.popleft()
            try:
                answer = await ask(expression, QueryGrid(begin_at + first * step_s, step_s, count))
                reading.take(answer, first=first, points=count)
            except QueryRefusedError as error:
                # Too many samples at once, most likely.
                smaller = _quarters(first, count)
                pieces.extendleft(smaller)
                if not smaller:
                    reading.problems.append(str(error))
                    reading.refused = True
                    if not reading.answered:
                        return
            except SourceError as error:
                slow = error.outcome is ReadOutcome.TIMED_OUT and not reading.hurried
                if slow and count > POINTS_MIN:
                    # A day of a large fleet may take it longer than a quarter of one, four times.
                    reading.hurried = True
                    pieces = deque(_shorter([(first, count), *pieces]))
                    continue
                reading.problems.append(str(error))
                if error.outcome in _GONE or not reading.answered:
                    reading.refused = False
                    return


_LOOKS = 25
_GONE = frozenset({ReadOutcome.TIMED_OUT, ReadOutcome.REFUSED})
"""Who ends like this is not asked again at once."""


def _pieces(points: int) -> list[tuple[int, int]]:
    """Return (first, count) of each query's points, the newest first."""
    ends = range(points, 0, -POINTS_PER_QUERY)
    return [(max(0, end - POINTS_PER_QUERY), min(end, POINTS_PER_QUERY)) for end in ends]


def _shorter(pieces: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Cut each in four, the newest first; one that is too short stays."""
    return [
        part
        for first, count in pieces
        for part in reversed(_quarters(first, count) or [(first, count)])
    ]


def _quarters(first: int, count: int) -> list[tuple[int, int]]:
    """Cut one in four, the oldest first; none where it is too short."""
    if count <= POINTS_MIN:
        return []
    length = max(POINTS_MIN, math.ceil(count / 4))
    return [
        (begin, min(length, first + count - begin)) for begin in range(first, first + count, length)
    ]


def _greatest(answer: RangeAnswer) -> float | None:
    values = [float(value) for series in answer.series for value in series.values if value > 0.0]
    return max(values, default=None)


def _put_together(reading: _Reading) -> PastRead:
    """Make columns of what came."""
    begin_at, step_s, points = reading.grid
    columns = {name: _rounded(column) for name, column in reading.columns.items()}
    arrivals = np.maximum(reading.columns[FINISHED] + reading.columns[CHANGE], 0.0)
    history = HistoryColumns(
        at=begin_at + step_s * np.arange(points, dtype=np.float64),
        span_s=float(step_s),
        arrivals_per_s=_rounded(arrivals),
        completed_per_s=columns[FINISHED],
        running_requests=columns[RUNNING],
        waiting_requests=columns[WAITING],
        kv_usage_replicas=columns[KV_USAGE],
        replicas=columns[REPLICAS],
    )
    known = int(np.count_nonzero(~np.isnan(history.running_requests)))
    if not reading.answered:
        outcome = HistoryOutcome.FAILED
    elif reading.problems and known:
        outcome = HistoryOutcome.PARTIAL
    else:
        outcome = HistoryOutcome.WHOLE if known else HistoryOutcome.EMPTY
    return PastRead(
        outcome=outcome,
        history=history,
        known_ratio=known / points,
        queries=reading.queries,
        interval_s=reading.interval_s,
        refused=reading.refused,
        message="; ".join(dict.fromkeys([*reading.problems, *reading.said][:5])),
    )


def _rounded(column: FloatArray) -> FloatArray:
    """To what such means can tell: every digit more is a byte in the recording."""
    return np.round(column, 4)
