"""Documents as people write them: what they ask for here, and that each of their fields is accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.core.contract.spec import Mode
from autoscaler.migration.document import yaml_text
from autoscaler.migration.predecessor import Equivalence
from autoscaler.migration.sources import Imported, facts_in, imported, read_predecessors
from autoscaler.settings import load_config, to_core
from autoscaler.settings.documents import read_documents

RECIPES = Path(__file__).parent / "recipes"
NONE, CHANGED, KEPT = Equivalence.NONE, Equivalence.CHANGED, Equivalence.KEPT


def the_import(file: Path, **told: Any) -> Imported:
    problems: list[Any] = []
    documents = read_documents(file, problems)
    (read,) = read_predecessors(documents, told, problems)
    made = imported(read, facts_in(documents, read), namespace="", problems=problems)
    assert not problems
    return made


def words_of(made: Imported) -> dict[str, Equivalence]:
    return {note.path: note.equivalence for note in made.predecessor.notes}


KEDA_DOWN_300 = {
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
    }
}
ROWS = [
    pytest.param(
        "gke-waiting",
        {
            "minReplicas": 2,
            "maxReplicas": 12,
            "targets": {"waitingRequestsPerReplica": 4, "inFlightRequestsPerReplica": 24},
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 30,
                    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 600,
                    "selectPolicy": "Min",
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}],
                    "tolerance": "0.05",
                },
            },
        },
        {"spec.metrics[0]": KEPT, "spec.metrics[1]": KEPT, "spec.minReplicas": KEPT},
        id="Google's names, of each pod; a behavior by the same names",
    ),
    pytest.param(
        "adapter-object-value",
        {"maxReplicas": 2, "targets": None, "behavior": None},
        {"spec.metrics[0]": NONE, "spec.behavior.scaleDown": CHANGED},
        id="a total with Value is no target of a replica",
    ),
    pytest.param(
        "cpu-and-gpu",
        {"minReplicas": 1, "maxReplicas": 6, "targets": None},
        {"spec.metrics[0]": NONE, "spec.metrics[1]": NONE, "spec.metrics[2]": NONE},
        id="CPU, memory and GPU say nothing of load",
    ),
    pytest.param(
        "keda-queue",
        {
            "minReplicas": 1,
            "maxReplicas": 8,
            "metrics": {"source": "Pods", "port": 8081},
            "pools": [
                {
                    "name": "spot",
                    "scaleTargetRef": {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "name": "llama-70b",
                    },
                    "capacityType": "Spot",
                }
            ],
            "objective": {"timeToFirstTokenMilliseconds": 1500, "attainmentPercent": "95"},
            "targets": {"waitingRequestsPerReplica": 25},
            "behavior": KEDA_DOWN_300,
        },
        {
            "spec.minReplicaCount": CHANGED,
            "spec.triggers[0]": CHANGED,
            "spec.triggers[1]": CHANGED,
            "spec.cooldownPeriod": NONE,
            "spec.fallback": NONE,
            "spec.triggers[0].activationThreshold": NONE,
        },
        id="the queue or vector(0), to zero, and what its Deployment says",
    ),
    pytest.param(
        "keda-in-flight-factor",
        {
            "targets": {"inFlightRequestsPerReplica": 48},
            "warmFloor": {
                "schedules": [
                    {
                        "days": "Mon-Fri",
                        "from": "07:30",
                        "to": "19:00",
                        "timeZone": "Europe/Berlin",
                        "replicas": 6,
                    },
                    {
                        "days": "Fri",
                        "from": "22:00",
                        "to": "04:00",
                        "timeZone": "America/New_York",
                        "replicas": 10,
                    },
                ]
            },
        },
        {"spec.triggers[0]": CHANGED, "spec.triggers[1]": KEPT, "spec.triggers[2]": KEPT},
        id="three quarters of 64 seats are 48 in flight; cron, also over midnight and above the maximum",
    ),
    pytest.param(
        "keda-formula",
        {"engine": "SGLang", "targets": {"inFlightRequestsPerReplica": 48}, "maxReplicas": 4},
        {
            "spec.advanced.scalingModifiers": KEPT,
            "metadata.annotations[autoscaling.keda.sh/paused-scale-in]": KEPT,
            "spec.idleReplicaCount": NONE,
        },
        id="a formula over named triggers, and a pause of one direction",
    ),
    pytest.param(
        "keda-means",
        {"targets": {"kvCacheUsagePercent": 75, "inFlightRequestsPerReplica": 20}},
        {
            "spec.triggers[0]": CHANGED,
            "spec.triggers[1]": KEPT,
            "spec.triggers[2]": NONE,
            "spec.triggers[3]": NONE,
        },
        id="means: with Value they are of a replica, with AverageValue they are meant so",
    ),
]


@pytest.mark.parametrize(("name", "spec", "words"), ROWS)
def test_a_recipe_asks_here_for(name, spec, words):
    made = the_import(RECIPES / f"{name}.yaml")
    found = {field: made.document["spec"].get(field) for field in spec}
    assert found == spec
    assert words.items() <= words_of(made).items()


def test_each_recipe_is_in_the_table():
    assert {row.values[0] for row in ROWS} == {file.stem for file in RECIPES.glob("*.yaml")}


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_is_written_is_a_resource_and_observes(file, tmp_path):
    made = the_import(file)
    written = tmp_path / "made.yaml"
    written.write_text(yaml_text(made.predecessor, made.document))
    (resource,) = load_config(written).resources
    model = to_core(resource)
    assert model.mode is Mode.OBSERVE
    assert yaml.safe_load(written.read_text())["spec"] == made.document["spec"]
    assert (model.min_replicas, model.max_replicas) == (
        made.predecessor.min_replicas,
        made.predecessor.max_replicas,
    )


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_field_of_the_source_is_accounted_for(file):
    made = the_import(file)
    source = next(yaml.safe_load_all(file.read_text()))
    said = [note.path for note in made.predecessor.notes]
    text = yaml_text(made.predecessor, made.document)

    def is_said(path: str) -> bool:
        return any(each == path or each.startswith((f"{path}.", f"{path}[")) for each in said)

    spec = {key: value for key, value in source["spec"].items() if key != "scaleTargetRef"}
    unsaid = [f"spec.{key}" for key in spec if not is_said(f"spec.{key}")]
    for key in ("metrics", "triggers"):
        unsaid += [
            f"spec.{key}[{index}]"
            for index in range(len(spec.get(key, ())))
            if not is_said(f"spec.{key}[{index}]")
        ]
    assert not unsaid
    assert all(str(note) in text for note in made.predecessor.notes)
