"""Quantities of the API: `5`, `"500m"`, `"1k"`, `"10Gi"`."""

from __future__ import annotations

import math
import re

_AMOUNT = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?)([a-zA-Z]{0,2})")
_CHARACTERS_MAX = 40
_SUFFIXES = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}


def read_amount(value: object) -> float | None:
    """Read a quantity; None: it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e15 else None
    if not isinstance(value, str) or len(value) > _CHARACTERS_MAX:
        return None
    match = _AMOUNT.fullmatch(value.strip())
    if match is None or match[2] not in _SUFFIXES:
        return None
    amount = float(match[1]) * _SUFFIXES[match[2]]
    return amount if math.isfinite(amount) else None


def amount_text(amount: float) -> str:
    """Write a number without a needless fraction, at most six digits of it."""
    return f"{amount:.6g}" if abs(amount) < 1e6 else f"{amount:.0f}"
