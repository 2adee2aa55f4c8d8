"""What the Deployment itself says of the model: its engine, its page, on what it lands, how long it takes to start."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from autoscaler.core.contract.state import CapacityType
from autoscaler.kube.api.fields import UnreadableError
from autoscaler.kube.api.plain import Plain, part, parts, text, whole
from autoscaler.kube.soundness.template import TemplateFacts, template_facts
from autoscaler.kube.watch.gpus import gpus_of

_INDEX = re.compile(r"\[(\d+)\]$")
_PORT_NAMES = ("http", "metrics", "http-metrics", "api", "vllm")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """Of one scale target."""

    engine: str
    """A word of `spec.engine`; empty: it cannot be told."""
    ports: tuple[int, ...]
    """Of the engine's pages; empty: they cannot be told."""
    tls: bool
    capacity_type: CapacityType | None
    """None: nothing in it speaks of capacity."""
    gpus: int | None
    """Of one replica; None: unknown."""
    cold_start_s: float | None
    """Middle of what its replicas took; None: not measured."""
    origin: str
    """Where it was read, for notes."""


def target_facts(item: Plain, *, cold_start_s: float | None, origin: str) -> TargetFacts:
    """Read a Deployment."""
    facts = template_facts(item)
    pod = part(item, "spec", "template", "spec")
    try:
        gpus = gpus_of(dict(pod))
    except UnreadableError:
        gpus = None
    known = cold_start_s is not None and math.isfinite(cold_start_s)
    return TargetFacts(
        engine=facts.engine,
        ports=facts.ports or _ports_declared(pod, facts),
        tls=facts.tls,
        capacity_type=_capacity_type(facts),
        gpus=gpus,
        cold_start_s=cold_start_s if known else None,
        origin=origin,
    )


def _ports_declared(pod: Plain, facts: TemplateFacts) -> tuple[int, ...]:
    """Return the port that the engine's container declares, where it is clear which one is meant."""
    match = _INDEX.search(facts.container)
    containers = parts(pod, "containers")
    index = int(match[1]) if match else 0
    if index >= len(containers):
        return ()
    declared = parts(containers[index], "ports")
    named = [each for each in declared if text(each, "name") in _PORT_NAMES]
    chosen = named or declared
    port = whole(chosen[0], "containerPort") if len(chosen) == 1 else None
    return (port,) if port else ()


def _capacity_type(facts: TemplateFacts) -> CapacityType | None:
    landing = facts.landing
    if landing.spot_all or not (landing.spot or landing.on_demand):
        return None
    if not landing.spot:
        return CapacityType.ON_DEMAND
    return CapacityType.MIXED if landing.on_demand else CapacityType.SPOT
