"""Every right this room uses, as a literal table: what a role must grant, and nothing more.

Tests compare it with the calls that the code makes, and with the role in `deploy/`. Where exporters are
scraped, `pods` of their namespace are listed and watched too. `autoscaler rehearse` runs with the rights
of whoever calls it (patch and list nodes), and so do `autoscaler check --targets CLUSTER` (get
deployments, list pods and poddisruptionbudgets) and `autoscaler init` (these, and list deployments, services, events
and our resources). `autoscaler uninstall` lists and patches nodes, deployments and pods, and deletes the Lease.
"""

from __future__ import annotations

from dataclasses import dataclass

OWN_NAMESPACE = "inference-autoscaler"
"""Where `deploy/` puts the daemon itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One rule of RBAC."""

    group: str
    """API group; empty for the core one."""
    resource: str
    """Plural, with its subresource where it is one."""
    verbs: tuple[str, ...]
    namespaced: bool
    """Whether a Role in the namespaces of the models suffices; else it takes a ClusterRole."""
    why: str
    namespace: str = ""
    """The only namespace in which it is needed; empty: those of the models."""
    name: str = ""
    """The only object that it is needed for; empty: any. RBAC cannot hold `create` to a name."""


PERMISSIONS: tuple[Permission, ...] = (
    Permission(
        group="",
        resource="configmaps",
        verbs=("create",),
        namespaced=True,
        why="what was learnt of models, where nothing is kept yet",
        namespace=OWN_NAMESPACE,
    ),
    *(
        Permission(
            group="",
            resource="configmaps",
            verbs=("get", "update"),
            namespaced=True,
            why="what was learnt of models, for the daemon after this one",
            namespace=OWN_NAMESPACE,
            name=f"inference-autoscaler-knowledge-{number}",
        )
        for number in range(4)
    ),
    Permission(
        group="",
        resource="events",
        verbs=("list", "watch"),
        namespaced=True,
        why="notices that clouds and their agents write as Events about Nodes; optional",
        namespace="default",
    ),
    Permission(
        group="",
        resource="nodes",
        verbs=("get", "list", "patch", "watch"),
        namespaced=False,
        why="capacity types, notices, cordons",
    ),
    Permission(
        group="",
        resource="pods",
        verbs=("delete", "list", "watch"),
        namespaced=True,
        why="replicas and their addresses; delete where a deadline beats a disruption budget",
    ),
    Permission(
        group="",
        resource="pods/eviction",
        verbs=("create",),
        namespaced=True,
        why="drains of doomed nodes",
    ),
    Permission(
        group="apps",
        resource="deployments",
        verbs=("list", "patch", "watch"),
        namespaced=True,
        why="scale targets; patch writes the fallback annotation",
    ),
    Permission(
        group="apps",
        resource="deployments/scale",
        verbs=("get", "update"),
        namespaced=True,
        why="desired replicas",
    ),
    Permission(
        group="apps",
        resource="replicasets",
        verbs=("list", "watch"),
        namespaced=True,
        why="which Deployment a pod belongs to",
    ),
    Permission(
        group="autoscaling",
        resource="horizontalpodautoscalers",
        verbs=("list", "watch"),
        namespaced=True,
        why="whether an HPA, or KEDA's, scales one of our targets; optional",
    ),
    Permission(
        group="coordination.k8s.io",
        resource="leases",
        verbs=("create",),
        namespaced=True,
        why="the lease, where there is none yet",
        namespace=OWN_NAMESPACE,
    ),
    Permission(
        group="coordination.k8s.io",
        resource="leases",
        verbs=("get", "update"),
        namespaced=True,
        why="which of several daemons acts",
        namespace=OWN_NAMESPACE,
        name="inference-autoscaler",
    ),
    Permission(
        group="karpenter.sh",
        resource="nodeclaims",
        verbs=("list", "watch"),
        namespaced=False,
        why="why Karpenter takes a node away, and by when; optional",
    ),
)

DELETION_COSTS: tuple[Permission, ...] = (
    Permission(
        group="",
        resource="pods",
        verbs=("get", "patch"),
        namespaced=True,
        why="two annotations, that tell a ReplicaSet to delete the replicas with the least in flight",
    ),
)
"""Optional (`deploy/components/deletion-cost`): without them the ReplicaSet chooses."""

RESOURCES: tuple[Permission, ...] = (
    Permission(
        group="",
        resource="events",
        verbs=("create", "patch"),
        namespaced=True,
        why="what happened to a resource; patch counts the same again",
    ),
    Permission(
        group="inference-autoscaler.dev",
        resource="inferenceautoscalers",
        verbs=("list", "watch"),
        namespaced=True,
        why="what is asked for, where it is no file's",
    ),
    Permission(
        group="inference-autoscaler.dev",
        resource="inferenceautoscalers/status",
        verbs=("patch",),
        namespaced=True,
        why="conditions, numbers and the last decision",
    ),
)
"""Optional (`deploy/components/crd`): for `--watch-resources`."""
