"""What others would have cost and attained, at the end of a recording: as a table for people, as rows for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.contract.hindsight import (
    HindsightPolicy,
    PolicyHindsight,
    WindowHindsight,
)
from autoscaler.explain.figures import UNKNOWN, aligned

_HEAD = ("window", "known of", "policy", "replicas", "replica h", "cost $", "attained", "foretold")
_TEXTS = frozenset({0, 1, 2})


def hindsight_rows(
    told: Mapping[str, Sequence[WindowHindsight]],
) -> dict[str, list[dict[str, Any]]]:
    """Return it as JSON: by model, its windows as in a decision."""
    return {
        model: [to_builtins(window, WindowHindsight) for window in windows]
        for model, windows in told.items()
    }


def hindsight_text(told: Mapping[str, Sequence[WindowHindsight]]) -> str:
    """Return a table a model; empty: nothing was told of any."""
    tables = []
    for model, windows in told.items():
        lines: list[tuple[str, ...]] = [_HEAD]
        for window in windows:
            lines += [_line(window, each) for each in window.policies if window.covered_s > 0.0]
        if len(lines) > 1:
            table = "\n".join(aligned(lines, texts=_TEXTS, indent="  "))
            tables.append(f"hindsight of {model}, as of its last decisions\n{table}")
    return "\n".join(tables)


def _line(window: WindowHindsight, each: PolicyHindsight) -> tuple[str, ...]:
    own = each.policy is HindsightPolicy.OWN
    return (
        _span(window.span_s) if own else "",
        _span(window.covered_s) if own else "",
        str(each.policy),
        f"{each.replica_s / window.covered_s:.2f}",
        f"{each.replica_s / 3600.0:.2f}",
        UNKNOWN if each.usd is None else f"{each.usd:.2f}",
        _percent(each.attained_ratio),
        _percent(window.foretold_ratio) if own else "",
    )


def _span(seconds: float) -> str:
    """Say how long it is.

    >>> _span(3600.0), _span(2040.0), _span(86400.0), _span(604800.0)
    ('1.0 h', '34 min', '24.0 h', '7.0 d')
    """
    if seconds < 3600.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:.1f} h" if seconds <= 86_400.0 else f"{seconds / 86_400.0:.1f} d"


def _percent(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{100.0 * ratio:.2f} %"
