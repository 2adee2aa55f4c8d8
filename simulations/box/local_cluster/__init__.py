"""A cluster in a box: a small API server on loopback whose pods are real processes.

For the edge tests and `autoscaler demo`. It speaks enough of the API server's HTTP that
kubernetes_asyncio and kubectl cannot tell it from one in what they do here (get, watch, apply, scale,
label, taint, cordon, drain, delete); a test tells the same story to it and to a real API server and
compares the answers.

What it leaves out: authentication, roles and admission; server-side apply, JSON patches and dry runs;
lists in pages; updates of whole objects, and `status` paths but of pods; custom resources; most defaults and
validation. A pod's first container is run, without its image; ConfigMaps are its only volumes; all pods
share this machine's network, each with an address of its own in 127.0.0.0/8. Deployments and ReplicaSets
are the only workloads, and a new template replaces all pods at once.
"""

from simulations.box.local_cluster.api.faults import ApiFault, ApiFaultKind
from simulations.box.local_cluster.cluster import LocalCluster
from simulations.box.local_cluster.machines.nodes import ClusterDelays, Machine

__all__ = ["ApiFault", "ApiFaultKind", "ClusterDelays", "LocalCluster", "Machine"]
