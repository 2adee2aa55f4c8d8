"""The HorizontalPodAutoscaler as Kubernetes computes it: quantities, metrics, one sync.

Written from the controller's documented behaviour and proved on its recorded decisions
(`python -m simulations.peers.conformance hpa`). Stabilization and rate limits are those of the production
core, which obeys an explicit `behavior` exactly as HPA does.
"""
