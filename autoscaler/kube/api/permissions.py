"""Every right this room uses, as a literal table: what a role must grant, and nothing more.

Tests compare it with the calls that the code makes, and with the role in `deploy/`. Where exporters are
scraped, `pods` of their namespace are listed and watched too. `autoscaler rehearse` runs with the rights
of whoever calls it (patch and list nodes).
"""

from __future__ import annotations

from dataclasses import dataclass


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


PERMISSIONS: tuple[Permission, ...] = (
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
)
