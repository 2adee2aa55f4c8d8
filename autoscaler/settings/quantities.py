"""Quantities as users write them: whole numbers, or decimals in quotes, as Kubernetes has them.

A float has no place in a spec: its text changes on the way through YAML, JSON and the API server.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_QUANTITY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(m?)")
_SCHEMA = {"x-kubernetes-int-or-string": True, "pattern": r"^[0-9]{1,12}(\.[0-9]{1,9})?m?$"}


def read_quantity(value: Any) -> float:
    """Read `"4.90"`, `"4900m"` or `5`.

    Raises:
        PydanticCustomError: It is none of these; says what to write.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float):
        raise PydanticCustomError(
            "quantity", "write it in quotes: {remedy}", {"remedy": f'"{value:g}"'}
        )
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("quantity", 'write a decimal number in quotes, such as "4.90"')
    number = float(match[1])
    return number / 1000 if match[2] else number


Quantity = Annotated[
    float,
    BeforeValidator(read_quantity),
    WithJsonSchema(_SCHEMA),
]
"""A number >= 0, written as a Kubernetes quantity (decimal, or with the suffix `m`)."""
