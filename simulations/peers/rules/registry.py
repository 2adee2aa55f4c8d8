"""Every baseline: one file and one line here. In the order in which tables show them.

Each line also says which twelve settings a sweep tries, so that nobody can say that a peer was
handicapped by its defaults.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulations.peers.baseline import MakeBaseline, Parameters
from simulations.peers.rules.aibrix_apa import AibrixApa
from simulations.peers.rules.dynamo_load import DynamoLoad
from simulations.peers.rules.dynamo_throughput import DynamoThroughput
from simulations.peers.rules.hpa import Hpa
from simulations.peers.rules.hpa_gpu import HpaGpu
from simulations.peers.rules.keda import Keda
from simulations.peers.rules.knative_kpa import KnativeKpa
from simulations.peers.rules.kubeai import KubeAI
from simulations.peers.rules.llmd_keda import LlmdKeda
from simulations.peers.rules.lookahead import NAME as LOOKAHEAD
from simulations.peers.rules.lookahead import Lookahead
from simulations.peers.rules.ray_serve import RayServe
from simulations.peers.rules.skyserve import SkyServe
from simulations.peers.rules.static_mean import StaticMean
from simulations.peers.rules.static_peak import StaticPeak
from simulations.peers.rules.wva_v1 import WvaV1
from simulations.peers.rules.wva_v2 import WvaV2

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5)
WINDOWS_S = (60.0, 300.0, 900.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineKind:
    """How to make one, and what a sweep varies."""

    make: MakeBaseline
    sweep: tuple[Parameters, ...] = ()
    """Twelve settings, the default among them where it lies on the grid; empty: nothing to tune."""


def _grid(**axes: tuple[float, ...]) -> tuple[Parameters, ...]:
    return tuple(
        MappingProxyType(dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    )


BASELINES: Mapping[str, BaselineKind] = MappingProxyType(
    {
        "static-peak": BaselineKind(make=StaticPeak, sweep=_grid(share=SHARES)),
        "static-mean": BaselineKind(make=StaticMean),
        "hpa": BaselineKind(
            make=Hpa, sweep=_grid(target_share=(0.4, 0.6, 0.8, 1.0), down_window_s=WINDOWS_S)
        ),
        "hpa-gpu": BaselineKind(
            make=HpaGpu,
            sweep=_grid(
                target_percent=(
                    30.0,
                    40.0,
                    50.0,
                    60.0,
                    70.0,
                    80.0,
                    85.0,
                    90.0,
                    95.0,
                    98.0,
                    100.0,
                    110.0,
                )
            ),
        ),
        "keda": BaselineKind(
            make=Keda, sweep=_grid(threshold=(1.0, 2.0, 5.0, 10.0), down_window_s=WINDOWS_S)
        ),
        "llm-d-keda": BaselineKind(
            make=LlmdKeda,
            sweep=_grid(
                waiting=(5.0, 30.0), kv_usage_ratio=(0.3, 0.45, 0.6), up_period_s=(30.0, 180.0)
            ),
        ),
        "knative-kpa": BaselineKind(
            make=KnativeKpa,
            sweep=_grid(utilization=(0.4, 0.55, 0.7, 0.9), stable_window_s=(60.0, 180.0, 600.0)),
        ),
        "aibrix-apa": BaselineKind(
            make=AibrixApa,
            sweep=_grid(
                target=(0.2, 0.35, 0.5), down_cooldown_s=(60.0, 300.0), pending_guard=(0.0, 1.0)
            ),
        ),
        "wva-v1": BaselineKind(
            make=WvaV1,
            sweep=_grid(
                kv_threshold=(0.4, 0.6, 0.8), kv_spare=(0.1, 0.2), queue_threshold=(4.0, 5.0)
            ),
        ),
        "wva-v2": BaselineKind(
            make=WvaV2,
            sweep=_grid(up_share=(0.4, 0.55, 0.7, 0.85), down_share=(0.3, 0.5, 0.7)),
        ),
        "dynamo-load": BaselineKind(
            make=DynamoLoad,
            sweep=_grid(up_usage=(0.3, 0.5, 0.75, 1.0), down_usage=(0.1, 0.25, 0.6)),
        ),
        "dynamo-throughput": BaselineKind(make=DynamoThroughput, sweep=_grid(share=SHARES)),
        "ray-serve": BaselineKind(
            make=RayServe,
            sweep=_grid(
                target_share=(0.4, 0.7, 1.0), up_delay_s=(0.0, 30.0), down_delay_s=(120.0, 600.0)
            ),
        ),
        "kubeai": BaselineKind(
            make=KubeAI,
            sweep=_grid(target_share=(0.4, 0.6, 0.8, 1.0), window_s=(60.0, 180.0, 600.0)),
        ),
        "skyserve": BaselineKind(
            make=SkyServe,
            sweep=_grid(
                target_share=(0.5, 0.75, 1.0),
                up_delay_s=(20.0, 300.0),
                down_delay_s=(300.0, 1200.0),
            ),
        ),
    }
)

REFERENCES: Mapping[str, BaselineKind] = MappingProxyType({LOOKAHEAD: BaselineKind(make=Lookahead)})
"""What nobody can run, since it knows the future: replayed like a baseline, and never among `all`."""
KINDS: Mapping[str, BaselineKind] = MappingProxyType({**BASELINES, **REFERENCES})
