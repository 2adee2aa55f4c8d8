"""How long starts took, by what pods and the kubelets' Events say."""

from __future__ import annotations

from typing import Any

from autoscaler.kube.api.timestamps import rfc3339
from autoscaler.kube.first_resource.starts import starts_of

AT = 1_772_366_400.0


def pod(
    name: str, *, placed_s: float | None = 0.0, ready_s: float | None = None, restarts: int = 0
) -> dict[str, Any]:
    def told(kind: str, after_s: float) -> dict[str, str]:
        return {"type": kind, "status": "True", "lastTransitionTime": rfc3339(AT + after_s)}

    conditions = [] if placed_s is None else [told("PodScheduled", placed_s)]
    conditions += [] if ready_s is None else [told("Ready", ready_s)]
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": rfc3339(AT)},
        "status": {"conditions": conditions, "containerStatuses": [{"restartCount": restarts}]},
    }


def pulled(name: str, message: str) -> dict[str, Any]:
    return {"involvedObject": {"uid": f"uid-{name}"}, "message": message}


def test_a_start_is_from_placed_to_ready():
    pods = [
        pod("a", placed_s=5, ready_s=95),  # the wait for a node is none of it
        pod("b", placed_s=None, ready_s=100),
        pod("c", placed_s=0),
        pod("d", placed_s=0, ready_s=500, restarts=1),
        pod("e", placed_s=0, ready_s=9_000),  # not ready for a while, two hours after it began
    ]
    seen = starts_of(pods, [])
    assert (seen.starts_s, seen.middle_s) == ((90.0, 100.0), 95.0)
    assert (seen.starting, seen.restarted) == (1, 1)


def test_the_longest_pull_of_a_pod_is_the_engines():
    """Images of sidecars and init containers are small, and pulled one after the other."""
    words = 'Successfully pulled image "vllm/vllm-openai:v1" in 1m2.5s (1m2.5s including waiting). Image size: 9 bytes.'
    events = [
        pulled("a", words),
        pulled("a", 'Successfully pulled image "sidecar" in 800ms (800ms including waiting).'),
        pulled("b", 'Container image "vllm/vllm-openai:v1" already present on machine'),
        pulled("b", "Back-off pulling image"),
        pulled("elsewhere", words),
        {"message": words},
        {"involvedObject": "?", "message": 3},
    ]
    seen = starts_of([pod("a", ready_s=90), pod("b", ready_s=30), pod("c", ready_s=40)], events)
    assert (seen.pulls_s, seen.cached) == ((62.5,), 1)


def test_no_pods_are_no_measure():
    assert starts_of([], []).middle_s is None
