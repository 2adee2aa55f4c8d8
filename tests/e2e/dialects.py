"""How clouds and their agents say that a node goes, and what they then do to it themselves.

Each writes what the real one writes, and where it drains, the scene plays that too: then nothing of
ours may evict.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from autoscaler.core.contract.commands import INTERRUPTION_ANNOTATION
from tests.e2e.kubectl import get, kubectl_async
from tests.e2e.nodes import node_object, on

Say: TypeAlias = Callable[[str, float], Awaitable[None]]
"""Called with the node's name and the moment at which the machine is gone, seconds since the epoch."""
Drain: TypeAlias = Callable[[str, str], Awaitable[None]]
"""Called with the node's name and the namespace of the replicas."""


async def _nothing(_node: str) -> None:
    """What goes with the Node object needs no unsaying; most need nothing before it either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One way of saying it."""

    name: str
    source: str
    """As the daemon calls it."""
    kind: str = "Termination"
    lead_s: float
    """From the notice to the end of the machine."""
    prepare: Callable[[str], Awaitable[None]] = _nothing
    """What is there before the notice."""
    say: Say
    unsay: Callable[[str], Awaitable[None]] = _nothing
    """After the end of the machine, what does not go with its Node object."""
    drain: Drain | None = None
    """Who else empties the node; None: we do."""


def stamp(at: float) -> str:
    """RFC 3339, as Kubernetes writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# --- what is written ---------------------------------------------------------------------------


async def annotate(node: str, ends_at: float) -> None:
    """`autoscaler rehearse`, with a machine that really goes."""
    value = f"{INTERRUPTION_ANNOTATION}={stamp(ends_at)}"
    await kubectl_async("annotate", "node", node, value, "--overwrite")


async def withdraw(node: str) -> None:
    """`autoscaler rehearse --cancel`."""
    await kubectl_async("annotate", "node", node, f"{INTERRUPTION_ANNOTATION}-")


def _taint(text: str) -> Say:
    async def say(node: str, _ends_at: float) -> None:
        await kubectl_async("taint", "node", node, text, "--overwrite")

    return say


async def _condition(node: str, condition: Mapping[str, str]) -> None:
    now = stamp(datetime.now(UTC).timestamp())
    whole = {**condition, "lastHeartbeatTime": now, "lastTransitionTime": now}
    patch = json.dumps({"status": {"conditions": [whole]}})
    await kubectl_async(
        "patch", "node", node, "--subresource=status", "--type=strategic", "-p", patch
    )


async def _aks(node: str, ends_at: float) -> None:
    """The node problem detector of AKS, from Azure's scheduled events."""
    moment = datetime.fromtimestamp(ends_at, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    message = (
        f"Preempt Scheduled: {moment}. For more information, see "
        "https://aka.ms/aks/scheduledevents. EventId: " + str(uuid.uuid4())
    )
    await _condition(
        node,
        {
            "type": "PreemptionScheduled",
            "status": "True",
            "reason": "SpotEvictionIncoming",
            "message": message,
        },
    )


async def _kubelet_shuts_down(node: str, _ends_at: float) -> None:
    """The kubelet's graceful shutdown: it says so until the machine is off.

    There is no logind on the mini cluster that could ask it to. So its own word is refused by then
    (`_silence`), and its last one is written for it; it goes on doing all else, hooks included.
    """
    await _condition(
        node,
        {
            "type": "Ready",
            "status": "False",
            "reason": "KubeletNotReady",
            "message": "node is shutting down",
        },
    )


def _refusal_of_status(node: str) -> str:
    name = f"silence-{node}"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": ["nodes/status"],
    }
    user = f"request.userInfo.username != 'system:node:{node}'"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": user, "message": "it shuts down"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, binding]})


async def _silence(node: str) -> None:
    await kubectl_async("apply", "-f", "-", stdin=_refusal_of_status(node))
    await asyncio.sleep(5)  # a policy is in force some moments after it was written


async def _listen_again(node: str) -> None:
    await kubectl_async("delete", "-f", "-", stdin=_refusal_of_status(node), check=False)
    await asyncio.sleep(5)


# --- Karpenter ---------------------------------------------------------------------------------

CLAIM_FINALIZER = "karpenter.sh/termination"


async def karpenter_event(
    node: str, *, reason: str, message: str, severity: str = "Warning"
) -> None:
    """An Event about a Node, as Karpenter's recorder writes it."""
    found = await node_object(node)
    assert found is not None, f"there is no node {node}"
    now = stamp(datetime.now(UTC).timestamp())
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{node}.{uuid.uuid4().hex[:16]}", "namespace": "default"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Node",
            "name": node,
            "uid": found["metadata"]["uid"],
        },
        "reason": reason,
        "message": message,
        "type": severity,
        "source": {"component": "karpenter"},
        "reportingComponent": "karpenter",
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    await kubectl_async("create", "-f", "-", stdin=json.dumps(event))


async def _spot_interrupted(node: str, _ends_at: float) -> None:
    await karpenter_event(
        node, reason="SpotInterrupted", message="Spot interruption warning was received"
    )
    await karpenter_event(
        node,
        reason="TerminatingOnInterruption",
        message="Interruption triggered termination for the NodeClaim",
    )


def claim_of(node: str) -> str:
    """The name of a node's NodeClaim."""
    return f"spot-{node}"


async def make_claim(node: str, *, grace: str = "") -> None:
    """The NodeClaim that Karpenter would have made the node with.

    `grace` is its terminationGracePeriod, as Go writes durations: then Karpenter deletes by force what is
    left at its end.
    """
    spec: dict[str, Any] = {"expireAfter": "720h"}
    if grace:
        spec["terminationGracePeriod"] = grace
    claim = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": claim_of(node),
            "labels": {"karpenter.sh/capacity-type": "spot"},
            "finalizers": [CLAIM_FINALIZER],
        },
        "spec": spec,
    }
    await kubectl_async("create", "-f", "-", stdin=json.dumps(claim))
    status = json.dumps({"status": {"nodeName": node, "providerID": f"aws:///zone/{node}"}})
    await kubectl_async(
        "patch",
        "nodeclaim",
        claim_of(node),
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    )


async def _claim_with_grace(node: str) -> None:
    await make_claim(node, grace="1m0s")


async def delete_claim(node: str, _ends_at: float = 0.0) -> None:
    """It stays until its finalizer goes, as long as the drain lasts."""
    await kubectl_async("delete", "nodeclaim", claim_of(node), "--wait=false")


async def finish_claim(node: str) -> None:
    """The instance is gone: Karpenter lets the NodeClaim go."""
    patch = json.dumps({"metadata": {"finalizers": None}})
    await kubectl_async(
        "patch", "nodeclaim", claim_of(node), "--type=merge", "-p", patch, check=False
    )
    await kubectl_async("delete", "nodeclaim", claim_of(node), "--ignore-not-found")


async def disrupted_for(node: str, reason: str) -> None:
    """Karpenter's word for why, before it deletes: `Underutilized`, `Drifted`, `Empty`."""
    now = stamp(datetime.now(UTC).timestamp())
    condition = {
        "type": "DisruptionReason",
        "status": "True",
        "reason": reason,
        "message": reason,
        "lastTransitionTime": now,
    }
    status = json.dumps({"status": {"conditions": [condition]}})
    await kubectl_async(
        "patch",
        "nodeclaim",
        claim_of(node),
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    )


taint_disrupted = _taint("karpenter.sh/disrupted:NoSchedule")
"""What Karpenter sets first, whatever its reason."""


async def evict_all(node: str, namespace: str) -> None:
    """Evict what is on a node through the API, as Karpenter does: with no grace of its own."""
    for pod in on(node, await get("pods", namespace=namespace)):
        if "deletionTimestamp" in pod["metadata"]:
            continue
        name = pod["metadata"]["name"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
        await kubectl_async("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


async def _karpenter_drains(node: str, namespace: str) -> None:
    await taint_disrupted(node, 0.0)
    await evict_all(node, namespace)


async def _handler_drains(node: str, namespace: str) -> None:
    """The node termination handler drains with kubectl's own library: cordon, then evict, at once."""
    await kubectl_async("cordon", node)
    await evict_all(node, namespace)


async def _unmarked(_node: str, _ends_at: float) -> None:
    """As its chart ships it, the handler leaves no mark: `taintNode` and its Events are off."""


KARPENTER_EVENT = Dialect(
    name="karpenter-event",
    source="karpenter",
    lead_s=120.0,
    say=_spot_interrupted,
    drain=_karpenter_drains,
)
KARPENTER_CLAIM = Dialect(
    name="karpenter-claim",
    source="karpenter",
    lead_s=60.0,
    prepare=_claim_with_grace,
    say=delete_claim,
    unsay=finish_claim,
    drain=_karpenter_drains,
)
HANDLER_TAINT = Dialect(
    name="handler-taint",
    source="aws-node-termination-handler",
    lead_s=120.0,
    say=_taint("aws-node-termination-handler/spot-itn=spot-itn-7d1a:NoSchedule"),
)
HANDLER_DEFAULT = Dialect(
    name="handler-default",
    source="drain",
    kind="Disruption",
    lead_s=60.0,
    say=_unmarked,
    drain=_handler_drains,
)
REHEARSAL = Dialect(name="rehearsal", source="rehearsal", lead_s=60.0, say=annotate)
GKE = Dialect(
    name="gke",
    source="gke",
    lead_s=30.0,
    say=_taint("cloud.google.com/impending-node-termination=:NoSchedule"),
)
AKS = Dialect(name="aks", source="aks", lead_s=40.0, say=_aks)
KUBELET = Dialect(
    name="kubelet",
    source="kubelet",
    lead_s=30.0,
    prepare=_silence,
    say=_kubelet_shuts_down,
    unsay=_listen_again,
)
