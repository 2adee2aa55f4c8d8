"""GPUs that one pod of a template holds, by the names that device plugins give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_GPU = re.compile(
    r"""
    ^(?: [a-z0-9.-]+ / (?: gpu | [a-z0-9.-]* gpu [a-z0-9.-]* )   # nvidia.com/gpu, amd.com/gpu, .shared
      |  nvidia\.com / mig - [0-9a-z.+-]+                        # nvidia.com/mig-1g.10gb
      |  gpu\.intel\.com / (?: i915 | xe )
      |  habana\.ai / gaudi
    )$
    """,
    re.VERBOSE,
)
"""Extended resources of which one unit is one schedulable GPU (or one slice sold as one)."""
_NOT_GPUS = re.compile(r"gpumem|gpu-mem|gpucores|gpu-core|memory|percentage")
"""Shares of a GPU that some device plugins count in MiB or per cent beside the GPU itself."""


def gpus_of(pod_spec: Mapping[str, Any]) -> int | None:
    """GPUs one pod holds; 0: it asks for none; None: a resource claim asks, and does not say here.

    As the scheduler counts: the containers and the sidecars together, or the largest init container
    if that is more.
    """
    if pod_spec.get("resourceClaims"):
        return None
    running = sum(_gpus_requested(container) for container in pod_spec.get("containers") or ())
    largest = 0
    for container in pod_spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            running += _gpus_requested(container)
        else:
            largest = max(largest, _gpus_requested(container))
    return max(running, largest)


def _gpus_requested(container: Mapping[str, Any]) -> int:
    resources = container.get("resources") or {}
    amounts = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return sum(_whole_number(amounts[name]) for name in gpu_names(amounts))


def gpu_names(names: Iterable[str]) -> list[str]:
    """Those of the resource names that count GPUs."""
    return [name for name in names if _GPU.match(name) and not _NOT_GPUS.search(name)]


def _whole_number(amount: object) -> int:
    """An amount of an extended resource, which is a whole number; `2k`, though legal, is taken as 0."""
    text = str(amount)
    return int(text) if text.isdigit() else 0
