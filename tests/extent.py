"""How much a test tries: a sample by day, all of it by night.

`make test` and `make quick` run by day. `make nightly` sets TESTS=night: more generated examples, and
every row of the tables of which the day takes a few.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")

NIGHT = os.environ.get("TESTS") == "night"


def examples(*, day: int, night: int) -> int:
    """Generated examples of a property."""
    return night if NIGHT else day


def sample(rows: Sequence[Row], *, day: Sequence[Row]) -> Sequence[Row]:
    """Rows of a table: all by night, `day` otherwise."""
    return rows if NIGHT else day
