"""`autoscaler init`: from a file and from a cluster; what it writes passes `autoscaler check`."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.kube.api.timestamps import rfc3339, seconds
from simulations.box.local_cluster import LocalCluster
from tests.deploy.manifests import DEPLOY, render
from tests.kube.first_resource.test_draft import ON_SPOT, target
from tests.kube.soundness.test_targets_read import pod
from tests.test_cli import call


def write(path: Path, *items: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump_all(items))
    return path


@pytest.mark.slow
def test_what_it_writes_of_each_example_passes_the_check(capsys, tmp_path: Path):
    for example in sorted((DEPLOY / "examples").iterdir()):
        built = write(tmp_path / "built.yaml", *render(example))
        code, out, err = call(capsys, "init", "-f", built)
        assert code == 0
        assert "error" not in err
        (tmp_path / "first.yaml").write_text(out)
        code, out, _ = call(
            capsys, "check", "--config", tmp_path / "first.yaml", "--targets", built
        )
        assert (code, out.splitlines()[-1]) == (0, "no errors, no warnings")
        assert "warm floor 1; Observe: writes nothing" in out


def test_the_document_is_all_of_standard_output_and_findings_stand_beside_it(
    capsys, tmp_path: Path
):
    built = write(tmp_path / "built.yaml", target(readinessProbe=None))
    code, out, err = call(capsys, "init", "llama", "-f", built)
    assert code == 0
    assert yaml.safe_load(out)["metadata"] == {"name": "llama", "namespace": "serving"}
    assert "Deployment/serving/llama: error: NoReadinessProbe: " in err
    assert "how long a start takes is not in a file" in err


def test_a_file_of_several_namespaces_is_asked_about(capsys, tmp_path: Path):
    other = copy.deepcopy(target())
    other["metadata"]["namespace"] = "prod"
    built = write(tmp_path / "built.yaml", target(), other)
    code, out, err = call(capsys, "init", "-f", built)
    assert (code, out) == (2, "")
    assert "has Deployments of several namespaces: prod, serving; say which: -n" in err
    code, out, _ = call(capsys, "init", "-f", built, "-n", "prod")
    assert (code, yaml.safe_load(out)["metadata"]["namespace"]) == (0, "prod")


def test_a_file_that_is_not_there_is_two(capsys, tmp_path: Path):
    code, _, err = call(capsys, "init", "-f", tmp_path / "none.yaml")
    assert code == 2
    assert "found no such file; name a file or folder that is there" in err


@pytest.mark.slow
def test_of_a_running_deployment_its_starts_are_measured(capsys, tmp_path: Path):
    kind = {"apiVersion": "apps/v1"}

    async def asked(*arguments: str) -> tuple[int, str, str]:
        async with LocalCluster(controllers=False, folder=tmp_path) as cluster:
            cluster.apply({**kind, **target("llama-od", replicas=2)})
            cluster.apply({**kind, **target("llama-spot", affinity=ON_SPOT)})
            made = cluster.apply(pod("p", ready=None))
            created_at = seconds(made["metadata"]["creationTimestamp"])
            cluster.apply(pod("p", ready=rfc3339(created_at + 240)))
            where = ("-n", "serving", "--kubeconfig", str(cluster.kubeconfig))
            return await asyncio.to_thread(call, capsys, "init", *arguments, *where)

    code, out, err = asyncio.run(asked("llama-od"))
    assert code == 0, err
    spec = yaml.safe_load(out)["spec"]
    assert spec["coldStart"] == {"priorSeconds": 240}
    assert [pool["name"] for pool in spec["pools"]] == ["on-demand", "spot"]
    assert "pool on-demand: 1 start measured, placed to ready: 240 s" in err
    code, out, err = asyncio.run(asked("nope"))
    assert (code, out) == (2, "")
    assert "Deployments there: llama-od, llama-spot" in err
