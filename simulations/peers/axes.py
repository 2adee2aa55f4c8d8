"""What a sweep may vary of a baseline: ladders of values, of which a few are tried first.

A ladder reaches far past where anyone's best should lie: a best at its end would say that the peer was
not tuned, only cut off. Some ends are natural: a delay of 0, a window as long as a day, a switch.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulations.peers.baseline import Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One parameter."""

    ladder: tuple[float, ...]
    """Rising: every value that may be tried."""
    coarse: tuple[float, ...]
    """Those of the ladder that are tried first."""
    natural: tuple[float, ...] = ()
    """Ends of the ladder beyond which there is nothing to try."""

    def __post_init__(self) -> None:
        assert list(self.ladder) == sorted(set(self.ladder))
        assert set(self.coarse) <= set(self.ladder)
        assert set(self.natural) <= {self.ladder[0], self.ladder[-1]}


def grid(axes: Mapping[str, Axis]) -> tuple[Parameters, ...]:
    """Every combination of the values that are tried first."""
    if not axes:
        return ()
    return tuple(
        MappingProxyType(dict(zip(axes, values, strict=True)))
        for values in itertools.product(*(axis.coarse for axis in axes.values()))
    )


SHARES = (
    *(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0),
    *(1.3, 1.7, 2.2, 3.0, 4.0, 5.5, 8.0, 12.0, 20.0, 50.0),
)
"""Of the load-tested target: at both ends nothing attains, or nothing is ever more than the minimum."""
DAY_S = 86_400.0
"""Whoever waits for a day never does it on the slices of the board."""


def share(*coarse: float) -> Axis:
    """A share of the load-tested target."""
    return Axis(ladder=SHARES, coarse=coarse)


def wait_s(*coarse: float, least: float = 0.0) -> Axis:
    """A window or a delay, seconds: from none at all (or one look of the policy) to a day."""
    steps = (10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1200.0)
    longer = (1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, DAY_S)
    ladder = (least, *(step for step in steps + longer if step > least))
    return Axis(ladder=ladder, coarse=coarse, natural=(least, DAY_S))
