"""Interruptions are read off a cluster that is watched: the fixtures of `tests/kube`."""

from __future__ import annotations

from tests.kube.conftest import begin, client, server

__all__ = ["begin", "client", "server"]
