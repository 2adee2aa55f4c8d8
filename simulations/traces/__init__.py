"""Recorded and generated requests: readers by format, overlays, and a seeded generator.

One file and one line in `registry.TRACES` make a format.
"""
