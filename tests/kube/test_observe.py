"""The observation, through real watches: what each column says, whose each pod is, who is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    FALLBACK_ANNOTATION,
)
from autoscaler.core.contract.reasons import FindingReason
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.contract.state import (
    NO_NODE,
    CapacityType,
    Promise,
)
from autoscaler.kube.api.client import Client
from autoscaler.kube.observe import Cluster
from autoscaler.kube.samples import FramebufferSample, HistogramSample, NodeGpuSample, PodSample
from autoscaler.kube.watch.caches import PodSelector
from autoscaler.kube.watch.timing import Timing
from tests.kube.api_server import ScriptedServer, page, refuse
from tests.kube.scene import CREATED_AT, deployment, fleet, model, node, pod, replica_set
from tests.kube.soundness.targets import sound
from tests.kube.watched import AGE_S_MAX, AT, SPOT, Begin

FORBIDDEN = refuse(403, "Forbidden", "deployments is forbidden")


async def test_columns_of_replicas_in_order_of_pool_and_name(begin: Begin):
    scene = await begin(
        fleet("llama", "spot"),
        deployment("llama", replicas=3),
        deployment("spot", replicas=1),
        replica_set("llama-1", owner="llama"),
        replica_set("spot-1", owner="spot"),
        node("n1", labels={"karpenter.sh/capacity-type": "on-demand"}),
        node("n2", labels=SPOT, unschedulable=True),
        node("other"),
        pod("llama-b", owner="llama-1", node="n1", ready_since="2026-03-01T12:02:00Z"),
        pod("llama-a", owner="llama-1", unschedulable_since="2026-03-01T12:01:00Z"),
        pod("llama-c", owner="llama-1", node="n1", deleting=True, grace_s=None),
        pod("a-spot-pod", owner="spot-1", node="n2"),
    )
    seen = scene.observe()
    assert seen.nodes.name == ("n1", "n2"), "a node with nothing of ours is left out"
    assert seen.nodes.capacity_type == (CapacityType.ON_DEMAND, CapacityType.SPOT)
    assert seen.nodes.unschedulable.tolist() == [False, True]
    assert seen.nodes.ready.all()
    assert seen.nodes.exists.all()
    assert np.isnan(seen.nodes.gpus_free).all()
    assert seen.interruptions == ()
    (observed,) = seen.models
    assert observed.model == "serving/llama"
    assert [(p.name, p.current_replicas, p.gpus_per_replica) for p in observed.pools] == [
        ("llama", 3, 1),
        ("spot", 1, 1),
    ]
    replicas = observed.replicas
    assert replicas.name == ("llama-a", "llama-b", "llama-c", "a-spot-pod")
    assert replicas.pool.tolist() == [0, 0, 0, 1]
    assert replicas.node.tolist() == [NO_NODE, 0, 0, 1]
    assert replicas.created_at.tolist() == [CREATED_AT] * 4
    assert replicas.ready.tolist() == [False, True, False, False]
    assert replicas.deleting.tolist() == [False, False, True, False]
    assert replicas.grace_s.tolist() == [60.0, 60.0, 30.0, 60.0]
    nan = math.nan
    np.testing.assert_equal(replicas.scheduled_at, [nan, *[CREATED_AT + 5] * 3])
    np.testing.assert_equal(replicas.ready_at, [nan, CREATED_AT + 120, nan, nan])
    np.testing.assert_equal(replicas.not_ready_since, [nan, nan, nan, nan])
    np.testing.assert_equal(replicas.unschedulable_since, [CREATED_AT + 60, nan, nan, nan])
    np.testing.assert_equal(replicas.sampled_at, [nan] * 4)


async def test_samples_take_their_rows_and_what_is_unknown_is_nan(begin: Begin):
    scene = await begin(
        fleet("llama"),
        deployment("llama"),
        replica_set("llama-1", owner="llama"),
        node("n1"),
        pod("llama-a", owner="llama-1", node="n1"),
        pod("llama-b", owner="llama-1", node="n1"),
    )
    sample = PodSample(
        sampled_at=AT - 2,
        waiting_requests=3.0,
        running_requests=None,
        kv_usage_ratio=0.5,
        finished_requests_total=100.0,
        prompt_tokens_total=5e6,
        generation_tokens_total=2e6,
        preemptions_total=1.0,
        steps_total=7.0,
        ttft=HistogramSample(bounds=(0.5,), counts=(3.0, 4.0)),
    )
    ghost = PodSample(sampled_at=AT, waiting_requests=1e9)
    seen = scene.observe(
        samples={
            ("serving", "llama-b"): sample,
            ("serving", "gone"): ghost,
            ("x", "llama-a"): ghost,
        },
        framebuffers={
            ("serving", "llama-a"): FramebufferSample(sampled_at=AT - 9, used_bytes=4e10)
        },
    )
    replicas, nan = seen.models[0].replicas, math.nan
    np.testing.assert_equal(replicas.sampled_at, [nan, AT - 2])
    np.testing.assert_equal(replicas.waiting_requests, [nan, 3.0])
    np.testing.assert_equal(replicas.running_requests, [nan, nan])
    np.testing.assert_equal(replicas.kv_usage_ratio, [nan, 0.5])
    np.testing.assert_equal(replicas.finished_requests_total, [nan, 100.0])
    np.testing.assert_equal(replicas.prompt_tokens_total, [nan, 5e6])
    np.testing.assert_equal(replicas.generation_tokens_total, [nan, 2e6])
    np.testing.assert_equal(replicas.preemptions_total, [nan, 1.0])
    np.testing.assert_equal(replicas.steps_total, [nan, 7.0])
    (ttft,) = replicas.ttft
    np.testing.assert_equal(ttft.rows, [1])
    np.testing.assert_equal(ttft.counts, [[3.0], [4.0]])
    assert replicas.tpot == replicas.token_gaps == ()
    np.testing.assert_equal(replicas.framebuffer_used_bytes, [4e10, nan])
    np.testing.assert_equal(replicas.framebuffer_at, [AT - 9, nan])


async def test_free_gpus_of_all_nodes_that_tell_while_they_are_fresh(begin: Begin):
    """An empty node is where the next start goes: it must be seen."""
    scene = await begin(
        fleet("llama"),
        deployment("llama"),
        replica_set("llama-1", owner="llama"),
        node("busy"),
        node("empty", labels=SPOT),
        node("silent"),
        pod("llama-a", owner="llama-1", node="busy"),
    )
    gpus = {
        "busy": NodeGpuSample(sampled_at=AT - 300, whole=4, free=1),
        "empty": NodeGpuSample(sampled_at=AT - 5, whole=4, free=4),
        "no-such-node": NodeGpuSample(sampled_at=AT, whole=8, free=8),
    }
    nodes = scene.observe(gpus=gpus).nodes
    assert nodes.name == ("busy", "empty")
    np.testing.assert_equal(nodes.gpus_free, [math.nan, 4.0])
    assert nodes.capacity_type == (None, CapacityType.SPOT)


async def test_a_node_that_we_cordoned_is_seen_until_somebody_takes_the_cordon_away(begin: Begin):
    """Emptied, and its notice withdrawn: nothing else would make it part of an observation."""
    cordon = {CORDON_ANNOTATION: "2026-01-01T00:00:00Z"}
    scene = await begin(
        fleet("llama"),
        deployment("llama"),
        node("drained", annotations=cordon | {DRAINED_ANNOTATION: "x"}, unschedulable=True),
        node("theirs", unschedulable=True),
        node("uncordoned", annotations=cordon),
        node("other"),
    )
    nodes = scene.observe().nodes
    assert nodes.name == ("drained", "uncordoned")
    assert nodes.cordoned_by_us.tolist() == [True, True]
    assert nodes.marked_drained.tolist() == [True, False]
    assert nodes.unschedulable.tolist() == [True, False]


async def test_gpus_that_can_carry_nothing_by_node_and_by_replica(begin: Begin):
    scene = await begin(
        fleet("llama"),
        deployment("llama"),
        replica_set("llama-1", owner="llama"),
        node("silent"),
        node("well"),
        node("worn"),
        pod("llama-a", owner="llama-1", node="worn"),
        pod("llama-b", owner="llama-1", node="worn"),
        pod("llama-c", owner="llama-1", node="well"),
        pod("llama-d", owner="llama-1", node="silent"),
    )
    gpus = {
        "worn": NodeGpuSample(
            sampled_at=AT,
            whole=4,
            free=None,
            unhealthy=2,
            unhealthy_by_pod={("serving", "llama-a"): 2},
        ),
        "well": NodeGpuSample(sampled_at=AT, whole=4, free=3, unhealthy=0),
    }
    seen = scene.observe(gpus=gpus)
    assert seen.nodes.name == ("silent", "well", "worn")
    np.testing.assert_equal(seen.nodes.gpus_unhealthy, [math.nan, 0.0, 2.0])
    np.testing.assert_equal(seen.nodes.gpus_free, [math.nan, 3.0, math.nan])
    (of_model,) = seen.models
    np.testing.assert_equal(of_model.replicas.gpus_unhealthy, [2.0, 0.0, 0.0, math.nan])
    stale = scene.observe(
        gpus={name: replace(gpu, sampled_at=AT - 300) for name, gpu in gpus.items()}
    )
    assert np.isnan(stale.models[0].replicas.gpus_unhealthy).all()


@pytest.mark.parametrize(
    ("capacity", "free"),
    [
        ({}, 4),  # no device plugin said anything
        ({"nvidia.com/gpu": "4"}, 4),
        ({"nvidia.com/gpu": "16"}, math.nan),  # four shares of each
        ({"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "16"}, math.nan),
        ({"nvidia.com/gpu": "8"}, math.nan),  # the exporter speaks for half of them
        ({"nvidia.com/gpu": "four"}, 4),
        ({"nvidia.com/gpu": "9" * 5000}, 4),
    ],
)
async def test_cards_that_are_shared_in_time_leave_free_gpus_unknown(
    begin: Begin, capacity: dict[str, str], free: float
):
    """Without virtual GPUs an exporter names one pod of a card's several, and no `vgpu`."""
    shared = node("shared")
    shared.setdefault("status", {})["capacity"] = capacity
    scene = await begin(
        fleet("llama"), deployment("llama"), replica_set("llama-1", owner="llama"), shared
    )
    gpus = {"shared": NodeGpuSample(sampled_at=AT, whole=4, free=4)}
    np.testing.assert_equal(scene.observe(gpus=gpus).nodes.gpus_free, [free])


async def test_owners_tell_pods_apart_that_share_their_labels(begin: Begin):
    """All pods here carry app=llama: selectors would count each of them for both pools."""
    scene = await begin(
        fleet("llama", "spot"),
        deployment("llama"),
        deployment("spot"),
        deployment("unmanaged"),
        replica_set("llama-old", owner="llama"),
        replica_set("llama-new", owner="llama"),
        replica_set("spot-1", owner="spot"),
        replica_set("unmanaged-1", owner="unmanaged"),
        pod("llama-old-x", owner="llama-old"),
        pod("llama-new-x", owner="llama-new"),
        pod("spot-1-x", owner="spot-1"),
        pod("unmanaged-1-x", owner="unmanaged-1"),
        pod("orphan", owner="no-such-set"),
    )
    replicas = scene.model.replicas
    assert replicas.name == ("llama-new-x", "llama-old-x", "spot-1-x")
    assert replicas.pool.tolist() == [0, 0, 1]


async def test_pods_that_ended_are_no_replicas(begin: Begin):
    scene = await begin(
        fleet("llama"),
        deployment("llama"),
        replica_set("llama-1", owner="llama"),
        node("n"),
        pod("failed", owner="llama-1", node="n", phase="Failed"),
        pod("done", owner="llama-1", node="n", phase="Succeeded"),
        pod("lost-touch", owner="llama-1", node="n", phase="Unknown"),
    )
    assert scene.model.replicas.name == ("lost-touch",)
    assert [t.key[1] for t in scene.cluster.scrape_targets(scene.spec)] == ["lost-touch"]


async def test_a_target_that_is_not_there_is_unknown_not_zero(begin: Begin):
    scene = await begin(fleet("llama", "missing"), deployment("llama", replicas=0))
    here, missing = scene.model.pools
    assert here.current_replicas == 0
    assert missing.current_replicas is None


async def test_promises_and_what_cannot_be_read_of_them(begin: Begin):
    text = json.dumps([{"node": "n", "replicas": 2, "since": AT}])
    scene = await begin(
        fleet("llama", "broken"),
        deployment("llama", annotations={FALLBACK_ANNOTATION: text}),
        deployment("broken", annotations={FALLBACK_ANNOTATION: "by hand"}),
    )
    llama, broken = scene.model.pools
    assert llama.promises == (Promise(node="n", replicas=2, since=AT),)
    assert llama.promises_readable
    assert broken.promises == ()
    assert not broken.promises_readable


async def test_what_makes_a_target_unsound_is_told_by_its_pool(begin: Begin):
    scene = await begin(
        fleet("llama", "spot"),
        sound() | {"apiVersion": "apps/v1", "metadata": {"name": "llama", "namespace": "serving"}},
        deployment("spot", pod_spec={"containers": [{"name": "vllm", "image": "vllm:v0.32.0"}]}),
    )
    (model,) = scene.observe().models
    first, second = model.pools
    assert (first.unsound, first.start_s_max) == ((), 600.0)
    assert second.unsound == (
        FindingReason.NO_PRE_STOP,
        FindingReason.NO_SHUTDOWN_TIMEOUT,
        FindingReason.NO_READINESS_PROBE,
    )
    assert second.start_s_max is None


async def test_gpus_behind_claims_are_said_to_be_unknown(begin: Begin):
    spec = {"containers": [{"name": "vllm"}], "resourceClaims": [{"name": "gpu"}]}
    scene = await begin(fleet("llama"), deployment("llama", pod_spec=spec))
    assert scene.model.pools[0].gpus_per_replica == 0
    (problem,) = scene.cluster.problems()
    assert "Deployment/serving/llama" in problem
    assert "resource claim asks" in problem


async def test_two_models_in_two_namespaces_and_a_change_of_them(begin: Begin):
    one, two = model("llama"), model("qwen", namespace="other", name="qwen")
    scene = await begin(
        FleetSpec(models=(two, one)),
        deployment("llama"),
        deployment("qwen", namespace="other"),
        replica_set("llama-1", owner="llama"),
        replica_set("qwen-1", owner="qwen", namespace="other"),
        pod("llama-a", owner="llama-1"),
        pod("qwen-a", owner="qwen-1", namespace="other"),
    )
    assert [m.model for m in scene.observe().models] == ["other/qwen", "serving/llama"]
    assert [m.replicas.name for m in scene.observe().models] == [("qwen-a",), ("llama-a",)]
    asked = {r.path for r in scene.server.requests}
    assert "/api/v1/namespaces/other/pods" in asked
    assert "/api/v1/pods" not in asked, "only the namespaces in use are read"

    third = model("phi", namespace="third", name="phi")
    scene.held.put(deployment("phi", namespace="third", replicas=4))
    scene.spec = FleetSpec(models=(one, third))
    scene.cluster.follow(scene.spec)
    assert scene.observe().cluster_at == 0.0, "not listed yet: blind, not empty"
    await scene.until_listed()
    assert [m.pools[0].current_replicas for m in scene.observe().models] == [2, 4]
    assert set(scene.cluster._caches.namespaces) == {"serving", "third"}
    watched = len(scene.cluster._caches._tasks)
    assert watched == 12, "what all share: nodes, two of events, claims; and four of each namespace"


async def test_scrape_targets(begin: Begin):
    scene = await begin(
        fleet("llama"),
        deployment("llama"),
        replica_set("llama-1", owner="llama"),
        node("n"),
        pod(
            "llama-b", owner="llama-1", node="n", ready_since="2026-03-01T12:02:00Z", ip="10.0.0.7"
        ),
        pod(
            "llama-a", owner="llama-1", node="n", deleting=True, ip="10.0.0.8",
            ready_since="2026-03-01T12:02:00Z",
        ),
        pod("llama-c", owner="llama-1"),
    )  # fmt: skip
    a, b, c = scene.cluster.scrape_targets(scene.spec)
    assert [a.leaving, b.leaving, c.leaving] == [True, False, False]
    # a is still Ready, but its engine may end at any moment: its port need not be open
    assert (a.key, a.uid, a.ip, a.ready) == (
        ("serving", "llama-a"),
        "uid-llama-a",
        "10.0.0.8",
        False,
    )
    assert (b.model, b.ready) == ("serving/llama", True)
    assert (c.ip, c.ready) == ("", False)
    assert scene.cluster.pod_uid("serving", "llama-a") == "uid-llama-a"
    assert scene.cluster.pod_uid("serving", "nobody") is None
    assert scene.cluster.pod_uid("nowhere", "llama-a") is None


async def test_exporters_are_found_and_do_not_hold_up_the_rest(begin: Begin):
    exporter = pod("dcgm-x", owner="ds", node="n", namespace="gpu-operator", ip="10.0.0.9")
    scene = await begin(
        fleet("llama"),
        deployment("llama"),
        exporter,
        pod("dcgm-y", owner="ds", node="m", namespace="gpu-operator", ip=""),
        pod("dcgm-z", owner="ds", node="m", namespace="gpu-operator", deleting=True),
        exporters=[PodSelector(namespace="gpu-operator", labels="app=nvidia-dcgm-exporter")],
    )
    (target,) = scene.cluster.exporter_targets()
    assert (target.key, target.ip, target.node) == (("gpu-operator", "dcgm-x"), "10.0.0.9", "n")
    (listed,) = [r for r in scene.server.requests if r.kind == "list" and "gpu-op" in r.path]
    assert listed.query["labelSelector"] == "app=nvidia-dcgm-exporter"
    scene.cluster._caches.exporters[0].confirmed_at = 1.0
    assert scene.cluster.cluster_at == AT


async def test_the_age_is_that_of_the_oldest_cache(begin: Begin):
    scene = await begin(fleet("llama"), deployment("llama"), node("n"))
    assert scene.observe().cluster_at == AT
    scene.at = AT + 10
    scene.held.put(node("n", labels=SPOT))
    await scene.until(lambda: scene.cluster._caches.nodes.confirmed_at == AT + 10)
    assert scene.observe().cluster_at == AT


async def test_a_namespace_that_refuses_is_left_out_once_it_is_too_old(begin: Begin):
    """What was read a moment ago still counts; then its models go, and the others are not blind."""
    both = FleetSpec(models=(model("llama"), model("qwen", "spot", namespace="b", name="qwen")))
    items = (deployment("llama"), deployment("qwen", namespace="b"), node("n"))
    scene = await begin(both, *items, timing=Timing(backoff_s_max=0.5))
    assert len(scene.observe().models) == 2
    scene.held.refuse("/namespaces/b/deployments", FORBIDDEN)
    await scene.until(lambda: "list deployments b" in "".join(scene.cluster.problems()))
    assert len(scene.observe().models) == 2
    assert scene.cluster.refusals() == {}
    scene.at = AT + 31
    scene.held.bookmark()
    await scene.until(lambda: scene.cluster.cluster_at == AT + 31)
    assert [seen.model for seen in scene.observe().models] == ["serving/llama"]
    (right,) = scene.cluster.refusals().values()
    assert "lacks the verb `list` on `deployments`" in right
    scene.held.answer_again()
    await scene.until(lambda: scene.cluster.refusals() == {})
    assert [seen.model for seen in scene.observe().models] == ["serving/llama", "b/qwen"]


async def test_where_every_namespace_refuses_the_whole_is_blind(begin: Begin):
    """A daemon that may read no model at all is not one that has nothing to do."""
    scene = await begin(fleet("llama"), deployment("llama"), node("n"))
    scene.held.refuse("/deployments", FORBIDDEN)
    await scene.until(lambda: bool(scene.cluster.problems()))
    scene.at = AT + 31
    assert scene.cluster.refusals() == {}
    assert scene.observe().cluster_at == AT
    assert len(scene.observe().models) == 1


async def test_other_failures_of_a_namespace_are_blindness_of_all(begin: Begin):
    """An API server that answers nonsense for one of them may be wrong about any."""
    both = FleetSpec(models=(model("llama"), model("qwen", namespace="b", name="qwen")))
    scene = await begin(both, deployment("llama"), node("n"))
    scene.held.refuse("/namespaces/b/deployments", page(502))
    await scene.until(lambda: len(scene.cluster.problems()) == 1)
    scene.at = AT + 31
    scene.held.bookmark()
    await scene.until(lambda: scene.cluster._caches.nodes.confirmed_at == AT + 31)
    assert scene.cluster.refusals() == {}
    assert len(scene.observe().models) == 2
    assert scene.observe().cluster_at == AT


async def test_a_cache_that_may_not_be_read_is_blindness_with_a_reason(
    server: ScriptedServer, client: Client
):
    server.always["list"] = refuse(403, "Forbidden", "nodes is forbidden")
    cluster = Cluster(client, fleet("llama"), now=lambda: AT, age_s_max=AGE_S_MAX)
    running = asyncio.create_task(cluster.run())
    async with asyncio.timeout(60):
        while len(cluster.problems()) < 4:
            await asyncio.sleep(0.001)
    assert cluster.cluster_at == 0.0
    assert any("lacks the verb `list` on `nodes`" in problem for problem in cluster.problems())
    assert cluster.failures_total >= 4
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
