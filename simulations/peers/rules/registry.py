"""Every baseline: one file and one line here. In the order in which tables show them.

Each line also says what a sweep varies, and how far: twelve settings are tried first, then those around
the best of them (`runs/sweep.py`), so that nobody can say that a peer was handicapped by its defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from simulations.peers.axes import Axis, grid, share, wait_s
from simulations.peers.baseline import MakeBaseline, Parameters
from simulations.peers.rules.aibrix_apa import AibrixApa
from simulations.peers.rules.dynamo_load import DynamoLoad
from simulations.peers.rules.dynamo_sla import DynamoSla
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineKind:
    """How to make one, and what a sweep varies."""

    make: MakeBaseline
    axes: Mapping[str, Axis] = field(default_factory=dict)
    """By parameter; empty: nothing to tune."""

    @property
    def sweep(self) -> tuple[Parameters, ...]:
        """The settings that are tried first: twelve, or none."""
        return grid(self.axes)


_KV = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
"""Shares of a KV cache, which is full at 1."""
_MILLI = 0.001
"""The least that a Kubernetes quantity can say: a lower target reads as this one."""

BASELINES: Mapping[str, BaselineKind] = MappingProxyType(
    {
        "static-peak": BaselineKind(
            make=StaticPeak,
            axes={
                "share": share(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.3, 1.7),
            },
        ),
        "static-mean": BaselineKind(make=StaticMean),
        "hpa": BaselineKind(
            make=Hpa,
            axes={
                "target_share": share(0.5, 1.0, 1.7, 3.0),
                "down_window_s": wait_s(60.0, 300.0, 1800.0),
            },
        ),
        "hpa-gpu": BaselineKind(
            make=HpaGpu,
            axes={
                "target_percent": Axis(
                    ladder=(
                        *(5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 85.0, 90.0, 95.0),
                        *(98.0, 100.0, 110.0, 150.0, 250.0),
                    ),
                    coarse=(
                        *(20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 100.0),
                        110.0,
                    ),
                )
            },
        ),
        "keda": BaselineKind(
            make=Keda,
            axes={
                "threshold": Axis(
                    ladder=(
                        *(_MILLI, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
                        *(1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0),
                    ),
                    coarse=(0.2, 1.0, 5.0, 10.0),
                ),
                "down_window_s": wait_s(60.0, 300.0, 1800.0),
            },
        ),
        "llm-d-keda": BaselineKind(
            make=LlmdKeda,
            axes={
                "waiting": Axis(
                    ladder=(
                        *(_MILLI, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
                        *(1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 300.0),
                    ),
                    coarse=(2.0, 30.0),
                    natural=(_MILLI,),
                ),
                "kv_usage_ratio": Axis(
                    ladder=(*_KV[_KV.index(_MILLI) :], 1.5, 3.0),
                    coarse=(0.1, 0.3, 0.6),
                    natural=(_MILLI,),
                ),
                "up_period_s": Axis(
                    # one sync of the HPA is the least
                    ladder=(15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0),
                    coarse=(30.0, 180.0),
                    natural=(15.0,),
                ),
            },
        ),
        "knative-kpa": BaselineKind(
            make=KnativeKpa,
            axes={
                "utilization": share(0.4, 0.7, 1.0, 1.7),
                # a revision's window is 6 s to an hour
                "stable_window_s": Axis(
                    ladder=(6.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 3600.0),
                    coarse=(60.0, 600.0, 3600.0),
                    natural=(6.0, 3600.0),
                ),
            },
        ),
        "aibrix-apa": BaselineKind(
            make=AibrixApa,
            axes={
                "target": Axis(ladder=(0.00001, 0.00002, 0.00005, *_KV), coarse=(0.05, 0.2, 0.5)),
                "down_cooldown_s": wait_s(60.0, 300.0),
                "pending_guard": Axis(ladder=(0.0, 1.0), coarse=(0.0, 1.0), natural=(0.0, 1.0)),
            },
        ),
        "wva-v1": BaselineKind(
            make=WvaV1,
            axes={
                "kv_threshold": Axis(ladder=_KV, coarse=(0.2, 0.4, 0.8)),
                "kv_spare": Axis(ladder=_KV, coarse=(0.05, 0.1)),
                # 3 to spare are kept: from 3 on it always asks for one more
                "queue_threshold": Axis(
                    ladder=(3.0, 3.5, 4.0, 5.0, 8.0, 15.0, 30.0, 60.0),
                    coarse=(4.0, 5.0),
                    natural=(3.0,),
                ),
            },
        ),
        "wva-v2": BaselineKind(
            make=WvaV2,
            axes={
                "up_share": Axis(
                    ladder=(*_KV[:-2], 0.85, 1.0, 1.3, 2.0, 3.0, 5.0, 8.0),
                    coarse=(0.1, 0.3, 0.5, 0.85),
                ),
                "down_share": Axis(ladder=(*_KV, 1.3, 2.0), coarse=(0.1, 0.3, 0.7)),
            },
        ),
        "dynamo-load": BaselineKind(
            make=DynamoLoad,
            axes={
                "up_usage": Axis(ladder=(*_KV, 1.5, 3.0), coarse=(0.1, 0.3, 0.6, 1.0)),
                "down_usage": Axis(ladder=_KV, coarse=(0.05, 0.2, 0.6)),
            },
        ),
        "dynamo-sla": BaselineKind(
            make=DynamoSla,
            axes={
                "share": share(0.3, 0.5, 1.0, 1.7),
                "sla_share": Axis(
                    ladder=(
                        0.005,
                        0.01,
                        0.02,
                        0.05,
                        0.1,
                        0.2,
                        0.3,
                        0.5,
                        0.75,
                        1.0,
                        1.5,
                        2.5,
                        5.0,
                        10.0,
                    ),
                    coarse=(0.3, 0.5, 1.0),
                ),
            },
        ),
        "ray-serve": BaselineKind(
            make=RayServe,
            axes={
                "target_share": share(0.5, 1.0, 1.7),
                "up_delay_s": wait_s(0.0, 30.0),
                "down_delay_s": wait_s(600.0, 3600.0),
            },
        ),
        "kubeai": BaselineKind(
            make=KubeAI,
            axes={
                "target_share": share(0.2, 0.4, 0.7, 1.0),
                "window_s": wait_s(60.0, 600.0, 3600.0, least=10.0),
            },
        ),
        "skyserve": BaselineKind(
            make=SkyServe,
            axes={
                "target_share": share(0.6, 1.0, 1.7),
                "up_delay_s": wait_s(20.0, 300.0, least=20.0),
                "down_delay_s": wait_s(300.0, 1200.0, least=20.0),
            },
        ),
    }
)

REFERENCES: Mapping[str, BaselineKind] = MappingProxyType({LOOKAHEAD: BaselineKind(make=Lookahead)})
"""What nobody can run, since it knows the future: replayed like a baseline, and never among `all`."""
KINDS: Mapping[str, BaselineKind] = MappingProxyType({**BASELINES, **REFERENCES})
