"""A stand-in for NVIDIA's dcgm-exporter on nodes without GPUs: its page, with memory that follows the pods.

One process a node, as the DaemonSet has it. It asks the API server for the pods of its node: what the kubelet
tells a real one. A pod holds as many cards as it asks for; while its container loads their memory climbs, once
it is ready it stands, and when the pod is gone the cards are empty. `POST /fault` gives cards an error.
"""
