"""What `kubectl kustomize` makes of `deploy/`, offline."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.require import ROOT, require

Manifest: TypeAlias = dict[str, Any]

DEPLOY = ROOT / "deploy"


@lru_cache
def render(folder: Path) -> tuple[Manifest, ...]:
    """Build one kustomization."""
    kubectl = shutil.which("kubectl")
    require("kubectl", kubectl, "kubectl is not installed")
    built = subprocess.run(
        [str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return tuple(yaml.safe_load_all(built.stdout))


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def one(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    (found,) = (each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name)
    return found


def pod_of(deployment: Manifest) -> Manifest:
    pod: Manifest = deployment["spec"]["template"]["spec"]
    return pod


def container_of(deployment: Manifest) -> Manifest:
    (container,) = pod_of(deployment)["containers"]
    assert isinstance(container, dict)
    return container


def option(arguments: list[str], name: str) -> str:
    """Return the value of `--name=value`."""
    (found,) = (each for each in arguments if each.startswith(f"--{name}="))
    return found.partition("=")[2]
