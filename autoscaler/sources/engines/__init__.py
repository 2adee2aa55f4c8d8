"""Where signals come from: serving engines' pages, DCGM's, and Prometheus.

Adding an engine is one file and one line in SOURCES; `tests/sources/test_conformance.py` then tests it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autoscaler.sources.engines import ray_serve, sglang, tgi, vllm
from autoscaler.sources.pages.signals import EngineSource

SOURCES: Mapping[str, EngineSource] = MappingProxyType(
    {
        "VLLM": vllm.SOURCE,
        "TGI": tgi.SOURCE,
        "SGLang": sglang.SOURCE,
        "RayServe": ray_serve.SOURCE,
    }
)
"""By the word that `spec.engine` uses."""
