"""A stand-in for dcgm-exporter on each machine, as its DaemonSet would have it there."""

from __future__ import annotations

from simulations.box.local_cluster import LocalCluster
from simulations.box.local_cluster.objects import Object

NAMESPACE = "gpu-operator"
LABEL, APP = "app", "nvidia-dcgm-exporter"
PERIOD_S = 0.5
"""A real one collects every 30 s; a start takes minutes there, and seconds here."""


def export_gpus(cluster: LocalCluster, node: str) -> None:
    """Start the exporter of a machine."""
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{APP}-{node}", "namespace": NAMESPACE, "labels": {LABEL: APP}},
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "exporter",
                        "image": "nvidia/dcgm-exporter",
                        "command": ["python3", "-m", "simulations.box.dcgm_exporter"],
                        "args": [
                            f"--node={node}",
                            "--host=$(POD_IP)",
                            f"--api-server={cluster.api.url}",
                            f"--period={PERIOD_S}",
                        ],
                        "env": [
                            {
                                "name": "POD_IP",
                                "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                            }
                        ],
                        "ports": [{"name": "metrics", "containerPort": 9400}],
                    }
                ],
            },
        }
    )


def is_exporter(pod: Object) -> bool:
    """Whether a pod is one of these, and no replica."""
    return bool(pod["metadata"].get("labels", {}).get(LABEL) == APP)
