"""`autoscaler node-agent`: what a spot node's own metadata service says, written on its own Node.

A pod on every spot node, so it must be small: standard library alone, threads that wait, under 30 MB and
1 % of a core (`tests/benchmarks/agent.py`). It imports nothing else of the project but the version, and
nothing else imports it but the command line. It reads one Node and writes one annotation of it; it drains
nothing and decides nothing.
"""
