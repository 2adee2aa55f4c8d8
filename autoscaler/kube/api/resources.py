"""The API resources this project touches, and their paths.

A call names a resource and a verb as RBAC does, not a URL: so that what the code does can be compared
with the role that allows it (`permissions.py`), and so that a refusal can name the missing rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from autoscaler.settings.resource import API_VERSION, PLURAL


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResource:
    """One resource of the API."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    namespaced: bool
    metadata_only: bool = False
    """Of lists and watches no more is asked for than the metadata."""

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of one object, or of the collection; no namespace means all of them."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)


NODES = ApiResource(group="", version="v1", plural="nodes", namespaced=False)
PODS = ApiResource(group="", version="v1", plural="pods", namespaced=True)
DEPLOYMENTS = ApiResource(group="apps", version="v1", plural="deployments", namespaced=True)
REPLICA_SETS = ApiResource(
    group="apps", version="v1", plural="replicasets", namespaced=True, metadata_only=True
)
DISRUPTION_BUDGETS = ApiResource(
    group="policy", version="v1", plural="poddisruptionbudgets", namespaced=True
)
"""Read by `autoscaler check --targets CLUSTER` alone, with the rights of whoever calls it."""
HPAS = ApiResource(
    group="autoscaling", version="v2", plural="horizontalpodautoscalers", namespaced=True
)
SCALED_OBJECTS = ApiResource(
    group="keda.sh", version="v1alpha1", plural="scaledobjects", namespaced=True
)
"""KEDA's, where it is installed. Read by commands alone, with the rights of whoever calls them."""
SERVICES = ApiResource(group="", version="v1", plural="services", namespaced=True)
"""Read by `autoscaler init` alone, with the rights of whoever calls it."""
EVENTS = ApiResource(group="", version="v1", plural="events", namespaced=True)
CONFIG_MAPS = ApiResource(group="", version="v1", plural="configmaps", namespaced=True)
"""Ours: in which knowledge is kept, and copies of what a takeover took away."""
LEASES = ApiResource(group="coordination.k8s.io", version="v1", plural="leases", namespaced=True)
NODE_CLAIMS = ApiResource(group="karpenter.sh", version="v1", plural="nodeclaims", namespaced=False)
"""Karpenter's; there only where it is installed."""
INFERENCE_AUTOSCALERS = ApiResource(
    group=API_VERSION.partition("/")[0],
    version=API_VERSION.partition("/")[2],
    plural=PLURAL,
    namespaced=True,
)
"""Ours; there only where `deploy/components/crd` is applied."""

SCALE_TARGETS = {("apps/v1", "Deployment"): DEPLOYMENTS}
"""By apiVersion and kind: what a `scaleTargetRef` may name."""
