"""The CustomResourceDefinition: made from the models, and what stands in deploy/ is it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from autoscaler.cli import cli
from autoscaler.kube.api.permissions import RESOURCES
from autoscaler.settings.cel_rules import CEL_RULES
from autoscaler.settings.crd import CRD_FILE, custom_resource_definition, resource_schema
from autoscaler.settings.resource import PLURAL, Spec
from autoscaler.settings.structural import structural_schema
from tests.deploy.manifests import DEPLOY, container_of, of_kind, one, render
from tests.deploy.test_base import rights
from tests.require import ROOT


@pytest.fixture
def schema() -> dict[str, Any]:
    return resource_schema()


def schemas(schema: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within one, with its place."""
    yield place, schema
    for name, each in schema.get("properties", {}).items():
        yield from schemas(each, f"{place}.{name}".lstrip("."))
    if "items" in schema:
        yield from schemas(schema["items"], f"{place}[]")
    if "additionalProperties" in schema:
        yield from schemas(schema["additionalProperties"], f"{place}.*")


def test_what_deploy_has_is_what_the_command_prints():
    printed = CliRunner().invoke(cli, ["crd"])
    assert printed.exit_code == 0
    committed = (ROOT / CRD_FILE).read_text()
    assert printed.output == committed, f"run: autoscaler crd > {CRD_FILE}"
    assert yaml.safe_load(committed) == custom_resource_definition()


def test_it_is_structural(schema: dict[str, Any]):
    untyped = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
    for place, each in schemas(schema):
        assert not {"$ref", "anyOf", "oneOf", "allOf", "not", "const", "title"} & each.keys(), place
        assert "type" in each or any(each.get(key) for key in untyped), place
        assert each.get("additionalProperties") is not False, place
        assert not ("properties" in each and "additionalProperties" in each), place


def test_every_field_of_the_models_is_there(schema: dict[str, Any]):
    spec = schema["properties"]["spec"]
    assert list(spec["properties"]) == [field.alias for field in Spec.model_fields.values()]
    assert spec["required"] == ["pools"]
    pool = spec["properties"]["pools"]["items"]["properties"]
    assert pool["priceUSDPerHour"]["x-kubernetes-int-or-string"] is True
    assert pool["capacityType"]["enum"] == ["OnDemand", "Spot", "Mixed"]
    assert pool["capacityType"]["default"] == "OnDemand"
    assert pool["name"]["description"] == "A metric label and a word in every decision."


def test_the_component_installs_it(tmp_path: Path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    site = tmp_path / "deploy/overlays/site/kustomization.yaml"
    site.write_text(
        site.read_text().replace("components: []", "components: [../../components/crd]")
    )
    manifests = render(site.parent)
    (definition,) = of_kind(manifests, "CustomResourceDefinition")
    made = custom_resource_definition()
    assert definition["metadata"]["name"] == made["metadata"]["name"]
    assert definition["spec"] == made["spec"]
    assert not of_kind(render(DEPLOY / "overlays/site"), "CustomResourceDefinition")
    granted = rights(one(manifests, "ClusterRole", "inference-autoscaler-resources"))
    assert granted == {
        (each.group, each.resource, verb) for each in RESOURCES for verb in each.verbs
    }
    bound = one(manifests, "ClusterRoleBinding", "inference-autoscaler-resources")
    (account,) = of_kind(manifests, "ServiceAccount")
    metadata = account["metadata"]
    assert bound["roleRef"]["name"] == "inference-autoscaler-resources"
    assert bound["subjects"] == [
        {"kind": "ServiceAccount", "name": metadata["name"], "namespace": metadata["namespace"]}
    ]
    command, *arguments = container_of(one(manifests, "Deployment", "inference-autoscaler"))["args"]
    given = cli.commands[command].make_context(command, list(arguments)).params
    assert (given["config"], given["watch_resources"], given["namespaces"]) == (None, True, ())


def test_who_may_edit_a_namespace_may_edit_its_resources_and_never_their_status():
    roles = list(yaml.safe_load_all((DEPLOY / "components/crd/roles.yaml").read_text()))
    by_label = {
        label: rights(each)
        for each in roles
        for label in each["metadata"].get("labels", ())
        if label.startswith("rbac.authorization.k8s.io/aggregate-to-")
    }
    assert {label.rsplit("-", 1)[-1] for label in by_label} == {"view", "edit"}
    assert {resource for granted in by_label.values() for _, resource, _ in granted} == {PLURAL}


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("spec.maxReplicas", "default", 10),
        ("spec.maxReplicas", "maximum", 100_000),
        ("spec.metrics.port", "default", None),  # a rule asks whether it was given
        ("spec.metrics.ports", "x-kubernetes-list-type", "set"),
        ("spec.pools", "x-kubernetes-list-map-keys", ["name"]),
        ("spec.warmFloor", "default", {"replicas": 0, "ramp": "Off"}),
        ("spec.warmFloor.schedules[].days", "default", None),
        ("spec.objective.attainmentPercent", "default", 99),
        ("spec.behavior", "default", {}),
        ("spec.priority", "minimum", -1_000_000),
        ("status.conditions", "x-kubernetes-list-map-keys", ["type"]),
        ("status.conditions[].lastTransitionTime", "format", "date-time"),
    ],
)
def test_what_is_said_of_a_field(schema: dict[str, Any], place: str, key: str, value: Any):
    assert dict(schemas(schema))[place].get(key) == value


def test_every_rule_has_a_message_and_a_place_that_is_there(schema: dict[str, Any]):
    found = dict(schemas(schema))
    for place, rules in CEL_RULES.items():
        assert found[place]["x-kubernetes-validations"] == list(rules)
        for rule in rules:
            assert rule["message"]
            assert "\n" not in rule["message"]
            assert f"{place}{rule.get('fieldPath', '')}" in found


def test_what_is_printed_of_a_resource_is_in_its_schema(schema: dict[str, Any]):
    (version,) = custom_resource_definition()["spec"]["versions"]
    found = dict(schemas(schema))
    for column in version["additionalPrinterColumns"]:
        place = column["jsonPath"].lstrip(".").replace("[0]", "[]")
        place = place.replace('[?(@.type=="Ready")]', "[]")
        if not place.startswith("metadata."):
            assert found[place]["type"] == column["type"]
    first = [each["name"] for each in version["additionalPrinterColumns"] if "priority" not in each]
    assert first == ["Target", "Mode", "Desired", "Ready", "Floor", "OK", "Reason", "Age"]


def test_a_section_stands_by_itself():
    assert structural_schema(Spec)["properties"]["forecast"] == {
        "description": "Whether demand is forecast over the cold start.",
        "type": "object",
        "properties": {
            "mode": {
                "description": "Off: replicas follow the targets alone.",
                "type": "string",
                "enum": ["Auto", "Off"],
                "default": "Auto",
            }
        },
        "default": {"mode": "Auto"},
    }
