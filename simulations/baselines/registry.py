"""Every baseline: one file and one line here. In the order in which tables show them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from simulations.baselines.baseline import MakeBaseline
from simulations.baselines.hpa import Hpa
from simulations.baselines.keda import Keda
from simulations.baselines.static_peak import StaticPeak

BASELINES: Mapping[str, MakeBaseline] = MappingProxyType(
    {"static-peak": StaticPeak, "hpa": Hpa, "keda": Keda}
)
