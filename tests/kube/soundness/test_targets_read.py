"""Targets from manifests and from an API server, held against models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.kube.api.client import ApiError, connect
from autoscaler.kube.api.timestamps import rfc3339, seconds
from autoscaler.kube.soundness.targets_read import findings_of, read_cluster, read_manifests
from simulations.box.local_cluster import LocalCluster
from tests.kube import scene
from tests.kube.soundness.targets import sound

MODEL = scene.model("llama")


def reasons(read: Any) -> list[str]:
    (row,) = findings_of(read, [MODEL], {})
    return [finding.reason for finding in row.findings]


def test_a_manifest_without_a_namespace_is_taken_to_be_meant():
    item = sound()
    assert reasons(read_manifests([item], origin="f")) == []
    del item["metadata"]["namespace"]
    assert reasons(read_manifests([item, None, 3, {"kind": "Service"}], origin="f")) == []
    item["metadata"]["namespace"] = "elsewhere"
    (row,) = findings_of(read_manifests([item], origin="f.yaml"), [MODEL], {})
    (finding,) = row.findings
    assert finding.reason is FindingReason.TARGET_MISSING
    assert str(finding) == (
        "error: TargetMissing: spec.pools[0].scaleTargetRef: found serving/llama, which is not in f.yaml; "
        "there: elsewhere/llama; name a Deployment that is there"
    )


def test_budgets_of_the_same_file_count():
    blocking = {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b", "namespace": "serving"},
        "spec": {"selector": {}, "maxUnavailable": 0, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
    }
    assert reasons(read_manifests([sound(), blocking], origin="f")) == ["DisruptionBlocked"]
    blocking["metadata"] = {"name": "b", "namespace": "elsewhere"}
    assert reasons(read_manifests([sound(), blocking], origin="f")) == []


def test_names_that_others_wrote_are_cut_and_made_printable():
    budgets = [
        {
            "kind": "PodDisruptionBudget",
            "metadata": {"name": f"b\x1b[2J{number}" + "x" * 5_000, "namespace": "serving"},
            "spec": {"selector": {}, "maxUnavailable": 0},
        }
        for number in range(8)
    ]
    read = read_manifests([sound(), *budgets], origin="f")
    (row,) = findings_of(read, [MODEL], {})
    several = next(each for each in row.findings if each.reason is FindingReason.SEVERAL_BUDGETS)
    assert len(row.findings) > 8, "each of them lets no pod go"
    assert all(str(each).isprintable() and len(str(each)) < 4_000 for each in row.findings)
    assert "and 3 more" in several.path
    assert len(several.path) < 700


def pod(name: str, *, ready: str | None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "serving", "labels": {"app": "llama"}},
        "spec": {"containers": [{"name": "vllm", "image": "i"}]},
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "False" if ready is None else "True",
                    "lastTransitionTime": ready,
                }
            ]
        },
    }


@pytest.mark.slow
async def test_from_a_cluster_with_the_starts_that_were_measured(tmp_path: Path):
    target = {"apiVersion": "apps/v1", **sound()}
    blocking = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b", "namespace": "serving"},
        "spec": {"selector": {"matchLabels": {"app": "llama"}}, "minAvailable": "100%"},
    }
    async with (
        LocalCluster(controllers=False, folder=tmp_path) as cluster,
        await connect(str(cluster.kubeconfig)) as client,
    ):
        empty = await read_cluster(client, [MODEL])
        assert reasons(empty) == ["TargetMissing"]
        cluster.apply(target)
        cluster.apply(blocking)
        read = await read_cluster(client, [MODEL])
        assert reasons(read) == ["DisruptionBlocked", "UnreadyNotEvicted"]
        # 25 minutes, and the startup probe allows ten; one that blinked a day later says nothing
        for name, took_s in (("a", 1500), ("b", 86_400)):
            made = cluster.apply(pod(name, ready=None))
            created_at = seconds(made["metadata"]["creationTimestamp"])
            cluster.apply(pod(name, ready=rfc3339(created_at + took_s)))
        read = await read_cluster(client, [MODEL])
        assert read.cold_starts_s == {("serving", "llama"): [1500.0]}
        assert reasons(read)[0] == "StartCut"
        assert read.unread == []


class Refusing:
    """An API server that lets Deployments be read, and nothing else."""

    server = "https://x"

    def __init__(self, *, status: int = 403) -> None:
        self.status = status

    async def call(self, verb: str, resource: Any, **_: Any) -> Any:
        if resource.plural == "deployments" and self.status == 403:
            return sound()
        raise ApiError(f"{verb} {resource.plural}: refused", status=self.status)


async def test_what_may_not_be_read_is_said_and_not_taken_for_nothing():
    read = await read_cluster(Refusing(), [MODEL])  # type: ignore[arg-type]
    assert read.budgets == {"serving": None}
    assert reasons(read) == []
    assert read.unread == [
        "how long replicas of Deployment/serving/llama took to start: list pods: refused",
        "the disruption budgets of namespace serving: list poddisruptionbudgets: refused",
    ]
    with pytest.raises(ApiError):
        await read_cluster(Refusing(status=500), [MODEL])  # type: ignore[arg-type]
