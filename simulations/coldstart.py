"""How long a new replica takes: phases, each a distribution, drawn anew for every start.

The four profiles are the ones a field survey suggests (a slept or warm pod; node, image and compile
cache warm; a node's image pull and load; a fresh node and an uncached image). A phase is lognormal
around its mean, cut at both ends, so that there is a shortest cold start for the bounds to use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from autoscaler.errors import SettingsError

SPREAD = 0.25
"""Of the logarithm of a phase: 5 % of the starts take more than one and a half times the mean."""
SHORTEST = 0.65
LONGEST = 3.0
"""Of a phase's mean: what is drawn beyond is cut to it."""
NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTimes:
    """What one start takes, in nanoseconds."""

    node_ns: int
    """A node to be provided; only where it takes a new one."""
    pull_ns: int
    """The image to be pulled; only where the node does not have it."""
    load_ns: int
    """The process to start and the weights to be in GPU memory."""
    warm_up_ns: int
    """Compilation, CUDA graphs, the first pass, the readiness probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Means of the phases, seconds."""

    name: str
    node_s: float = 0.0
    pull_s: float = 0.0
    load_s: float
    warm_up_s: float

    @property
    def mean_s(self) -> float:
        """Of a start on a new node without the image, before cuts."""
        return self.node_s + self.pull_s + self.load_s + self.warm_up_s

    @property
    def shortest_s(self) -> float:
        """No start is shorter (node and image there already)."""
        return (self.load_s + self.warm_up_s) * SHORTEST

    def draw(self, random: np.random.Generator) -> StartTimes:
        """Draw one start; always four draws, so that the stream does not depend on what is used."""
        node, pull, load, warm_up = (_factor(x) for x in random.standard_normal(4))
        return StartTimes(
            node_ns=int(self.node_s * node * NS),
            pull_ns=int(self.pull_s * pull * NS),
            load_ns=int(self.load_s * load * NS),
            warm_up_ns=int(self.warm_up_s * warm_up * NS),
        )


def _factor(normal: float) -> float:
    return min(max(math.exp(SPREAD * normal - SPREAD**2 / 2), SHORTEST), LONGEST)


COLD_STARTS: Mapping[str, ColdStart] = MappingProxyType(
    {
        "hot": ColdStart(name="hot", load_s=5.0, warm_up_s=10.0),
        "warm": ColdStart(name="warm", load_s=25.0, warm_up_s=35.0),
        "standard": ColdStart(name="standard", pull_s=75.0, load_s=45.0, warm_up_s=60.0),
        "cold": ColdStart(name="cold", node_s=120.0, pull_s=120.0, load_s=80.0, warm_up_s=100.0),
    }
)


def cold_start(text: str) -> ColdStart:
    """The profile of this name, or one of so many seconds.

    Raises:
        SettingsError: It is neither.
    """
    if text in COLD_STARTS:
        return COLD_STARTS[text]
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 86_400:
        raise SettingsError(
            f"--cold-start {text!r}: no such cold start; "
            f"write {', '.join(COLD_STARTS)}, or seconds from 0 to 86400"
        )
    # as a warm start: the node is there and has the image
    return ColdStart(name=text, load_s=seconds * 0.4, warm_up_s=seconds * 0.6)
