"""The load over the replicas, drawn: what was asked for, what was expected, what there was, and what was desired."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autoscaler.explain.course import Course

WIDTH, HEIGHT = 720, 160
_LINES = (
    ("current", "asked for"),
    ("ready", "ready"),
    ("desired", "decided"),
    ("demand", "load"),
)
"""Column, and its name in the legend; in the order in which they are drawn."""
_STEPS = frozenset({"current", "ready", "desired"})
"""Whole numbers, that hold until the next."""


def chart(course: Course) -> str:
    """Draw a course as SVG; empty: there are less than two points."""
    at = course.column("at")
    if len(at) < 2 or at[-1] <= at[0]:
        return ""
    columns = [course.column(name) for name, _ in _LINES] + [course.column("high")]
    top = max(1.0, *(float(np.nanmax(each)) for each in columns if not np.isnan(each).all()))
    x = (at - at[0]) / (at[-1] - at[0]) * WIDTH
    parts = [
        f'<path class="band" d="{_band(x, course.column("low"), course.column("high"), top)}"/>',
        *(
            f'<path class="{name}" d="{_line(x, course.column(name), top, steps=name in _STEPS)}"/>'
            for name, _ in _LINES
        ),
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="replicas over time, up to {math.ceil(top)}">{"".join(parts)}</svg>'
        f'<p class="legend"><span>0 to {top:.3g} replicas</span>'
        + "".join(f'<span class="{name}">{said}</span>' for name, said in _LINES)
        + '<span class="band">expected, 9 of 10 times</span></p>'
    )


def _height(value: float, top: float) -> float:
    return HEIGHT - 4.0 - value / top * (HEIGHT - 8.0)


def _line(x: NDArray[np.float64], values: NDArray[np.float64], top: float, *, steps: bool) -> str:
    """Return a path with a gap wherever a value is unknown."""
    parts: list[str] = []
    drawn = False
    for place, value in zip(x.tolist(), values.tolist(), strict=True):
        if math.isnan(value):
            drawn = False
            continue
        y = _height(value, top)
        if not drawn:
            parts.append(f"M{place:.1f} {y:.1f}")
        elif steps:
            parts.append(f"H{place:.1f}V{y:.1f}")
        else:
            parts.append(f"L{place:.1f} {y:.1f}")
        drawn = True
    return "".join(parts)


def _band(
    x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], top: float
) -> str:
    """Return the area between the two, a part for each stretch in which both are known."""
    return "".join(
        "M"
        + "L".join(f"{x[n]:.1f} {_height(float(high[n]), top):.1f}" for n in stretch)
        + "L"
        + "L".join(f"{x[n]:.1f} {_height(float(low[n]), top):.1f}" for n in reversed(stretch))
        + "Z"
        for stretch in _stretches(~(np.isnan(low) | np.isnan(high)))
    )


def _stretches(known: NDArray[np.bool_]) -> Iterator[range]:
    """Find where it is known without a gap, two points at least."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(int)))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - begin > 1:
            yield range(begin, end)
