"""The patch formats of the API server. No I/O.

Merge patch and JSON patch are exact. A strategic merge patch (and a server-side apply, taken as
one) merges the lists that carry a merge key in Kubernetes' types and replaces all others; field
ownership is not kept.
"""

from __future__ import annotations

import copy
from http import HTTPStatus
from typing import Any

from simulations.box.local_cluster.objects import Object, StatusError, bad_request, invalid

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

_MERGE_KEYS = {
    "conditions": "type",
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "ownerReferences": "uid",
    "addresses": "type",
}
"""Lists merged by a key, by field name. A Node's taints are not among them: they are replaced,
which is how two writers lose each other's taints; a careful one sends the resourceVersion."""


def apply_patch(obj: Object, patch: Any, content_type: str, *, resource: str) -> Object:
    """A changed copy of `obj`; raises 400, 415 or 422 as the API server would."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        if not isinstance(patch, list):
            raise bad_request("error decoding patch: a JSON patch is a list of operations")
        return _json_patch(obj, patch, resource)
    if kind not in {MERGE, STRATEGIC, APPLY}:
        raise StatusError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            f"the body of the request was in an unknown format - accepted media types include: "
            f"{JSON}, {MERGE}, {STRATEGIC}, {APPLY}",
        )
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: it must be an object")
    merged = _merge(copy.deepcopy(obj), patch, by_key=kind != MERGE)
    return dict(merged)


def _merge(target: Any, patch: Any, *, by_key: bool) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif by_key and name in _MERGE_KEYS and isinstance(value, list):
            merged[name] = _merge_list(merged.get(name) or [], value, _MERGE_KEYS[name])
        else:
            merged[name] = _merge(merged.get(name), value, by_key=by_key)
    return merged


def _merge_list(target: list[Object], patch: list[Object], key: str) -> list[Object]:
    merged = list(target)
    for item in patch:
        where = next((i for i, old in enumerate(merged) if old.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if where is not None:
                del merged[where]
        elif where is None:
            merged.insert(0, copy.deepcopy(item))  # the API server puts new items first
        else:
            merged[where] = _merge(merged[where], item, by_key=True)
    return merged


def _json_patch(obj: Object, operations: list[Object], resource: str) -> Object:
    document: Any = copy.deepcopy(obj)
    name = obj["metadata"]["name"]
    for operation in operations:
        parts = [
            part.replace("~1", "/").replace("~0", "~")
            for part in operation["path"].lstrip("/").split("/")
        ]
        try:
            _operate(document, parts, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise invalid(
                resource, name, f"the server rejected our request due to {operation}: {error}"
            ) from error
    return dict(document)


def _operate(document: Any, parts: list[str], operation: Object) -> None:
    parent = document
    for part in parts[:-1]:
        parent = parent[int(part)] if isinstance(parent, list) else parent[part]
    last = parts[-1]
    match operation["op"]:
        case "test":
            held = parent[int(last)] if isinstance(parent, list) else parent.get(last)
            if held != operation.get("value"):
                raise ValueError(f"testing path {operation['path']}: {held!r} is not equal")
        case "remove":
            del parent[int(last) if isinstance(parent, list) else last]
        case "add" if isinstance(parent, list):
            parent.insert(len(parent) if last == "-" else int(last), operation["value"])
        case "replace" if isinstance(parent, list):
            parent[int(last)] = operation["value"]
        case "replace" if last not in parent:
            raise KeyError(last)
        case "add" | "replace":
            parent[last] = operation["value"]
        case other:
            raise ValueError(f"unsupported operation {other!r}")
