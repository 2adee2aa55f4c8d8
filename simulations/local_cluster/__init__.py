"""A cluster in a box: a small API server on loopback whose pods are real processes.

For the edge tests and `autoscaler demo`. It speaks enough of the API server's HTTP that
kubernetes_asyncio and kubectl cannot tell it from one in what they do here; it is no conformance
test, and what it leaves out is listed in `simulations/README.md`.
"""

from simulations.local_cluster.cluster import LocalCluster
from simulations.local_cluster.faults import Fault, FaultKind
from simulations.local_cluster.nodes import Delays, Dialect, Machine

__all__ = ["Delays", "Dialect", "Fault", "FaultKind", "LocalCluster", "Machine"]
