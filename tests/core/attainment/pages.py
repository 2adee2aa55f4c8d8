"""What replicas' histograms say at one look, in a line each, as the columns that an observation has of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoscaler.core.contract.state import HistogramColumns, ReplicaColumns
from tests.rows import LONG_AGO_S, UNKNOWN, Row, columns

BEGIN_AT = 1e6
TTFT = (0.5, 1.0, 2.5)
"""Bounds, seconds."""
TPOT = (0.05, 0.1)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Of one replica: cumulative counts, the last of all; empty: no such histogram."""

    ttft: Sequence[float] = ()
    tpot: Sequence[float] = ()
    gaps: Sequence[float] = ()
    finished: float = UNKNOWN
    aborted: float = UNKNOWN
    ttft_bounds: tuple[float, ...] = TTFT
    tpot_bounds: tuple[float, ...] = TPOT
    born_s: float = -LONG_AGO_S
    """When it was created, from BEGIN_AT on."""
    ready: bool = True


def replicas(at: float, pages: Mapping[str, Page]) -> ReplicaColumns:
    """The columns of these replicas, by name."""
    names = sorted(pages)
    rows = [
        Row(
            name=name,
            pool="p",
            age_s=at - BEGIN_AT - pages[name].born_s,
            ready_age_s=0.0 if pages[name].ready else UNKNOWN,
            finished=pages[name].finished,
            aborted=pages[name].aborted,
        )
        for name in names
    ]
    of = [pages[name] for name in names]
    return replace(
        columns(rows, at=at, pools=("p",), nodes=()),
        ttft=_histograms([(page.ttft_bounds, page.ttft) for page in of]),
        tpot=_histograms([(page.tpot_bounds, page.tpot) for page in of]),
        token_gaps=_histograms([(page.tpot_bounds, page.gaps) for page in of]),
    )


def _histograms(
    pages: Sequence[tuple[tuple[float, ...], Sequence[float]]],
) -> tuple[HistogramColumns, ...]:
    rows_of: dict[tuple[float, ...], list[int]] = {}
    for row, (bounds, counts) in enumerate(pages):
        if counts:
            rows_of.setdefault(bounds, []).append(row)
    return tuple(
        HistogramColumns(
            bounds=bounds,
            rows=np.array(rows),
            counts=np.array([pages[row][1] for row in rows], dtype=np.float64).T,
        )
        for bounds, rows in rows_of.items()
    )
