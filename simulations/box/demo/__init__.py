"""`autoscaler demo`: the real daemon on a cluster in a box, under load, while a spot node is reclaimed.

Everything runs on loopback as processes of this machine, and nothing of it outlives the demo.
"""

from simulations.box.demo.run import run_demo

__all__ = ["run_demo"]
