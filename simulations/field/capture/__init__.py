"""A trace out of a user's own Prometheus: what vLLM counted becomes requests that can be replayed.

Reads only; writes two files. Everything that Prometheus does not know stays unknown: a hole is
marked, never filled.
"""
