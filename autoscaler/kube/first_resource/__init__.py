"""A first resource for a Deployment that is there: what it says itself, what stands beside it, how long it takes.

Only what differs from the defaults is written; each line says where it is from. Nothing here writes to a cluster.
"""
