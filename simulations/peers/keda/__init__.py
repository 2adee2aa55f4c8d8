"""KEDA around an HPA: what its adapter answers, and when its own loop writes.

Written from KEDA's documented behaviour and proved on recordings of v2.21.0
(`python -m simulations.peers.conformance keda`).
"""
