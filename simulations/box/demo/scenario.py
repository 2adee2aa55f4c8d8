"""What happens in the demo: machines, Deployments, the resource, the load and the reclaim.

Accelerated where a cluster is slow (a cold start of seconds, a short notice), real in all else. Small
enough for two cores: some six servers, of four requests at a time each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import simulations
from autoscaler.errors import SettingsError
from simulations.box.local_cluster.nodes import CAPACITY_TYPE_LABEL, ClusterDelays, Machine
from simulations.serving.profiles.profiles import PROFILES, Profile

NAMESPACE = "serving"
MODEL = "llama"
PORT = 8000
_PROFILE = "llama-3.1-8b/1xL40S"
_REQUESTS_MAX = 4

MACHINES = (
    Machine(name="on-demand-1", gpus=4),
    Machine(name="spot-1", spot=True, gpus=2),
    Machine(name="spot-2", spot=True, gpus=2),
)
DELAYS = ClusterDelays(
    orphans_gone_after_s=1.0,
    endpoints_after_s=0.5,
    restart_after_s=1.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The course of events, in seconds since the load began."""

    ramps: int = 3
    ramp_s: float = 18.0
    """From the beginning of one ramp to that of the next."""
    rate_low_per_s: float = 0.7
    rate_high_per_s: float = 10.0
    reclaim_at_s: float = 24.0
    """In the middle of the second ramp."""
    notice_s: float = 13.0
    """From the notice to the machine's end. Clouds give 30 to 120 s; requests here take two."""
    returns_after_s: float = 3.0
    """From the machine's end to another spot machine."""
    cold_start_s: float = 3.0
    """Of a server, its process's own start included."""

    @property
    def seconds(self) -> float:
        """How long requests are sent."""
        return self.ramps * self.ramp_s

    def rate_per_s(self, at_s: float) -> float:
        """Each ramp rises for 45 % of its time, holds for 15 %, falls for 10 %, and rests."""
        share = at_s % self.ramp_s / self.ramp_s
        if share < 0.45:
            height = share / 0.45
        elif share < 0.6:
            height = 1.0
        else:
            height = max(0.0, 1.0 - (share - 0.6) / 0.1)
        return self.rate_low_per_s + height * (self.rate_high_per_s - self.rate_low_per_s)

    def phase(self, at_s: float) -> str:
        """For people."""
        if at_s >= self.seconds:
            return "the last answers"
        return f"ramp {int(at_s // self.ramp_s) + 1} of {self.ramps}"


TTFT_S = 2.0
TPOT_S = 0.1
ATTAINMENT = 0.99
"""The objective."""


def profile() -> Profile:
    """What one server here can do."""
    return replace(PROFILES[_PROFILE], requests_max=_REQUESTS_MAX)


def prices_usd_per_hour() -> dict[str, float]:
    """Of a replica, by capacity type."""
    served = PROFILES[_PROFILE]
    return {"on-demand": served.usd_per_hour, "spot": served.spot_usd_per_hour}


def cost_usd(paid_s: Mapping[str, float]) -> float:
    """The price of replicas' seconds, by capacity type."""
    prices = prices_usd_per_hour()
    return sum(prices[kind] * seconds / 3600.0 for kind, seconds in paid_s.items())


def manifests(scenario: Scenario) -> list[dict[str, Any]]:
    """The drain hook and one Deployment a pool."""
    hook = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "vllm-drain", "namespace": NAMESPACE},
        "data": {"drain.py": drain_script()},
    }
    return [hook, _deployment(scenario, "on-demand", 1), _deployment(scenario, "spot", 0)]


def _deployment(scenario: Scenario, pool: str, replicas: int) -> dict[str, Any]:
    labels = {"app": MODEL, "pool": pool}
    address = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container = {
        "name": "vllm",
        "image": "vllm/vllm-openai",
        "command": ["python3", "-m", "simulations.box.vllm_server"],
        "args": [
            "--host=$(POD_IP)",
            f"--port={PORT}",
            f"--served-model-name={MODEL}",
            f"--profile={_PROFILE}",
            f"--max-num-seqs={_REQUESTS_MAX}",
            f"--cold-start={scenario.cold_start_s}",
            "--teardown=0.5",
            "--shutdown-timeout=4",
        ],
        "env": [{"name": "POD_IP", **address}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "readinessProbe": {
            "httpGet": {"path": "/health", "port": "http"},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 10,
        },
        "lifecycle": {
            "preStop": {
                "exec": {
                    "command": [
                        "python3",
                        "/drain/drain.py",
                        f"--port={PORT}",
                        "--endpoint-delay=1.5",
                        "--budget=7",
                        "--period=0.3",
                    ]
                }
            }
        },
        "volumeMounts": [{"name": "drain", "mountPath": "/drain"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{MODEL}-{pool}", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 14,
                    "nodeSelector": {CAPACITY_TYPE_LABEL: pool},
                    "containers": [container],
                    "volumes": [{"name": "drain", "configMap": {"name": "vllm-drain"}}],
                },
            },
        },
    }


def resource(scenario: Scenario) -> dict[str, Any]:
    """What the daemon is asked for."""
    types = {"spot": "Spot", "on-demand": "OnDemand"}
    prices = prices_usd_per_hour()
    return {
        "apiVersion": "inference-autoscaler.dev/v1alpha1",
        "kind": "InferenceAutoscaler",
        "metadata": {"name": MODEL, "namespace": NAMESPACE},
        "spec": {
            "metrics": {"port": PORT, "periodSeconds": 1},
            "pools": [
                {
                    "name": pool,
                    "scaleTargetRef": {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "name": f"{MODEL}-{pool}",
                    },
                    "capacityType": types[pool],
                    "priceUSDPerHour": str(prices[pool]),
                }
                for pool in ("spot", "on-demand")
            ],
            "minReplicas": 1,
            "maxReplicas": 4,
            "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
            "objective": {
                "timeToFirstTokenMilliseconds": round(TTFT_S * 1000),
                "timePerOutputTokenMilliseconds": round(TPOT_S * 1000),
                "attainmentPercent": f"{100 * ATTAINMENT:g}",
            },
            "targets": {
                "inFlightRequestsPerReplica": _REQUESTS_MAX,
                "waitingRequestsPerReplica": 2,
            },
            "coldStart": {"priorSeconds": max(1, round(scenario.cold_start_s) + 1)},
            "spot": {"returnAfterSeconds": 5, "drainMarginSeconds": 2},
        },
    }


def drain_script() -> str:
    """The hook that `deploy/drain` ships: from a clone, or as it is packed with this package."""
    root = Path(simulations.__file__).resolve().parent
    for path in (root.parent / "deploy" / "drain" / "drain.py", root / "box" / "demo" / "drain.py"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise SettingsError(
        "the demo needs the drain hook deploy/drain/drain.py; run it from a clone of the repository"
    )
