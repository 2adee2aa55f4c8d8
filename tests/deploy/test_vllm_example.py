"""The vLLM example: pools that land where they should, probes and sums of seconds that add up."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest

from autoscaler.core.contract.state import CapacityType
from autoscaler.kube.capacity import capacity_type
from autoscaler.kube.watch.gpus import gpus_of
from autoscaler.notices.node_marks import DIALECTS
from autoscaler.settings import load_config, metrics_settings, to_core
from tests.deploy.manifests import (
    DEPLOY,
    Manifest,
    container_of,
    of_kind,
    one,
    option,
    pod_of,
    render,
)

POOLS = {"on-demand": CapacityType.ON_DEMAND, "spot": CapacityType.SPOT}
TEARDOWN_S = 10.0
"""Of vLLM after its last request: 8 s were measured."""

pools = pytest.mark.parametrize("pool", POOLS)


@pytest.fixture
def example() -> tuple[Manifest, ...]:
    return render(DEPLOY / "examples/vllm")


@pytest.fixture
def deployments(example: tuple[Manifest, ...]) -> dict[str, Manifest]:
    return {pool: one(example, "Deployment", f"qwen3-8b-{pool}") for pool in POOLS}


def drain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drain", DEPLOY / "drain/drain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hook(deployment: Manifest) -> Any:
    """Return the drain hook's settings, read by the hook itself."""
    command = container_of(deployment)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["python3", "/drain/drain.py"]
    return drain().parse(command[2:])


# -- the configuration and the example speak of the same things


def test_the_configuration_in_deploy_base_scales_these_deployments(
    example: tuple[Manifest, ...], deployments: dict[str, Manifest]
):
    (resource,) = load_config(DEPLOY / "base/daemon/config.yaml").resources
    model, metrics = to_core(resource), metrics_settings(resource)
    assert {each["metadata"]["namespace"] for each in of_kind(example, "Deployment")} == {
        model.namespace
    }
    assert {pool.target.name: pool.capacity_type for pool in model.pools} == {
        deployments[pool]["metadata"]["name"]: capacity for pool, capacity in POOLS.items()
    }
    for deployment in deployments.values():
        container = container_of(deployment)
        assert {port["containerPort"] for port in container["ports"]} == set(metrics.ports)
        assert {option(container["args"], "port")} == {str(port) for port in metrics.ports}
        assert gpus_of(pod_of(deployment)) == 1
        # A replica is full at its target before its engine refuses to run more.
        assert model.targets.in_flight_requests < int(option(container["args"], "max-num-seqs"))
        startup = container["startupProbe"]
        assert (
            startup["periodSeconds"] * startup["failureThreshold"] >= 3 * model.cold_start_prior_s
        )


def test_both_pools_stand_behind_one_service_and_are_told_apart(
    example: tuple[Manifest, ...], deployments: dict[str, Manifest]
):
    (service,) = of_kind(example, "Service")
    selectors = []
    for deployment in deployments.values():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        selectors.append(deployment["spec"]["selector"]["matchLabels"])
        assert selectors[-1].items() <= labels.items()
    assert selectors[0] != selectors[1]


@pools
def test_applying_it_again_does_not_undo_what_was_scaled(
    deployments: dict[str, Manifest], pool: str
):
    assert "replicas" not in deployments[pool]["spec"]


# -- where pods land

SPOT_NODES = [
    {"karpenter.sh/capacity-type": "spot"},
    {"eks.amazonaws.com/capacityType": "SPOT"},
    {"cloud.google.com/gke-spot": "true"},
    {"cloud.google.com/gke-preemptible": "true"},
    {"kubernetes.azure.com/scalesetpriority": "spot"},
]
ON_DEMAND_NODES = [
    {"karpenter.sh/capacity-type": "on-demand"},
    {"eks.amazonaws.com/capacityType": "ON_DEMAND"},
    {"cloud.google.com/gke-provisioning": "standard"},
    {"kubernetes.azure.com/scalesetpriority": "regular"},
]


def lands_on(deployment: Manifest, node: dict[str, str]) -> bool:
    """Match required node affinity as the scheduler does: any term, all of its expressions."""
    required = pod_of(deployment)["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    return any(
        all(_holds(expression, node) for expression in term["matchExpressions"])
        for term in required["nodeSelectorTerms"]
    )


def _holds(expression: dict[str, Any], node: dict[str, str]) -> bool:
    within = node.get(expression["key"]) in expression["values"]
    if expression["operator"] == "In":
        return within
    assert expression["operator"] == "NotIn"
    return not within


@pytest.mark.parametrize("node", [*SPOT_NODES, *ON_DEMAND_NODES])
@pools
def test_each_pool_lands_on_the_nodes_that_we_count_as_its_own(
    deployments: dict[str, Manifest], pool: str, node: dict[str, str]
):
    known = capacity_type(node, [])
    assert known is not None
    assert lands_on(deployments[pool], node) == (known is POOLS[pool])


def test_a_node_without_a_mark_takes_on_demand_replicas_only(deployments: dict[str, Manifest]):
    assert lands_on(deployments["on-demand"], {"kubernetes.io/os": "linux"})
    assert not lands_on(deployments["spot"], {"kubernetes.io/os": "linux"})


def tolerates(deployment: Manifest, taint: dict[str, str]) -> bool:
    return any(
        each.get("key", taint["key"]) == taint["key"]
        and (each["operator"] == "Exists" or each.get("value", "") == taint["value"])
        and each.get("effect", taint["effect"]) == taint["effect"]
        for each in pod_of(deployment)["tolerations"]
    )


@pools
def test_gpu_nodes_are_tolerated_and_spot_taints_by_spot_alone(
    deployments: dict[str, Manifest], pool: str
):
    gpu = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert tolerates(deployments[pool], gpu)
    for key, value in (
        ("cloud.google.com/gke-spot", "true"),
        ("kubernetes.azure.com/scalesetpriority", "spot"),
    ):
        taint = {"key": key, "value": value, "effect": "NoSchedule"}
        assert tolerates(deployments[pool], taint) == (pool == "spot")


@pools
def test_no_node_that_is_being_taken_away_is_tolerated(deployments: dict[str, Manifest], pool: str):
    taints = {dialect.taint: dialect.taint_value for dialect in DIALECTS if dialect.taint}
    assert taints
    for key, value in taints.items():
        for effect in ("NoSchedule", "NoExecute"):
            taint = {"key": key, "value": value or "x", "effect": effect}
            assert not tolerates(deployments[pool], taint), key


# -- seconds


@pools
def test_grace_pays_for_the_hook_the_engine_s_own_drain_and_its_teardown(
    deployments: dict[str, Manifest], pool: str
):
    deployment = deployments[pool]
    shutdown_s = float(option(container_of(deployment)["args"], "shutdown-timeout"))
    assert shutdown_s > 0  # 0, the default, aborts what is in flight
    settings = hook(deployment)
    needed_s = settings.budget + shutdown_s + TEARDOWN_S
    assert pod_of(deployment)["terminationGracePeriodSeconds"] > needed_s
    assert settings.budget > settings.endpoint_delay + settings.period * settings.polls


def test_on_spot_all_of_it_fits_into_what_a_notice_of_aws_leaves(deployments: dict[str, Manifest]):
    (resource,) = load_config(DEPLOY / "base/daemon/config.yaml").resources
    seen_s = (
        10.0  # until the node is marked and the next tick: an observation, a cordon, an eviction
    )
    left_s = 120.0 - seen_s - to_core(resource).spot.drain_margin_s
    assert pod_of(deployments["spot"])["terminationGracePeriodSeconds"] <= left_s


@pools
def test_the_hook_is_mounted_where_it_is_called_and_asks_the_engine_s_port(
    example: tuple[Manifest, ...], deployments: dict[str, Manifest], pool: str
):
    deployment = deployments[pool]
    container = container_of(deployment)
    (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == "/drain")
    (volume,) = (each for each in pod_of(deployment)["volumes"] if each["name"] == mount["name"])
    assert "drain.py" in one(example, "ConfigMap", volume["configMap"]["name"])["data"]
    assert hook(deployment).ports == [int(option(container["args"], "port"))]


# -- probes


@pools
def test_a_closed_port_while_loading_is_waited_for_and_a_busy_engine_is_not_killed(
    deployments: dict[str, Manifest], pool: str
):
    container = container_of(deployments[pool])
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["httpGet"] == {"path": "/health", "port": "http"}
        # A fixed delay would be too short for a cold image and too long for a warm one.
        assert "initialDelaySeconds" not in container[name]
        assert (
            container[name]["timeoutSeconds"] >= 5
        )  # 0.3 s at worst, on a machine that was shared
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60


@pools
def test_the_engine_is_not_configured_by_the_services_beside_it(
    deployments: dict[str, Manifest], pool: str
):
    # A Service called `vllm` would set VLLM_PORT=tcp://..., which vLLM takes for its own setting.
    pod = pod_of(deployments[pool])
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False


@pools
def test_weights_come_from_a_cache_that_all_nodes_share_and_no_replica_can_write(
    example: tuple[Manifest, ...], deployments: dict[str, Manifest], pool: str
):
    (claim,) = of_kind(example, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    pod = pod_of(deployments[pool])
    (volume,) = (each for each in pod["volumes"] if "persistentVolumeClaim" in each)
    assert volume["persistentVolumeClaim"] == {
        "claimName": claim["metadata"]["name"],
        "readOnly": True,
    }
    container = container_of(deployments[pool])
    for each in (container, *pod["initContainers"]):
        (mount,) = (found for found in each["volumeMounts"] if found["name"] == volume["name"])
        assert mount["readOnly"] is True
    model = option(container["args"], "model")
    assert model.startswith(mount["mountPath"] + "/")
    # what a replica writes is its own
    (own,) = (each for each in container["volumeMounts"] if each["name"] == "cache")
    assert {"name": "cache", "emptyDir": {}} in pod["volumes"]
    places = {each["name"]: each["value"] for each in container["env"]}
    for variable in ("HF_HOME", "VLLM_CACHE_ROOT"):
        assert places[variable].startswith(own["mountPath"] + "/")


def test_one_job_fills_the_cache_and_says_when_it_is_whole(
    example: tuple[Manifest, ...], deployments: dict[str, Manifest]
):
    (job,) = of_kind(example, "Job")
    (fetch,) = pod_of(job)["containers"]
    (mount,) = fetch["volumeMounts"]
    assert "readOnly" not in mount
    (script,) = fetch["args"]
    model = option(container_of(deployments["spot"])["args"], "model")
    assert f"--local-dir {model}\n" in script
    assert script.rstrip().endswith(f"touch {model}/.complete")
    (weights,) = pod_of(deployments["spot"])["initContainers"]
    assert f"until test -e {model}/.complete;" in weights["command"][2]


@pools
def test_its_metrics_are_found_by_annotation(deployments: dict[str, Manifest], pool: str):
    annotations = deployments[pool]["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8000",
        "prometheus.io/path": "/metrics",
    }
