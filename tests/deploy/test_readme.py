"""What the page about the installation claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    FALLBACK_ANNOTATION,
)
from autoscaler.core.contract.deletion_cost import OWN_COST_ANNOTATION
from tests.deploy.manifests import DEPLOY, render

README = (DEPLOY / "README.md").read_text()


def test_every_folder_is_told_of_and_exists():
    told = {path.strip("`") for path in re.findall(r"(?m)^\| (`[^`]+`) \|", README)}
    assert all((DEPLOY / path).exists() for path in told)
    kustomizations = {
        path.parent.relative_to(DEPLOY) for path in DEPLOY.rglob("kustomization.yaml")
    }
    covered = {Path(path) for path in told}
    parts = {Path("base"), Path("examples/vllm/server")}
    parts |= {Path("examples/vllm/on-demand"), Path("examples/vllm/spot")}
    assert kustomizations - covered == parts


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", ["base", "overlays/site", "examples/vllm", "drain", "base/model-namespace"]
)
def test_every_kustomization_that_is_applied_builds_offline(folder: str):
    manifests = render(DEPLOY / folder)
    assert manifests
    names = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in manifests
    ]
    assert len(set(names)) == len(names)


def test_it_names_the_annotations_that_may_be_left():
    assert f"`{CORDON_ANNOTATION}`" in README
    assert f"`{DRAINED_ANNOTATION}`" in README
    assert f"`{FALLBACK_ANNOTATION}`" in README
    assert f"`{OWN_COST_ANNOTATION}`" in README


CHECKED = re.compile(r"autoscaler check --config ((?:deploy|[\w.-]+)/[\w./-]+)")


def test_the_files_that_one_is_told_to_check_are_there():
    root = DEPLOY.parent
    told = {
        path: CHECKED.findall(path.read_text())
        for path in [root / "README.md", *DEPLOY.rglob("*.md"), *DEPLOY.rglob("*.yaml")]
    }
    assert sum(map(len, told.values())) >= 4
    assert [
        (path, file)
        for path, files in told.items()
        for file in files
        if not (root / file).is_file()
    ] == []


def test_the_overlay_names_every_component():
    text = (DEPLOY / "overlays/site/kustomization.yaml").read_text()
    assert [each.name for each in (DEPLOY / "components").iterdir() if each.name not in text] == []
