"""A first resource as YAML, each line with where it is from, and what is to be said beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from autoscaler.core.contract.state import CapacityType
from autoscaler.foreign_text import listed, shown
from autoscaler.kube.first_resource.draft import REPLICAS_MAX, FirstResource
from autoscaler.kube.first_resource.served import ServedBy
from autoscaler.kube.first_resource.starts import StartsSeen
from autoscaler.settings import EngineType
from autoscaler.settings.resource import API_VERSION, KIND

_PORT = 8000


def resource_text(draft: FirstResource) -> str:
    """Write the document."""
    lines = [
        f"# Written by `autoscaler init` from {shown(draft.origin)}",
        "# What is not here has its default: kubectl explain infas.spec",
        *_yaml({"apiVersion": API_VERSION, "kind": KIND}),
        *_yaml({"metadata": {"name": draft.name, "namespace": draft.namespace}}),
        "spec:",
        *(f"  {line}" for line in _spec(draft)),
    ]
    return "\n".join(lines) + "\n"


def notes_of(draft: FirstResource) -> list[str]:
    """Say what was found and what has to be looked at, a line each."""
    asked = draft.pools[0]
    targets, ports = listed([pool.name for pool in draft.pools]), listed(asked.ports)
    notes = [
        f"found {draft.engine} of {_model_text(asked)} in {targets}; metrics at port {ports} ({asked.ports_from})"
    ]
    for name, pool in zip(draft.pool_names, draft.pools, strict=True):
        gpus = "GPUs cannot be told" if pool.gpus is None else _count(pool.gpus, "GPU")
        notes.append(
            f"pool {name}: {pool.name}, {pool.capacity_type}, {gpus} a replica, "
            f"{_count(pool.replicas, 'replica')} now"
        )
        if pool.name in draft.starts:
            notes.append(f"pool {name}: {_starts_text(draft.starts[pool.name])}")
    if not draft.starts:
        notes.append(
            "how long a start takes is not in a file: it is believed to be 180 s, and learnt"
        )
    if asked.tls:
        notes.append(
            "the page is TLS: write metrics.tls.ca (whom to trust) and serverName, or nothing is read"
        )
    return notes + list(draft.notes)


def _spec(draft: FirstResource) -> Iterator[str]:
    asked = draft.pools[0]
    yield "# mode: Observe, the default, decides and explains and changes nothing. When you agree: mode: Active"
    if draft.engine is not EngineType.VLLM:
        yield from _yaml({"engine": draft.engine.value})
    metrics = _metrics(asked)
    if metrics:
        yield f"# told by {asked.ports_from}"
        yield from _yaml({"metrics": metrics})
    if len(draft.pools) > 1:
        yield '# What a replica costs orders them better than their kind: priceUSDPerHour: "1.86", of each pool'
    yield "pools:"
    for name, pool in zip(draft.pool_names, draft.pools, strict=True):
        gpus = "" if pool.gpus is None else f"{_count(pool.gpus, 'GPU')} a replica, "
        yield f"# {gpus}{_count(pool.replicas, 'replica')} now"
        body: dict[str, Any] = {"name": name, "scaleTargetRef": {"name": pool.name}}
        if pool.capacity_type is not CapacityType.ON_DEMAND:
            body["capacityType"] = pool.capacity_type.value
        yield from _yaml([body])
    if draft.replicas_max > REPLICAS_MAX:
        yield "# twice what there is now"
        yield from _yaml({"maxReplicas": draft.replicas_max})
    if draft.keeps_on_demand:
        yield "# one that no notice of spot takes away"
        yield from _yaml({"warmFloor": {"replicas": 1, "capacityType": "OnDemand"}})
    if draft.cold_start_s is not None:
        for pool in draft.pools:
            if pool.name in draft.starts:
                yield f"# {shown(pool.name)}: {_starts_text(draft.starts[pool.name])}"
        yield from _yaml({"coldStart": {"priorSeconds": draft.cold_start_s}})


def _metrics(asked: ServedBy) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if len(asked.ports) > 1:
        found["ports"] = list(asked.ports)
    elif asked.ports != (_PORT,):
        found["port"] = asked.ports[0]
    if asked.tls:
        found["scheme"] = "HTTPS"
    return found


def _starts_text(seen: StartsSeen) -> str:
    """Say what was measured of the starts of a Deployment."""
    if seen.unread:
        return f"how long its starts took was not read: {shown(seen.unread)}"
    apart = [f"{seen.restarted} restarted and left out"] if seen.restarted else []
    apart += [f"{seen.starting} not ready yet"] if seen.starting else []
    if seen.middle_s is None:
        return f"no start could be measured ({', '.join(apart) or 'no pods'})"
    text = (
        f"{_count(len(seen.starts_s), 'start')} measured, placed to ready: {_span(seen.starts_s)} s"
    )
    if seen.pulls_s:
        text += (
            f", of which the image {_span(seen.pulls_s)} s ({_count(len(seen.pulls_s), 'pull')})"
        )
    if seen.cached:
        text += f"; {seen.cached} had the image on the node: a new node takes longer"
    return text + "".join(f"; {each}" for each in apart)


def _span(seconds: tuple[float, ...]) -> str:
    low, high = f"{seconds[0]:.0f}", f"{seconds[-1]:.0f}"
    return low if low == high else f"{low} to {high}"


def _model_text(served: ServedBy) -> str:
    return shown(served.model[0]) if served.model_told else "a model that is not told"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _yaml(body: Any) -> list[str]:
    text: str = yaml.safe_dump(body, sort_keys=False, default_flow_style=False, width=1_000)
    return text.splitlines()
