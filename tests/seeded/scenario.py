"""What a seed draws before anything happens: models, their settings, machines and load."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from simulations.box.local_cluster.machines.nodes import CAPACITY_TYPE_LABEL, Machine
from simulations.box.local_cluster.objects import Object
from tests.seeded.serving import SLOTS, Load

MODELS_MAX = 3
NAMESPACES = ("alpha", "beta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of the scenario."""

    name: str
    namespace: str
    spec: dict[str, Any]
    """As its document has it."""
    load: Load
    service_s: float
    cold_start_s: float
    grace_s: int
    replicas: dict[str, int]
    """Asked for at the start, by Deployment."""
    budget: int | None
    """maxUnavailable of a PodDisruptionBudget; None: there is none."""

    def document(self, *, paused: str = "", **changes: Any) -> dict[str, Any]:
        """Its InferenceAutoscaler."""
        annotations = {"annotations": {"inference-autoscaler.dev/paused": paused}} if paused else {}
        return {
            "apiVersion": "inference-autoscaler.dev/v1alpha1",
            "kind": "InferenceAutoscaler",
            "metadata": {"name": self.name, "namespace": self.namespace, **annotations},
            "spec": {"mode": "Active", **self.spec, **changes},
        }

    def deployments(self) -> list[Object]:
        """Spot and on-demand."""
        return [self._deployment(name, replicas) for name, replicas in self.replicas.items()]

    def _deployment(self, name: str, replicas: int) -> Object:
        labels = {"app": name, "model": self.name}
        return {
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": self.grace_s,
                        "nodeSelector": {
                            CAPACITY_TYPE_LABEL: "spot" if name.endswith("spot") else "on-demand"
                        },
                        "containers": [
                            {
                                "name": "vllm",
                                "image": "x",
                                "resources": {"limits": {"nvidia.com/gpu": "1"}},
                            }
                        ],
                    },
                },
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All of it."""

    models: tuple[Model, ...]
    machines: tuple[Machine, ...]
    gpu_budget: int | None


def draw_scenario(rng: random.Random, *, lasts_s: float) -> Scenario:
    """Two or three models on a handful of machines."""
    models = tuple(
        _model(rng, f"m{number}", lasts_s=lasts_s)
        for number in range(rng.choice((2, 2, MODELS_MAX)))
    )
    machines = [Machine(name=f"od-{n}", gpus=6) for n in range(rng.choice((1, 2)))]
    machines += [
        Machine(name=f"spot-{n}", spot=True, gpus=rng.choice((2, 3, 4)), labels=_zone(n))
        for n in range(rng.choice((2, 3, 4)))
    ]
    budget = rng.choice((None, None, None, 6, 9))
    for model in models:  # last, so that what is drawn before stays what it was
        _draw_floor(rng, model.spec)
    return Scenario(models=models, machines=tuple(machines), gpu_budget=budget)


def _draw_floor(rng: random.Random, spec: dict[str, Any]) -> None:
    """A third of the models have a schedule that begins, and perhaps ends, while they are looked at.

    The cluster's clock begins at eight o'clock.
    """
    if rng.random() < 1 / 3:
        begin = rng.choice((1, 2, 3, 4))
        until = begin + rng.choice((1, 2, 30))
        times = {"from": f"08:{begin:02}", "to": f"08:{until:02}", "timeZone": "Europe/London"}
        spec["warmFloor"]["schedules"] = [{**times, "replicas": rng.choice((1, 2, 3))}]
    if spec["forecast"]["mode"] == "Auto" and rng.random() < 1 / 3:
        spec["warmFloor"]["ramp"] = "Auto"


def _zone(number: int) -> dict[str, str]:
    return {"topology.kubernetes.io/zone": "abc"[number % 3]}


def _model(rng: random.Random, name: str, *, lasts_s: float) -> Model:
    replicas_max = rng.choice((3, 4, 6))
    service_s = rng.choice((4.0, 8.0, 15.0))
    peak = replicas_max * SLOTS / service_s
    spec: dict[str, Any] = {
        "pools": [
            {
                "name": "spot",
                "scaleTargetRef": {"name": f"{name}-spot"},
                "capacityType": "Spot",
                "priceUSDPerHour": "1",
            },
            {
                "name": "on-demand",
                "scaleTargetRef": {"name": f"{name}-on-demand"},
                "priceUSDPerHour": "3",
            },
        ],
        "minReplicas": rng.choice((1, 1, 2)),
        "maxReplicas": replicas_max,
        "warmFloor": {"replicas": rng.choice((0, 1)), "capacityType": "OnDemand"},
        "targets": {"inFlightRequestsPerReplica": str(int(SLOTS))},
        "coldStart": {"priorSeconds": rng.choice((15, 30, 45))},
        "spot": {
            "returnAfterSeconds": rng.choice((20, 60)),
            "drainMarginSeconds": rng.choice((5, 10)),
        },
        "metrics": {"periodSeconds": rng.choice((5, 5, 10))},
        "forecast": {"mode": rng.choice(("Auto", "Auto", "Off"))},
        "priority": rng.choice((0, 1)),
    }
    if rng.random() < 0.3:
        rules = {"stabilizationWindowSeconds": rng.choice((0, 30, 60))}
        policies = [{"type": "Pods", "value": rng.choice((1, 2)), "periodSeconds": 30}]
        spec["behavior"] = {"scaleDown": {**rules, "policies": policies}}
    return Model(
        name=name,
        namespace=rng.choice(NAMESPACES),
        spec=spec,
        load=Load.drawn(rng, until=lasts_s, peak=peak),
        service_s=service_s,
        cold_start_s=rng.choice((8.0, 15.0, 30.0)),
        grace_s=rng.choice((15, 30, 60)),
        replicas={f"{name}-spot": rng.choice((1, 2)), f"{name}-on-demand": rng.choice((0, 1))},
        budget=rng.choice((None, None, 0, 1)),
    )
