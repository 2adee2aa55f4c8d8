"""The cluster in a box with its controllers: real processes as pods, machines that die."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulations.box.local_cluster import ClusterDelays, LocalCluster, Machine

pytestmark = pytest.mark.slow  # every pod is a process
STAND_IN = Path(__file__).with_name("stand_in.py")
DELAYS = ClusterDelays(
    orphans_gone_after_s=0.2,
    endpoints_after_s=0.05,
    restart_after_s=0.1,
)


def deployment(
    name: str = "llama", *, replicas: int = 1, spot: bool | None = None, **container: Any
) -> dict[str, Any]:
    labels = {"app": "llama", "pool": name}
    arguments = container.pop("arguments", [])
    grace_s = container.pop("grace_s", 10)
    pod_spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": grace_s,
        "containers": [
            {
                "name": "vllm",
                "image": "vllm/vllm-openai",
                "command": [sys.executable, str(STAND_IN)],
                "args": ["--host=$(POD_IP)", "--port=8000", *arguments],
                "env": [
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
                ],
                "ports": [{"name": "http", "containerPort": 8000}],
                "resources": {"limits": {"nvidia.com/gpu": 1}},
                "readinessProbe": {
                    "httpGet": {"path": "/health", "port": "http"},
                    "periodSeconds": 0.1,
                    "failureThreshold": 3,
                    "timeoutSeconds": 5,
                },
                **container,
            }
        ],
    }
    if spot is not None:
        capacity = "spot" if spot else "on-demand"
        pod_spec["nodeSelector"] = {"karpenter.sh/capacity-type": capacity}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "serving"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec},
        },
    }


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    async with LocalCluster(delays=DELAYS) as made:
        made.nodes.add(Machine(name="od-1", gpus=4))
        made.nodes.add(Machine(name="spot-1", spot=True, gpus=2))
        made.nodes.add(Machine(name="spot-2", spot=True, gpus=2))
        yield made


def pods(cluster: LocalCluster, **states: Any) -> list[dict[str, Any]]:
    """Pods that are ready or not, deleting or not, on a node or not, as asked."""
    found = cluster.store.all("pods", "serving")
    if "ready" in states:
        found = [pod for pod in found if is_ready(pod) == states["ready"]]
    if "deleting" in states:
        found = [p for p in found if ("deletionTimestamp" in p["metadata"]) == states["deleting"]]
    if "node" in states:
        found = [pod for pod in found if pod["spec"].get("nodeName") == states["node"]]
    return found


def condition(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = pod["status"].get("conditions", ())
    return next((c for c in conditions if c["type"] == kind), {"status": "Unknown"})


def is_ready(pod: dict[str, Any]) -> bool:
    return condition(pod, "Ready")["status"] == "True"


def scale(cluster: LocalCluster, replicas: int, name: str = "llama") -> None:
    cluster.store.modify(
        "deployments", "serving", name, lambda obj: obj["spec"].update(replicas=replicas)
    )


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def processes(cluster: LocalCluster) -> list[int]:
    return [
        runner._process.pid
        for runner in cluster.kubelets._runners.values()
        if runner._process is not None and runner._process.returncode is None
    ]


async def test_a_deployment_runs_real_processes(cluster: LocalCluster):
    cluster.apply(deployment(replicas=2))
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 2)
    addresses = {pod["status"]["podIP"] for pod in pods(cluster)}
    assert len(addresses) == 2
    async with aiohttp.ClientSession() as http:
        for address in addresses:
            async with http.get(f"http://{address}:8000/") as answer:
                assert await answer.text() == address
    for pod in pods(cluster):
        assert condition(pod, "PodScheduled")["status"] == "True"
        assert pod["status"]["phase"] == "Running"
    await cluster.until(
        lambda: cluster.store.get("deployments", "serving", "llama")["status"]["readyReplicas"] == 2
    )
    status = cluster.store.get("deployments", "serving", "llama")["status"]
    assert status["updatedReplicas"] == status["replicas"] == 2
    (replica_set,) = cluster.store.all("replicasets")
    owner = replica_set["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("Deployment", "llama")


async def test_nothing_is_left_running():
    async with LocalCluster(delays=DELAYS) as other:
        other.nodes.add(Machine(name="n"))
        other.apply(deployment(replicas=2, arguments=["--ignore-term"]))
        await other.until(lambda: len(pods(other, ready=True)) == 2)
        pids = processes(other)
        folder = other.folder
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)
    assert not folder.exists()


async def test_what_fits_nowhere_says_so(cluster: LocalCluster):
    cluster.apply(deployment(replicas=5, spot=True, arguments=["--cold-start=60"]))
    await cluster.until(
        lambda: any(
            condition(pod, "PodScheduled").get("reason") == "Unschedulable" for pod in pods(cluster)
        )
    )
    (waiting,) = pods(cluster, node=None)
    told = condition(waiting, "PodScheduled")
    assert told["status"] == "False"
    assert "Insufficient nvidia.com/gpu" in told["message"]
    assert "didn't match Pod's node affinity" in told["message"]
    assert "lastTransitionTime" in told
    cluster.nodes.add(Machine(name="spot-3", spot=True))
    await cluster.until(lambda: not pods(cluster, node=None))


async def test_a_cordoned_node_gets_nothing(cluster: LocalCluster):
    for name in ("spot-1", "spot-2"):
        cluster.store.modify("nodes", "", name, lambda n: n["spec"].update(unschedulable=True))
    cluster.apply(deployment(replicas=1, spot=True))
    await cluster.until(
        lambda: any(condition(p, "PodScheduled")["status"] == "False" for p in pods(cluster))
    )
    assert "were unschedulable" in condition(pods(cluster)[0], "PodScheduled")["message"]


async def test_victims_are_those_that_serve_least(cluster: LocalCluster):
    cluster.apply(deployment(replicas=3))
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 3)
    cheap = pods(cluster)[1]["metadata"]["name"]
    cluster.store.modify(
        "pods",
        "serving",
        cheap,
        lambda p: (
            p["metadata"]
            .setdefault("annotations", {})
            .update({"controller.kubernetes.io/pod-deletion-cost": "-1"})
        ),
    )
    scale(cluster, 2)
    await cluster.until(lambda: len(pods(cluster)) == 2)
    assert [ending.pod for ending in cluster.endings] == [cheap]


async def test_eviction_is_replaced_and_runs_the_hook(cluster: LocalCluster, tmp_path: Path):
    """preStop runs first, then SIGTERM, and the log has both; the scale stays."""
    note = tmp_path / "hook"
    hook = {"preStop": {"exec": {"command": ["/bin/sh", "-c", f"echo $POD_IP > {note}"]}}}
    cluster.apply(deployment(lifecycle=hook))
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 1)
    (first,) = pods(cluster)
    name, address = first["metadata"]["name"], first["status"]["podIP"]
    async with aiohttp.ClientSession(cluster.api.url) as http:
        body = {"metadata": {"name": name}, "deleteOptions": {"gracePeriodSeconds": 8}}
        path = f"/api/v1/namespaces/serving/pods/{name}/eviction"
        async with http.post(path, json=body) as answer:
            assert answer.status == 201
    await cluster.until(lambda: cluster.store.find("pods", "serving", name) is None)
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 1)
    assert note.read_text().strip() == address
    (ending,) = cluster.endings
    assert (ending.hook_exit_code, ending.exit_code, ending.grace_s) == (0, 0, 8)
    assert "SIGTERM" in (cluster.folder / "logs" / f"{name}.log").read_text()


async def test_grace_ends_with_sigkill(cluster: LocalCluster):
    cluster.apply(deployment(grace_s=1, arguments=["--ignore-term"]))
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 1)
    scale(cluster, 0)
    await cluster.until(lambda: not pods(cluster))
    (ending,) = cluster.endings
    assert ending.was_killed


async def test_a_shortened_grace_is_heeded_in_the_middle(cluster: LocalCluster):
    cluster.apply(deployment(grace_s=600, arguments=["--ignore-term"]))
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 1)
    (pod,) = pods(cluster)
    name = pod["metadata"]["name"]
    async with aiohttp.ClientSession(cluster.api.url) as http:
        path = f"/api/v1/namespaces/serving/pods/{name}"
        async with http.delete(path) as answer:
            assert (await answer.json())["metadata"]["deletionGracePeriodSeconds"] == 600
        async with http.delete(path, params={"gracePeriodSeconds": "1"}) as answer:
            assert answer.status == 200
    await cluster.until(lambda: cluster.store.find("pods", "serving", name) is None)
    assert cluster.endings[0].was_killed
    assert cluster.endings[0].grace_s == 1


async def test_a_hook_that_overruns_leaves_two_seconds(cluster: LocalCluster):
    hook = {"preStop": {"exec": {"command": ["/bin/sleep", "600"]}}}
    cluster.apply(deployment(grace_s=1, lifecycle=hook))
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 1)
    scale(cluster, 0)
    await cluster.until(lambda: not pods(cluster))
    (ending,) = cluster.endings
    assert ending.hook_exit_code is None
    assert ending.exit_code == 0  # SIGTERM came, and there was time to heed it


async def test_a_container_that_ends_is_started_again(cluster: LocalCluster):
    cluster.apply(deployment(arguments=["--exit-after=0.1", "--exit-code=3"]))
    await cluster.until(
        lambda: any(
            status["restartCount"] >= 2
            for pod in pods(cluster)
            for status in pod["status"].get("containerStatuses", ())
        )
    )
    (pod,) = pods(cluster)  # the same pod, not a new one
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3


async def test_a_container_that_cannot_start_says_why(cluster: LocalCluster):
    cluster.apply(deployment(command=["/nonexistent/server"]))
    await cluster.until(
        lambda: any(
            "waiting" in status["state"]
            for pod in pods(cluster)
            for status in pod["status"].get("containerStatuses", ())
        )
    )
    scale(cluster, 0)
    await cluster.until(lambda: not pods(cluster))


async def test_a_liveness_probe_restarts(cluster: LocalCluster):
    probe = {"tcpSocket": {"port": 9}, "periodSeconds": 0.1, "failureThreshold": 1}
    cluster.apply(deployment(livenessProbe=probe))
    await cluster.until(
        lambda: any(
            status["restartCount"] >= 1
            for pod in pods(cluster)
            for status in pod["status"].get("containerStatuses", ())
        )
    )


async def test_a_removed_node_takes_its_pods_with_it(cluster: LocalCluster):
    cluster.apply(deployment(replicas=2, spot=True))
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 2)
    cluster.nodes.remove("spot-1")
    assert cluster.store.find("nodes", "", "spot-1") is None
    await cluster.until(lambda: len(pods(cluster, ready=True, node="spot-2")) == 2)
    await cluster.until(lambda: not pods(cluster, node="spot-1"))


async def test_a_reclaim_is_announced_and_then_carried_out(cluster: LocalCluster):
    cluster.nodes.reclaim("spot-1", lead_s=60)
    annotations = cluster.store.get("nodes", "", "spot-1")["metadata"]["annotations"]
    assert list(annotations) == ["inference-autoscaler.dev/interruption"]
    cluster.nodes.reclaim("spot-2", lead_s=0.1)
    await cluster.until(lambda: cluster.store.find("nodes", "", "spot-2") is None)


async def test_a_new_template_replaces_all_pods(cluster: LocalCluster):
    cluster.apply(deployment(replicas=2))
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 2)
    old = {pod["metadata"]["name"] for pod in pods(cluster)}
    cluster.apply(deployment(replicas=2, arguments=["--cold-start=0.2"]))

    def complete() -> bool:
        found = cluster.store.get("deployments", "serving", "llama")
        status, generation = found["status"], found["metadata"]["generation"]
        updated = status["observedGeneration"] == generation and status["updatedReplicas"] == 2
        return updated and len(pods(cluster)) == 2 == len(pods(cluster, ready=True))

    await cluster.until(complete)
    assert not old & {pod["metadata"]["name"] for pod in pods(cluster)}


async def test_a_deleted_deployment_takes_all_it_made(cluster: LocalCluster):
    cluster.apply(deployment(replicas=2))
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 2)
    cluster.store.remove("deployments", "serving", "llama")
    await cluster.until(lambda: not pods(cluster) and not cluster.store.all("replicasets"))


async def test_a_config_map_is_laid_out_as_files(cluster: LocalCluster):
    cluster.apply(
        {
            "kind": "ConfigMap",
            "metadata": {"name": "code", "namespace": "serving"},
            "data": {"server.py": STAND_IN.read_text()},
        }
    )
    document = deployment(
        command=["python3", "/code/server.py"],
        volumeMounts=[{"name": "code", "mountPath": "/code"}],
    )
    document["spec"]["template"]["spec"]["volumes"] = [
        {"name": "code", "configMap": {"name": "code"}}
    ]
    cluster.apply(document)
    await cluster.until(lambda: len(pods(cluster, ready=True)) == 1)


# -- the Service


async def get(url: str) -> str:
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.get(url, timeout=aiohttp.ClientTimeout(total=30)) as answer,
    ):
        return await answer.text()


async def test_a_service_spreads_over_the_ready_pods(cluster: LocalCluster):
    service = await cluster.expose("serving", {"app": "llama"}, port=8000)
    with pytest.raises(aiohttp.ClientError):
        await get(service.url)
    cluster.apply(deployment(replicas=2))
    await cluster.until(lambda: len(service.endpoints) == 2)
    answered = await asyncio.gather(*(get(f"{service.url}/slow") for _ in range(4)))
    assert sorted(answered.count(address) for address in set(answered)) == [2, 2]
    async with asyncio.timeout(30):
        while any(endpoint.connections for endpoint in service.endpoints.values()):
            await asyncio.sleep(0)


@pytest.mark.parametrize("who", ["client", "pod", "client first, then pod"])
async def test_a_connection_is_over_when_both_sides_have_ended(cluster: LocalCluster, who: str):
    """Whoever closes, and however: the route's count returns to zero."""
    service = await cluster.expose("serving", {"app": "llama"}, port=8000)
    cluster.apply(deployment())
    await cluster.until(lambda: len(service.endpoints) == 1)
    (endpoint,) = service.endpoints.values()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    while not endpoint.connections:
        await asyncio.sleep(0)
    if who == "pod":
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 200")
    elif who == "client":
        writer.close()
    else:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.0 200")
    writer.close()
    async with asyncio.timeout(30):
        while endpoint.connections:
            await asyncio.sleep(0)


async def test_open_connections_outlive_the_route(cluster: LocalCluster):
    """A pod that is being deleted gets nothing new, and finishes what it has."""
    service = await cluster.expose("serving", {"app": "llama"}, port=8000)
    hook = {"preStop": {"sleep": {"seconds": 3}}}
    cluster.apply(deployment(lifecycle=hook))
    await cluster.until(lambda: len(service.endpoints) == 1)
    open_request = asyncio.create_task(get(f"{service.url}/slow"))
    while not any(e.connections for e in service.endpoints.values()):
        await asyncio.sleep(0)
    scale(cluster, 0)
    await cluster.until(lambda: not service.endpoints)
    with pytest.raises(aiohttp.ClientError):
        await get(service.url)
    assert (await open_request).startswith("127.")
    await cluster.until(lambda: not pods(cluster))
    assert cluster.endings[0].hook_exit_code == 0
