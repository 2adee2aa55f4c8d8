"""`autoscaler import`, as somebody calls it."""

from __future__ import annotations

import pytest
import yaml

from tests.migration.test_recipes import RECIPES
from tests.test_cli import call

HPA = (RECIPES / "gke-waiting.yaml").read_text()


def test_a_resource_goes_to_standard_output_and_what_became_of_each_field_to_standard_error(
    capsys, tmp_path
):
    code, out, err = call(capsys, "import", RECIPES / "gke-waiting.yaml")
    assert code == 0
    assert err.splitlines()[0] == "HorizontalPodAutoscaler gemma-hpa:"
    assert "  kept: spec.minReplicas (2): by the same name" in err.splitlines()
    made = tmp_path / "made.yaml"
    made.write_text(out)
    code, out, err = call(capsys, "check", "--config", made)
    assert (code, err) == (0, "")
    assert out.startswith("inference/gemma: 2 to 12 replicas over on-demand (OnDemand)")
    assert "Observe: writes nothing" in out


def test_two_of_one_file_are_two_documents_and_the_namespace_can_be_given(capsys, tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(f"{HPA}\n---\n{(RECIPES / 'keda-queue.yaml').read_text()}")
    code, out, _ = call(capsys, "import", file, "-n", "elsewhere")
    made = list(yaml.safe_load_all(out))
    assert code == 0
    assert [each["metadata"] for each in made] == [
        {"name": "gemma", "namespace": "elsewhere"},
        {"name": "llama-70b", "namespace": "elsewhere"},
    ]


def test_an_hpa_that_keda_made_is_its_scaled_objects(capsys, tmp_path):
    """As `kubectl get hpa,scaledobject -o yaml` prints them."""
    keda = (RECIPES / "keda-queue.yaml").read_text()
    made = HPA.replace("namespace: inference", "labels: {scaledobject.keda.sh/name: vllm-scaler}")
    file = tmp_path / "all.yaml"
    file.write_text(f"{made}\n---\n{keda}")
    code, out, err = call(capsys, "import", file)
    assert (code, err.count("ScaledObject vllm-scaler:")) == (0, 1)
    assert yaml.safe_load(out)["metadata"]["name"] == "llama-70b"


def test_a_metric_of_ones_own_can_be_told(capsys, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(
        HPA.replace("prometheus.googleapis.com|vllm:num_requests_running|gauge", "busy")
    )
    _, out, err = call(capsys, "import", file)
    assert "say so with --metric busy=" in err.replace("NAME", "busy")
    assert "inFlight" not in yaml.safe_load(out)["spec"]["targets"]
    _, out, _ = call(capsys, "import", file, "--metric", "busy=InFlight")
    assert yaml.safe_load(out)["spec"]["targets"]["inFlightRequestsPerReplica"] == 24


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("kind: Service\napiVersion: v1\n", "found no HorizontalPodAutoscaler and no ScaledObject"),
        (HPA.replace("autoscaling/v2", "autoscaling/v2beta1"), "give it as autoscaling/v2"),
        (
            HPA.replace("kind: Deployment", "kind: StatefulSet"),
            "scales Deployments (apps/v1) alone",
        ),
        (HPA.replace("name: gemma}", "name: ''}"), "write the name of a Deployment"),
        (HPA.replace("name: gemma}", "name: Gemma_1}"), "use lower case letters"),
        (f"{HPA}\n---\n{HPA.replace('gemma-hpa', 'other')}", "keep one of the two"),
        (
            HPA.replace(
                "namespace: inference", "namespace: a, labels: {scaledobject.keda.sh/name: so}"
            ),
            "import that: scaledobject/so",
        ),
        ("a: [", "mend the YAML there"),
    ],
)
def test_what_cannot_be_imported_is_two_with_what_to_do(capsys, tmp_path, written, message):
    file = tmp_path / "source.yaml"
    file.write_text(written)
    code, out, err = call(capsys, "import", file)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-file.yaml"], "found no such file"),
        (["x.yaml", "--metric", "busy=Requests"], "write NAME=WORD"),
        pytest.param(
            ["hpa/x", "--kubeconfig", "/nonexistent"],
            "no kubeconfig /nonexistent",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_cannot_be_read_is_two(capsys, arguments, message):
    code, out, err = call(capsys, "import", *arguments)
    assert (code, out) == (2, "")
    assert message in err
