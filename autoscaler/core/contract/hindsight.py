"""What other rules would have cost and attained on the traffic that came, beside what was really paid and attained.

It decides nothing. Each window says how much time it speaks of; of the rest nothing is known, and it is in no figure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class HindsightPolicy(StrEnum):
    """Whose fleet; named as `autoscaler simulate` names them."""

    OWN = "inference-aware"
    """The one that really ran."""
    HPA = "hpa"
    """On requests in flight, with the model's in-flight target, and its `behavior` where it has one."""
    KEDA = "keda"
    """Five waiting requests a replica: the usual recipe."""
    STATIC = "static"
    """The smallest fleet that never changes and would have kept the objective over the window."""


class PolicyHindsight(NamedTuple):
    """One fleet, over one window."""

    policy: HindsightPolicy
    replica_s: float
    """Replica-seconds paid."""
    usd: float | None
    """Their price: of the fleet that really ran, by its pools; of the others, each replica at the mean price of
    one that really ran at that moment. None: some pool has no price."""
    attained_ratio: float | None
    """Of the fleet that really ran as the engines' histograms tell, None where none does; of the others as the play
    has it."""
    replicas: int | None = None
    """Of the static fleet: its size. Where no size would have kept the objective, the smallest that misses hardly more than
    the one which misses least."""


class WindowHindsight(NamedTuple):
    """One window that ends now."""

    span_s: int
    covered_s: float
    """Of this, the time in which traffic was seen, and all fleets were played."""
    requests: float
    """That came in it."""
    foretold_ratio: float | None
    """What the play says that the fleet which really ran attained: how far it is from what that one did attain is how
    far the play is off. None: no requests came."""
    policies: tuple[PolicyHindsight, ...]
    """In the order of `HindsightPolicy`."""
