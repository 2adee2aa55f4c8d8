"""Checkpoints as plain builtins, and back.

A checkpoint is made of dict, list, str, float, int, bool and None, so that any encoder writes the
same bytes. JSON has no NaN: unknown is None in it. Reading trusts the writer (ourselves); what it finds
otherwise is a broken invariant, named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray, IntArray
from autoscaler.errors import InvariantBroken

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | float | int | bool | None"
"""What a checkpoint is made of."""


def plain_float(value: float | None) -> float | None:
    """Write one number; NaN becomes None."""
    return None if value is None or math.isnan(value) else float(value)


def plain_floats(values: FloatArray) -> list[Plain]:
    """Write a column; NaN becomes None."""
    return [None if math.isnan(value) else value for value in values.ravel().tolist()]


def plain_ints(values: IntArray) -> list[Plain]:
    """Write a column of whole numbers."""
    return list(values.ravel().tolist())


def plain_bools(values: BoolArray) -> list[Plain]:
    """Write a mask."""
    return list(values.ravel().tolist())


def plain_strings(values: Iterable[str]) -> list[Plain]:
    """Write names."""
    return list(values)


def read_record(value: Plain) -> dict[str, Plain]:
    """Read what was written as a record."""
    if not isinstance(value, dict):
        raise _unexpected("a record", value)
    return value


def read_list(value: Plain) -> list[Plain]:
    """Read what was written as a list."""
    if not isinstance(value, list):
        raise _unexpected("a list", value)
    return value


def read_float(value: Plain) -> float:
    """Read a number that is known."""
    if not isinstance(value, int | float):
        raise _unexpected("a number", value)
    return float(value)


def read_optional_float(value: Plain) -> float | None:
    """Read a number or unknown."""
    return None if value is None else read_float(value)


def read_int(value: Plain) -> int:
    """Read a whole number."""
    if not isinstance(value, int):
        raise _unexpected("a whole number", value)
    return value


def read_floats(value: Plain) -> FloatArray:
    """Read a column; None becomes NaN."""
    numbers = [math.nan if item is None else read_float(item) for item in read_list(value)]
    return np.array(numbers, dtype=np.float64)


def read_ints(value: Plain) -> IntArray:
    """Read a column of whole numbers."""
    return np.array([read_int(item) for item in read_list(value)], dtype=np.int64)


def read_bools(value: Plain) -> BoolArray:
    """Read a mask."""
    return np.array([bool(item) for item in read_list(value)], dtype=np.bool_)


def read_strings(value: Plain) -> tuple[str, ...]:
    """Read names."""
    return tuple(str(item) for item in read_list(value))


def _unexpected(expected: str, found: Plain) -> InvariantBroken:
    return InvariantBroken(
        f"reading a checkpoint: {expected} was expected, found {type(found).__name__}; "
        "it was not written by this version"
    )
