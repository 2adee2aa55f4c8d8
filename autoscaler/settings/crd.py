"""The CustomResourceDefinition, made from the models that validate files: `autoscaler crd`.

What stands in `deploy/components/crd` is this, and a test fails where it is not. So a document that is valid
in a file is valid as a resource, but for what `cel_rules.py` and the README of `deploy/` tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from autoscaler.settings.cel_rules import CEL_RULES
from autoscaler.settings.resource import API_VERSION, KIND, PLURAL, InferenceAutoscaler, Spec
from autoscaler.settings.resource_status import ResourceStatus
from autoscaler.settings.structural import Schema, structural_schema

GROUP, _, VERSION = API_VERSION.partition("/")
CRD_FILE = "deploy/components/crd/inferenceautoscalers.yaml"
_HEADER = f"""\
# Made from autoscaler/settings: change it there, and then
#   autoscaler crd > {CRD_FILE}
# A test fails where this file is not what that command prints.
"""
_COLUMNS: tuple[tuple[str, str, str, str, int], ...] = (
    ("Target", "string", ".spec.pools[0].scaleTargetRef.name", "Scale target of the first pool", 0),
    ("Mode", "string", ".spec.mode", "Whether it acts, or only decides and explains", 0),
    ("Desired", "integer", ".status.desiredReplicas", "Replicas as decided, over all pools", 0),
    ("Ready", "integer", ".status.readyReplicas", "Replicas that can serve and are not doomed", 0),
    ("Floor", "integer", ".status.warmFloorReplicas", "Ready replicas kept without demand", 0),
    (
        "OK",
        "string",
        '.status.conditions[?(@.type=="Ready")].status',
        "The condition Ready: whether it is used and decided on",
        0,
    ),
    ("Reason", "string", ".status.reason", "Why it is what it is, in one word", 0),
    ("Age", "date", ".metadata.creationTimestamp", "", 0),
    ("Min", "integer", ".spec.minReplicas", "Of the model, over its pools", 1),
    ("Max", "integer", ".spec.maxReplicas", "Of the model, over its pools", 1),
    ("Decision", "string", ".status.lastDecision", "The last decision, as a sentence", 1),
)
"""Name, type, place, what it is, and from which verbosity on `kubectl get` shows it (1: `-o wide`)."""


def custom_resource_definition() -> dict[str, Any]:
    """Make the definition, as the API server takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["infas"],
                "categories": ["all", "inference"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*each) for each in _COLUMNS],
                    "schema": {"openAPIV3Schema": resource_schema()},
                }
            ],
        },
    }


def resource_schema() -> Schema:
    """Make the schema of the resource, with its rules."""
    spec, status = structural_schema(Spec), structural_schema(ResourceStatus)
    schema: Schema = {
        "description": " ".join((InferenceAutoscaler.__doc__ or "").split()),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    for place, rules in CEL_RULES.items():
        found = _at(schema, place)
        found["x-kubernetes-validations"] = [dict(rule) for rule in rules]
    return schema


def crd_text() -> str:
    """Write the definition as YAML."""
    definition = custom_resource_definition()
    return _HEADER + yaml.dump(definition, Dumper=_Plain, sort_keys=False, width=110)


class _Plain(yaml.SafeDumper):
    """Writes out what stands in two places twice: kubectl reads no better with aliases, and people worse."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  PyYAML's signature
        """Use none."""
        return True


def _at(schema: Schema, place: str) -> Schema:
    """Return the schema at a place such as `spec.warmFloor.schedules[]`."""
    found = schema
    for part in place.split("."):
        found = found["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            found = found["items"]
    return found


def _column(name: str, kind: str, place: str, description: str, priority: int) -> Mapping[str, Any]:
    told = {"name": name, "type": kind, "jsonPath": place, "description": description}
    return {
        **{key: each for key, each in told.items() if each},
        **({"priority": priority} if priority else {}),
    }
