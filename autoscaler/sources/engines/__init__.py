"""The serving engines that can be read: one file an engine, and one line in SOURCES.

`tests/sources/test_conformance.py` tests each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autoscaler.sources.engines import ray_serve, sglang, tgi, vllm
from autoscaler.sources.pages.signals import EngineSource

SOURCES: Mapping[str, EngineSource] = MappingProxyType(
    {each.engine: each for each in (vllm.SOURCE, tgi.SOURCE, sglang.SOURCE, ray_serve.SOURCE)}
)
"""By the word that `spec.engine` uses."""
