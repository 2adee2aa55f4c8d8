"""A Deployment about which nothing is to be said, and changes to it."""

from __future__ import annotations

import copy
from typing import Any

from autoscaler.core.contract.state import CapacityType
from autoscaler.kube.soundness.findings import Finding
from autoscaler.kube.soundness.lint import lint
from autoscaler.kube.soundness.terms import TargetTerms

Json = dict[str, Any]
HOOK = ["python3", "/drain/drain.py", "--port=8000", "--budget=60"]
OFF_SPOT = {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]}


def terms(**changes: Any) -> TargetTerms:
    """An on-demand pool of vLLM that keeps the warm floor."""
    known: dict[str, Any] = {
        "capacity_type": CapacityType.ON_DEMAND,
        "engine": "VLLM",
        "warm": True,
        "replicas_min": 1,
        "cold_start_s": 180.0,
        "drain_margin_s": 10.0,
        "port": 8000,
        "scheme": "http",
        "budgets": (),
    }
    return TargetTerms(**(known | changes))


def affinity(*expressions: Json) -> Json:
    required = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def probe(**fields: Any) -> Json:
    return {"httpGet": {"path": "/health", "port": 8000}, "timeoutSeconds": 5, **fields}


def sound() -> Json:
    """Hook 60 s, drain 30 s, teardown 10 s, and some; probes of three cold starts."""
    container = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.32.0",
        "args": ["--model=m", "--port=8000", "--shutdown-timeout=30"],
        "ports": [{"containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "startupProbe": probe(periodSeconds=5, failureThreshold=120),
        "readinessProbe": probe(periodSeconds=5),
        "livenessProbe": probe(periodSeconds=10, failureThreshold=6),
        "lifecycle": {"preStop": {"exec": {"command": list(HOOK)}}},
    }
    return {
        "kind": "Deployment",
        "metadata": {"name": "llama", "namespace": "serving"},
        "spec": {
            "selector": {"matchLabels": {"app": "llama"}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "llama"}},
                "spec": {
                    "terminationGracePeriodSeconds": 120,
                    "affinity": affinity(OFF_SPOT),
                    "containers": [container],
                },
            },
        },
    }


def changed(
    *, container: Json | None = None, pod: Json | None = None, spec: Json | None = None
) -> Json:
    """The sound one with other fields; None takes one away."""
    item = copy.deepcopy(sound())
    template = item["spec"]["template"]
    for where, fields in (
        (item["spec"], spec),
        (template["spec"], pod),
        (template["spec"]["containers"][0], container),
    ):
        for name, value in (fields or {}).items():
            if value is None:
                del where[name]
            else:
                where[name] = value
    return item


def found(item: Any, **asked: Any) -> list[str]:
    """Severity and reason of each finding."""
    return [f"{each.severity} {each.reason}" for each in lint(item, terms(**asked))]


def one(item: Any, **asked: Any) -> Finding:
    (finding,) = lint(item, terms(**asked))
    return finding
