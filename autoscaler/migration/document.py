"""The InferenceAutoscaler that asks for what a predecessor asked for, as YAML that says what became of what."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from autoscaler.core.contract.commands import PAUSED_ANNOTATION
from autoscaler.core.contract.state import CapacityType
from autoscaler.foreign_text import shown
from autoscaler.migration.amounts import amount_text
from autoscaler.migration.metrics import ATTAINMENT, IN_FLIGHT
from autoscaler.migration.predecessor import Equivalence, Note, Predecessor
from autoscaler.migration.target_facts import TargetFacts
from autoscaler.settings.resource import API_VERSION, KIND

_POOLS = {
    CapacityType.ON_DEMAND: "on-demand",
    CapacityType.SPOT: "spot",
    CapacityType.MIXED: "mixed",
}
_PORT = 8000
_COLD_START_S = (1, 7_200)
_SCHEDULES_MAX = 32
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def document_of(
    predecessor: Predecessor, facts: TargetFacts | None, *, namespace: str = ""
) -> dict[str, Any]:
    """Return the document; what had to be assumed is added to the predecessor's notes.

    Args:
        predecessor: As it was read.
        facts: Of its Deployment; None: it was not read.
        namespace: In place of the predecessor's own; empty: that.
    """
    metadata: dict[str, Any] = {"name": predecessor.target}
    where = namespace or predecessor.namespace
    if _LABEL.fullmatch(where):
        metadata["namespace"] = where
    else:
        predecessor.change("metadata.namespace", where or None, "not given: default")
    if predecessor.paused:
        metadata["annotations"] = {PAUSED_ANNOTATION: predecessor.paused}
    spec: dict[str, Any] = {
        "engine": _engine(predecessor, facts),
        "mode": "Observe",
        "metrics": _metrics(predecessor, facts),
        "pools": [_pool(predecessor, facts)],
        "minReplicas": predecessor.min_replicas,
        "maxReplicas": predecessor.max_replicas,
    }
    if predecessor.schedules:
        spec["warmFloor"] = {"schedules": predecessor.schedules[:_SCHEDULES_MAX]}
    if predecessor.objective:
        spec["objective"] = _objective(predecessor)
    targets = _targets(predecessor)
    if targets:
        spec["targets"] = targets
    if facts is not None and facts.cold_start_s is not None:
        low, high = _COLD_START_S
        seconds = min(max(math.ceil(facts.cold_start_s), low), high)
        spec["coldStart"] = {"priorSeconds": seconds}
        predecessor.keep(
            "Deployment", facts.origin, f"coldStart.priorSeconds: {seconds}, as its replicas took"
        )
    if predecessor.behavior:
        spec["behavior"] = predecessor.behavior
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def yaml_text(predecessor: Predecessor, document: dict[str, Any]) -> str:
    """Write the document, with a comment for each field of the predecessor."""
    head = [
        f"# Made by `autoscaler import` from the {predecessor.kind} {_source_name(predecessor)}.",
        "# It decides, explains and writes nothing: mode is Observe.",
        *(f"# - {note}" for note in ordered_notes(predecessor)),
    ]
    written = yaml.dump(
        document,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )
    return "\n".join((*head, written))


class _Dumper(yaml.SafeDumper):
    """Texts that begin with a digit are quoted: a time of day is a number to some who read YAML."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if text[:1].isdigit() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def ordered_notes(predecessor: Predecessor) -> list[Note]:
    """Return what somebody may have to see to before what is as it was."""
    order = (Equivalence.NONE, Equivalence.CHANGED, Equivalence.KEPT)
    return sorted(predecessor.notes, key=lambda note: order.index(note.equivalence))


def _source_name(predecessor: Predecessor) -> str:
    names = [each for each in (predecessor.namespace, predecessor.name) if each]
    return shown("/".join(names) or "without a name", limit=120)


def _engine(predecessor: Predecessor, facts: TargetFacts | None) -> str:
    told = facts.engine if facts is not None else ""
    if told:
        return told
    if not predecessor.engine:
        predecessor.change("Deployment", None, "engine: VLLM, for nothing says which one it is")
    return predecessor.engine or "VLLM"


def _metrics(predecessor: Predecessor, facts: TargetFacts | None) -> dict[str, Any]:
    metrics: dict[str, Any] = {"source": "Pods"}
    ports = facts.ports if facts is not None else ()
    if len(ports) > 1:
        metrics["ports"] = list(ports)
    else:
        metrics["port"] = ports[0] if ports else _PORT
    if facts is not None and facts.tls:
        metrics["scheme"] = "HTTPS"
        predecessor.change(
            "Deployment", facts.origin, "scheme: HTTPS; say in metrics.tls whom to trust"
        )
    if facts is None:
        predecessor.change(
            "Deployment",
            None,
            f"not read: port {_PORT} is assumed; check it, or import KIND/NAME from the cluster, which reads it",
        )
    elif ports:
        told = "ports" if len(ports) > 1 else "port"
        listed = ", ".join(map(str, ports))
        predecessor.keep("Deployment", facts.origin, f"metrics.{told}: {listed}")
    else:
        predecessor.change(
            "Deployment", facts.origin, f"it does not say its port: {_PORT} is assumed"
        )
    if facts is not None and facts.gpus is not None:
        gpus = f"{facts.gpus} GPU{'' if facts.gpus == 1 else 's'} a replica"
        predecessor.keep("Deployment", facts.origin, f"{gpus}, read from its template at any time")
    return metrics


def _pool(predecessor: Predecessor, facts: TargetFacts | None) -> dict[str, Any]:
    known = facts.capacity_type if facts is not None else None
    if known is None:
        predecessor.change(
            "Deployment",
            None,
            "capacityType: OnDemand, for nothing in it speaks of spot; write Spot or Mixed where its nodes are",
        )
    capacity_type = known or CapacityType.ON_DEMAND
    return {
        "name": _POOLS[capacity_type],
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": predecessor.target,
        },
        "capacityType": str(capacity_type),
    }


def _objective(predecessor: Predecessor) -> dict[str, Any]:
    objective: dict[str, Any] = {}
    for field, value in predecessor.objective.items():
        objective[field] = amount_text(value) if field == ATTAINMENT else int(value)
    return objective


def _targets(predecessor: Predecessor) -> dict[str, Any]:
    targets: dict[str, Any] = {}
    for field, value in predecessor.targets.items():
        whole = value == int(value)
        targets[field] = int(value) if whole or field != IN_FLIGHT else f"{value:.3f}".rstrip("0")
    if IN_FLIGHT not in targets:
        predecessor.change(
            f"spec.targets.{IN_FLIGHT}",
            None,
            "nothing said what a replica carries: 32, until it is learnt from what is missed; write what your load "
            "test showed",
        )
    return targets
