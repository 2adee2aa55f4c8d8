"""The least cost at an attainment, of what was really replayed: a hull below its points.

Two schedules, or two settings of a policy, one for a share of the time and the other for the rest, come
to what lies between them: so the lower convex hull of what was found can be had. It is never drawn past
its points: nothing is known there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TOLERANCE = 1e-12
"""Of an attainment that was rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPoint:
    """One replay."""

    attainment: float
    """0 to 1."""
    cost_usd: float
    setting: str = ""
    """What was replayed, for people."""


class Envelope:
    """The lower hull of points."""

    def __init__(self, points: Iterable[FoundPoint]) -> None:
        """Keep those that no mixture of others beats."""
        hull: list[FoundPoint] = []
        for point in sorted(points, key=lambda p: (-p.attainment, p.cost_usd)):
            # from the highest attainment down: only what is cheaper than all before
            if hull and point.cost_usd >= hull[-1].cost_usd:
                continue
            while len(hull) > 1 and _above(hull[-1], hull[-2], point):
                hull.pop()
            hull.append(point)
        self.points = tuple(reversed(hull))
        """Rising in attainment and cost."""

    def cost_usd(self, attainment: float) -> float | None:
        """Least cost of attaining so much or more; None: nothing that was found attains it."""
        if not self.points or attainment > self.points[-1].attainment + TOLERANCE:
            return None
        below = self.points[0]
        for point in self.points:
            if point.attainment >= attainment:
                if point is below:
                    return point.cost_usd
                share = (attainment - below.attainment) / (point.attainment - below.attainment)
                return below.cost_usd + share * (point.cost_usd - below.cost_usd)
            below = point
        return self.points[-1].cost_usd


def _above(middle: FoundPoint, high: FoundPoint, low: FoundPoint) -> bool:
    """Whether the middle lies on or above the line between the others."""
    width = high.attainment - low.attainment
    if width <= 0:
        return True
    share = (middle.attainment - low.attainment) / width
    return middle.cost_usd >= low.cost_usd + share * (high.cost_usd - low.cost_usd)
