"""The daemon as `deploy/base` installs it, and what it answers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.e2e.kubectl import get, kubectl, kubectl_async, wait_until

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "inference-autoscaler"
NAME = "inference-autoscaler"
DEBUG_PORT = 8081


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One installation."""

    image: str
    folder: Path
    components: tuple[str, ...] = ()
    """Of `deploy/components`, by name."""
    options: tuple[str, ...] = ()
    """Of `autoscaler run`, beside those of the manifest."""

    async def install(
        self, resources: Sequence[dict[str, Any]], *, namespaces: Sequence[str]
    ) -> None:
        """Apply `deploy/base` with this image and config, as `deploy/overlays/site` would."""
        await asyncio.to_thread(self._write, resources, namespaces)
        await kubectl_async("apply", "-k", str(self._manifests))

    async def uninstall(self) -> None:
        """Take it away, and wait until its pod is gone: the next one must be alone."""
        await kubectl_async(
            "delete", "-k", str(self._manifests), "--wait=true", "--timeout=90s", check=False
        )

    @property
    def _manifests(self) -> Path:
        return self.folder / "manifests"

    def _write(self, resources: Sequence[dict[str, Any]], namespaces: Sequence[str]) -> None:
        folder = self._manifests
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ROOT / "deploy/base", folder / "base")
        shutil.copytree(ROOT / "deploy/components", folder / "components")
        # one binding a namespace that holds models
        binding = (ROOT / "deploy/base/model-namespace/role-binding.yaml").read_text()
        parts = []
        for namespace in namespaces:
            part = yaml.safe_load(binding)
            part["metadata"]["namespace"] = namespace
            parts.append(part)
        there = folder / "base/model-namespace"
        (there / "role-binding.yaml").write_text(yaml.safe_dump_all(parts))
        (there / "kustomization.yaml").write_text("resources: [role-binding.yaml]\n")
        (folder / "config.yaml").write_text(yaml.safe_dump_all(resources, sort_keys=False))
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(self._overlay()))
        (folder / "daemon.yaml").write_text(yaml.safe_dump(self._patch()))

    def _overlay(self) -> dict[str, Any]:
        name, _, tag = self.image.rpartition(":")
        return {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["base"],
            "components": [f"components/{name}" for name in self.components],
            "images": [{"name": NAME, "newName": name, "newTag": tag}],
            "configMapGenerator": [
                {
                    "name": f"{NAME}-config",
                    "namespace": NAMESPACE,
                    "behavior": "replace",
                    "files": ["config.yaml"],
                }
            ],
            "generatorOptions": {"disableNameSuffixHash": True},
            "patches": [{"path": "daemon.yaml"}, self._added_arguments()],
        }

    def _patch(self) -> dict[str, Any]:
        """The image is a plain root file system: it has no entry point, and no registry."""
        container = {
            "name": NAME,
            "imagePullPolicy": "Never",
            "command": ["/usr/local/bin/autoscaler"],
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"template": {"spec": {"containers": [container]}}},
        }

    def _added_arguments(self) -> dict[str, Any]:
        """Options of this scene, added to those of the manifest and of its components.

        The suite asks the pod for its decisions from outside; as the base has it, only the pod itself may.
        """
        adds = [
            {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": option}
            for option in (f"--debug-listen=:{DEBUG_PORT}", *self.options)
        ]
        return {
            "target": {"kind": "Deployment", "name": NAME},
            "patch": yaml.safe_dump(adds),
        }

    async def pod(self) -> dict[str, Any] | None:
        """Its running pod."""
        for pod in await get("pods", namespace=NAMESPACE, labels=f"app.kubernetes.io/name={NAME}"):
            alive = "deletionTimestamp" not in pod["metadata"]
            if alive and pod["status"].get("phase") == "Running":
                return pod
        return None

    async def url(self) -> str:
        """Where it answers: its pod's address."""
        pod = await wait_until("the daemon runs", self.pod, timeout_s=90)
        return f"http://{pod['status']['podIP']}:8080"

    async def get(self, path: str) -> str:
        """A page, or `unreachable: …` where there is none."""
        url = await self.url()
        if path.startswith("/debug"):
            url = f"{url.rpartition(':')[0]}:{DEBUG_PORT}"
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(url + path, timeout=aiohttp.ClientTimeout(total=5)) as answer,
            ):
                text = await answer.text()
                return text if answer.status == 200 else f"unreachable: {answer.status} {text}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"unreachable: {type(error).__name__}: {error}"

    async def ready(self) -> bool:
        """Whether it says that it is, and acts: a standby says `ok: stands by`."""
        pod = await self.pod()
        if pod is None or not pod["status"].get("podIP"):
            return False
        return await self.get("/readyz") == "ok\n"

    async def kill(self, name: str = "") -> None:
        """With no more grace than a kubelet always gives, a second or two; one of several by its pod's name."""
        if not name:
            pod = await wait_until("the daemon runs", self.pod, timeout_s=30)
            name = pod["metadata"]["name"]
        await kubectl_async("delete", "pod", name, "-n", NAMESPACE, "--grace-period=0", "--force")


async def keep_logs(namespace: str, folder: Path) -> None:
    """What the pods of a namespace said, and how its objects stand."""
    folder.mkdir(parents=True, exist_ok=True)
    for pod in await get("pods", namespace=namespace):
        name = pod["metadata"]["name"]
        for extra in ([], ["--previous"]):
            text = await kubectl_async("logs", name, *extra, "-n", namespace, check=False)
            if text:
                (folder / f"{name}{''.join(extra)}.log").write_text(text)
    stand = kubectl("get", "pods,deployments", "-n", namespace, "-o", "wide", check=False)
    events = kubectl("get", "events", "-n", namespace, check=False)
    (folder / f"{namespace}.txt").write_text(f"{stand}\n{events}")
