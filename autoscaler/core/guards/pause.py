"""Pause: the resource's annotation holds the scale, wholly or downward."""

from __future__ import annotations

from autoscaler.core.contract.spec import Pause
from autoscaler.core.pools.situation import Situation, Verdict, Wanted


def adjust(s: Situation, wanted: Wanted) -> Verdict | None:
    """Hold what is paused."""
    if s.spec.pause is Pause.ALL and wanted.asked != s.current:
        held = wanted._replace(level=s.level, asked=s.current)
        return Verdict(held, "Paused", "paused by annotation")
    if s.spec.pause is Pause.SCALE_DOWN and wanted.asked < s.current:
        held = wanted._replace(level=max(wanted.level, s.level), asked=s.current)
        return Verdict(held, "ScaleDownPaused", "scaling down is paused by annotation")
    return None
