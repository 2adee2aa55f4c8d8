"""Kubernetes quantities, as the HPA controller reads them: whole milli-units, rounded up."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from types import MappingProxyType

from autoscaler.errors import SettingsError

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([a-zA-Z]{0,2}))", re.ASCII)
_SUFFIXES = MappingProxyType(
    {
        "": Decimal(1),
        **{
            s: Decimal(10) ** e
            for s, e in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
        },
        **{f"{s}i": Decimal(2) ** (10 * n) for n, s in enumerate("KMGTPE", start=1)},
    }
)


def milli(quantity: str) -> int:
    """Milli-units of a quantity such as `12`, `4500m`, `1Gi`, `49999999u`, `2e3`; away from zero.

    Raises:
        SettingsError: It is no quantity.
    """
    found = _FORM.fullmatch(quantity)
    if found is None or (found[3] or "") not in _SUFFIXES:
        raise SettingsError(
            f"{quantity!r} is no Kubernetes quantity; write one like 5, 500m or 1Gi"
        )
    number = Decimal(found[1] + (found[2] or "")) * _SUFFIXES[found[3] or ""]
    return int((number * 1000).to_integral_value(rounding=ROUND_UP))
