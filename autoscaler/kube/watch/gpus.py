"""GPUs that one pod of a template holds, by the names that device plugins give them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from autoscaler.kube.api.fields import Json, mapping, mappings, text

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
_AMOUNT_MAX = 999_999
_NOT_GPUS = re.compile(r"gpumem|gpu-mem|gpucores|gpu-core|memory|percentage")
"""Shares of a GPU that some device plugins count in MiB or per cent beside the GPU itself."""


def gpus_of(pod_spec: Json) -> int | None:
    """GPUs one pod holds; 0: it asks for none; None: it cannot be told from the template.

    As the scheduler counts: the containers and the sidecars together, or the largest init container
    if that is more. A resource claim asks for devices and does not say here for how many; an amount
    that is no whole number (`2k` is legal) is not guessed.

    Raises:
        UnreadableError: A part of it is of another type than the API gives it.
    """
    if pod_spec.get("resourceClaims"):
        return None
    running = [_gpus_requested(container) for container in mappings(pod_spec, "containers")]
    starting: list[int | None] = []
    for container in mappings(pod_spec, "initContainers"):
        sidecar = text(container, "restartPolicy") == "Always"
        (running if sidecar else starting).append(_gpus_requested(container))
    known = [count for count in running if count is not None]
    alone = [count for count in starting if count is not None]
    if len(known) < len(running) or len(alone) < len(starting):
        return None
    return max(sum(known), *alone, 0)


def _gpus_requested(container: Json) -> int | None:
    resources = mapping(container, "resources")
    amounts = {**mapping(resources, "requests"), **mapping(resources, "limits")}
    counts = [_whole_number(amounts[name]) for name in gpu_names(amounts)]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def gpu_names(names: Iterable[str]) -> list[str]:
    """Those of the resource names that count GPUs."""
    return [name for name in names if _GPU.match(name) and not _NOT_GPUS.search(name)]


def _whole_number(amount: object) -> int | None:
    """An amount of an extended resource, which is a whole number; None: it is not written as one."""
    if isinstance(amount, int) and not isinstance(amount, bool):
        return amount if 0 <= amount <= _AMOUNT_MAX else None
    found = amount if isinstance(amount, str) else ""
    return int(found) if re.fullmatch(r"[0-9]{1,6}", found) else None
