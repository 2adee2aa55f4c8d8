"""The unit of a recording's times: said, or beyond what any service was ever recorded with."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.core.contract.state import IntArray
from autoscaler.errors import TraceError
from simulations.agenda import NS

UNIT = "unit"
"""The setting."""
_NANOSECONDS: Mapping[str, float] = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
REQUESTS_JUDGED_MIN = 50
"""Of fewer, no rate is told."""
RATE_MAX = 2_000.0
"""Requests per second of the whole recording; the largest recordings have some hundred."""
TOKEN_RATE_MAX = 5e6
"""Tokens per second, prompts and answers: what five hundred GPUs prefill of an 8B model."""
GAP_S_MAX = 3600.0
"""Seconds between two requests on average: nobody scales such a service."""


def unit_ns(settings: Mapping[str, str]) -> float | None:
    """Nanoseconds of the unit that was said; None: none was. Raises TraceError."""
    said = settings.get(UNIT)
    if said is None:
        return None
    if said not in _NANOSECONDS:
        known = ", ".join(_NANOSECONDS)
        raise TraceError(f"unit is {said!r}; write one of {known}")
    return _NANOSECONDS[said]


def check_span(name: str, arrival_ns: IntArray, *, tokens: float) -> None:
    """Refuse a recording whose rate gives away that its times are in another unit.

    Args:
        name: As it was asked for.
        arrival_ns: Of its requests, ascending.
        tokens: Of all of them.

    Raises:
        TraceError: Its requests are a thousand times too close, or too far apart.
    """
    count = len(arrival_ns)
    if count < REQUESTS_JUDGED_MIN:
        return
    span_s = (int(arrival_ns[-1]) - int(arrival_ns[0])) / NS
    if count > RATE_MAX * span_s or tokens > TOKEN_RATE_MAX * span_s:
        found = f"{count} requests with {tokens:.3g} tokens within {span_s:.3g} s"
    elif span_s > GAP_S_MAX * count:
        found = f"{count} requests in {span_s / 86_400:.0f} days"
    else:
        return
    raise TraceError(
        f"{name}: {found}: its times are in another unit than is read; where its format takes one, "
        f"write {UNIT}=s, ms, us or ns behind the path, else rewrite its times"
    )
