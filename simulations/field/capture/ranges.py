"""Range queries in chunks, merged: the one place that talks to Prometheus.

prometheus-api-client's own chunked call sends instant queries at the ends of chunks, so what is used
is its range query, on a grid of our own: chunks below the server's limit of points, each series
merged over the chunks, a moment kept once.

The client is the extra `advise`, and is imported only where a Prometheus is asked: a profile is fitted
to a log of requests without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import SettingsError, SourceError
from autoscaler.foreign_text import shown
from simulations.field.capture.signals import underscored

POINTS_MAX = 5000
"""A chunk's points per series; Prometheus refuses more than 11,000."""
TIMEOUT_S = 60


def header_pairs(given: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` as pairs; raises SettingsError where there is no '='."""
    pairs = [header.partition("=") for header in given]
    for name, sign, _ in pairs:
        if not sign:
            raise SettingsError(f"--header {name!r}: no '=' in it; write NAME=VALUE")
    return {name: value for name, _, value in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusServer:
    """How to reach a Prometheus (or what speaks its API)."""

    url: str
    bearer_token_file: Path | None = None
    ca_file: Path | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series on the grid of the query; NaN where Prometheus had no value."""

    labels: Mapping[str, str]
    values: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Moments of a range query: `start`, `start + step`, … `start + (points - 1) * step`."""

    start: int
    """Seconds since the epoch."""
    step: int
    """Seconds."""
    points: int

    @classmethod
    def until(cls, end: float, *, since_s: float, step: int) -> Grid:
        """The last `since_s` seconds before `end`, on whole multiples of the step."""
        last = int(end // step) * step
        points = max(2, int(since_s // step) + 1)
        return cls(start=last - (points - 1) * step, step=step, points=points)

    def coarser(self, each: int) -> Grid:
        """Every so many-th point of it."""
        return Grid(start=self.start, step=self.step * each, points=(self.points - 1) // each + 1)

    @property
    def moments(self) -> FloatArray:
        """Seconds since the epoch."""
        return self.start + self.step * np.arange(self.points, dtype=np.float64)


class RangeReader:
    """Queries one server. Not for several threads: its session is one."""

    def __init__(self, server: PrometheusServer) -> None:
        """Open a session; nothing is asked yet.

        Raises:
            SourceError: The token file cannot be read.
            SettingsError: The address has a password in it, or is none.
        """
        import requests  # noqa: PLC0415
        from prometheus_api_client import PrometheusConnect  # noqa: PLC0415

        self._server = server
        self._underscores: bool | None = None
        """Whether vLLM's names are written without a colon there; None: not known yet."""
        if "@" in urlsplit(server.url).netloc:
            raise SettingsError(
                "an address with a name or a password in it, which messages would show; use "
                "--bearer-token-file or --header"
            )
        headers = dict(server.headers or {})
        if server.bearer_token_file is not None:
            try:
                token = server.bearer_token_file.read_text().strip()
            except OSError as error:
                raise SourceError(
                    f"reading the bearer token: {error}; give a file that can be read"
                ) from error
            headers["Authorization"] = f"Bearer {token}"
        session = requests.Session()
        if server.ca_file is not None:
            session.verify = str(server.ca_file)
        self._client = PrometheusConnect(
            url=server.url.rstrip("/"),
            headers=headers,
            session=session,
            timeout=TIMEOUT_S,
            method="POST",
        )

    def series(self, query: str, grid: Grid) -> list[Series]:
        """The query's series on the grid, in order of their labels, in whichever spelling there are any.

        Raises:
            SourceError: The server cannot be reached, refuses, or answers something else.
        """
        if self._underscores:
            return self._series(underscored(query), grid)
        found = self._series(query, grid)
        self._underscores = False if found else self._underscores
        if self._underscores is None and underscored(query) != query:
            found = self._series(underscored(query), grid)
            self._underscores = True if found else None
        return found

    def _series(self, query: str, grid: Grid) -> list[Series]:
        """The series of one spelling."""
        rows: dict[tuple[tuple[str, str], ...], FloatArray] = {}
        for first in range(0, grid.points, POINTS_MAX):
            count = min(POINTS_MAX, grid.points - first)
            for found in self._chunk(query, grid, first=first, count=count):
                labels = {k: v for k, v in found["metric"].items() if k != "__name__"}
                key = tuple(sorted(labels.items()))
                row = rows.setdefault(key, np.full(grid.points, np.nan))
                for moment, value in found["values"]:
                    position = round((float(moment) - grid.start) / grid.step)
                    if 0 <= position < grid.points:
                        row[position] = float(value)
        return [Series(labels=dict(key), values=row) for key, row in sorted(rows.items())]

    def _chunk(self, query: str, grid: Grid, *, first: int, count: int) -> list[dict[str, Any]]:
        import requests  # noqa: PLC0415
        from prometheus_api_client.exceptions import PrometheusApiClientException  # noqa: PLC0415

        start = grid.start + first * grid.step
        end = start + (count - 1) * grid.step
        doing = f"asking {self._server.url} for {query}"
        try:
            rows = self._client.custom_query_range(
                query,
                start_time=datetime.fromtimestamp(start, UTC),
                end_time=datetime.fromtimestamp(end, UTC),
                step=str(grid.step),
            )
        except PrometheusApiClientException as error:
            found = shown(error, limit=300)
            refused = any(f"Status Code {status}" in found for status in (401, 403))
            remedy = "; say who asks with --bearer-token-file or --header" if refused else ""
            raise SourceError(f"{doing}: refused: {found}{remedy}") from error
        except requests.RequestException as error:
            raise SourceError(
                f"{doing}: {type(error).__name__}: {shown(error)}; "
                "is the address right, and reachable from here?"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"{doing}: the answer is not that of a Prometheus ({type(error).__name__})"
            ) from error
        return list(rows or [])
