"""A predecessor as it was, kept where it is found again: a ConfigMap beside the resource, or a file of the user's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from autoscaler.errors import SettingsError, SpecProblem
from autoscaler.foreign_text import shown
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.plain import Plain, part, text
from autoscaler.kube.api.resources import CONFIG_MAPS
from autoscaler.migration.cluster import RESOURCES, VERSIONS, ScaleWriter
from autoscaler.settings.documents import MANIFESTS, read_documents

PREDECESSOR_ANNOTATION = "inference-autoscaler.dev/predecessor"
"""On the resource, from a takeover until it is handed back: where the copy is."""
_KEEPER, _OURS = "app.kubernetes.io/managed-by", "inference-autoscaler"
COPIES = f"{_KEEPER}={_OURS}"
"""The label of the ConfigMaps, as a selector."""
_IN_CONFIG_MAP, _IN_FILE = "configmap/", "file/"
_NAME_CHARACTERS_MAX = 253
_SUFFIX = "-predecessor"


def manifest_of(writer: ScaleWriter) -> dict[str, Any]:
    """Return an object without what the server writes in it: what `kubectl apply` would have been given."""
    metadata = part(writer.item, "metadata")
    kept = {
        name: metadata[name]
        for name in ("name", "namespace", "labels", "annotations", "finalizers")
        if metadata.get(name)
    }
    return {
        "apiVersion": VERSIONS[writer.kind],
        "kind": writer.kind,
        "metadata": kept,
        "spec": dict(part(writer.item, "spec")),
    }


def place_of(resource: Plain) -> str:
    """Return where a resource says that its predecessor's copy is; empty: it has none."""
    return text(part(resource, "metadata", "annotations"), PREDECESSOR_ANNOTATION)


def write_file(file: Path, manifests: Sequence[Plain]) -> str:
    """Write copies into a new file; returns the place for the annotation.

    Raises:
        SettingsError: It is there already, or cannot be written.
    """
    written = yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(written)
    except OSError as error:
        raise SettingsError(
            f"--save-to {file}: {error.strerror or type(error).__name__}; name a file that is not there yet"
        ) from error
    return f"{_IN_FILE}{file.name}"


async def write_config_map(client: Client, resource: Plain, manifests: Sequence[Plain]) -> str:
    """Write copies into the ConfigMap of a resource; returns the place for the annotation.

    Raises:
        ApiError: It cannot be written.
        SettingsError: There is another one of its name.
    """
    metadata = part(resource, "metadata")
    namespace = text(metadata, "namespace")
    name = text(metadata, "name")[: _NAME_CHARACTERS_MAX - len(_SUFFIX)] + _SUFFIX
    data = {
        f"{each['kind']}.{each['metadata']['name']}.json": json.dumps(each, indent=2)
        for each in manifests
    }
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {_KEEPER: _OURS},
        },
        "data": data,
    }
    try:
        await client.call("create", CONFIG_MAPS, namespace=namespace, body=body)
    except ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        there = await client.call("get", CONFIG_MAPS, namespace=namespace, name=name)
        if text(part(there, "metadata", "labels"), _KEEPER) != _OURS:
            raise SettingsError(
                f"there is a ConfigMap {namespace}/{name} that is not of a takeover; save the copy elsewhere: --save-to FILE"
            ) from error
        # of a takeover before this one, which was handed back
        await client.call("update", CONFIG_MAPS, namespace=namespace, name=name, body=body)
    return f"{_IN_CONFIG_MAP}{name}"


async def read_copies(client: Client, resource: Plain, file: Path | None) -> list[dict[str, Any]]:
    """Read the copies of a resource's predecessors.

    Args:
        client: Of the cluster.
        resource: With the annotation that says where they are.
        file: In its place; None: as the annotation says.

    Raises:
        SettingsError: They are not there, or are none.
    """
    place = place_of(resource)
    if file is not None:
        return _checked(_in_file(file), f"--saved {file}")
    if not place.startswith(_IN_CONFIG_MAP):
        raise SettingsError(
            f"the copy was saved in the file {shown(place.removeprefix(_IN_FILE))}; name it: --saved FILE"
        )
    namespace = text(part(resource, "metadata"), "namespace")
    name = place.removeprefix(_IN_CONFIG_MAP)
    try:
        found = await client.call("get", CONFIG_MAPS, namespace=namespace, name=name)
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        raise SettingsError(
            f"the ConfigMap {namespace}/{shown(name)} with the copy is gone; give the manifest: --saved FILE"
        ) from error
    told = f"the ConfigMap {namespace}/{name}"
    try:
        copies = [json.loads(each) for each in part(found, "data").values()]
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{told}: no JSON; give the manifest: --saved FILE") from error
    return _checked(copies, told)


def _in_file(file: Path) -> list[Any]:
    problems: list[SpecProblem] = []
    documents = read_documents(file, problems, kind="HorizontalPodAutoscaler", limits=MANIFESTS)
    if problems:
        raise SettingsError("\n".join(map(str, problems)))
    return [document.content for document in documents]


def _checked(copies: Sequence[Any], place: str) -> list[dict[str, Any]]:
    found = []
    for each in copies:
        item = each if isinstance(each, dict) else {}
        kind, name = text(item, "kind"), text(part(item, "metadata"), "name")
        if kind not in RESOURCES or not name or not part(item, "spec"):
            raise SettingsError(
                f"{place}: found {shown(kind or each, limit=80)}, which is no HPA or ScaledObject; give its manifest: "
                "--saved FILE"
            )
        found.append({**item, "apiVersion": VERSIONS[kind]})
    if not found:
        raise SettingsError(f"{place}: there is nothing in it; give the manifest: --saved FILE")
    return found
