"""The curve of least costs over work given up, drawn from below by a few solved programs.

Least cost is convex in what is given up. Each solution is a point on the curve and, by weak duality,
a line below all of it; the largest of the lines is a lower bound everywhere. Between two solutions the
curve lies between their lines and their chord: where those are closer than `TOLERANCE` nothing is left
to find, elsewhere one more program is solved where the two lines cross.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.contract.state import FloatArray
from simulations.bounds.program import Solution

TOLERANCE = 1e-3
"""Between the bound and the program's optimum, of the cost."""
NEGLIGIBLE = 1e-3
"""The same, of the cost of all the work: where next to nothing is left to do there is no end of pieces."""
SOLUTIONS_MAX = 200
"""A curve needs ten to forty; a guard against a solver that never settles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hull:
    """Lines below the least cost, at most `TOLERANCE` of it, or what is negligible, below the truth."""

    given_up: FloatArray
    """Where programs were solved, ascending."""
    cost: FloatArray
    slope: FloatArray
    programs: int = field(default=0)
    """Solved for it."""

    def at(self, given_up: float) -> float:
        """A lower bound of the cost where so much is given up, in the unit of `cost`."""
        lines = self.cost + self.slope * (max(0.0, given_up) - self.given_up)
        return float(max(0.0, lines.max()))


def hull(solve: Callable[[float], Solution], *, most: float) -> Hull:
    """Draw the curve from 0 to `most` given up.

    Args:
        solve: The program at one amount.
        most: All the work there is.
    """
    known = {amount: solve(amount) for amount in dict.fromkeys((0.0, max(0.0, most)))}
    negligible = NEGLIGIBLE * known[0.0].cost + 1e-12
    ends = sorted(known)
    open_pairs = [(ends[0], ends[-1])]
    while open_pairs and len(known) < SOLUTIONS_MAX:
        left, right = open_pairs.pop()
        between = _worst_place(known[left], known[right], negligible)
        if between is not None:
            known[between] = solve(between)
            open_pairs += [(left, between), (between, right)]
    return _of([known[amount] for amount in sorted(known)])


def _worst_place(left: Solution, right: Solution, negligible: float) -> float | None:
    """Where the two lines cross, if the chord is too far above that point; None: exact enough."""
    turn = left.slope - right.slope
    if turn >= 0:
        return None  # one line, or slopes out of order by the solver's last digits
    at = (right.cost - left.cost + left.slope * left.given_up - right.slope * right.given_up) / turn
    if not left.given_up < at < right.given_up:
        return None
    below = left.cost + left.slope * (at - left.given_up)
    share = (at - left.given_up) / (right.given_up - left.given_up)
    chord = left.cost + (right.cost - left.cost) * share
    return at if chord - below > max(TOLERANCE * below, negligible) else None


def _of(solutions: Sequence[Solution]) -> Hull:
    return Hull(
        given_up=np.array([each.given_up for each in solutions]),
        cost=np.array([each.cost for each in solutions]),
        slope=np.array([each.slope for each in solutions]),
        programs=len(solutions),
    )
