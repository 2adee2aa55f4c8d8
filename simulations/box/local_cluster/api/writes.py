"""Creations, patches and removals, with the rules of each kind.

A patch is a merge patch. Of a strategic one, which kubectl sends, lists of containers and the like are
merged by their key and its directives (`$...`) are left out. JSON patches and server-side applies are
refused, and so is a dry run: nothing is written by mistake.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from simulations.box.local_cluster.api import pods
from simulations.box.local_cluster.api.requests import ApiRequest
from simulations.box.local_cluster.objects import (
    BY_PLURAL,
    Object,
    StatusError,
    check_preconditions,
    check_version,
    not_found,
    success,
)
from simulations.box.local_cluster.owners import with_replicas_owner
from simulations.box.local_cluster.selectors import from_spec, matches_labels
from simulations.box.local_cluster.store import Store

_GRACE_S = 30
"""Kubernetes' default of terminationGracePeriodSeconds."""
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_MERGE_KEYS = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
"""Lists that a strategic patch merges, by field. A Node's taints are not among them: they are replaced,
which is how two writers lose each other's taints; a careful one sends the resourceVersion."""


class ApiWrites:
    """Performs what the API server is asked to change."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, request: ApiRequest) -> Object:
        """The object, or its Scale."""
        obj = self._store.get(request.plural, request.namespace, request.name)
        return _scale_of(obj) if request.subresource == "scale" else obj

    def create(self, request: ApiRequest) -> Object:
        """A new object, or an eviction."""
        if request.subresource == "eviction":
            return pods.evict(self._store, request.namespace, request.name, request.object())
        body = copy.deepcopy(request.object())
        metadata = body.setdefault("metadata", {})
        metadata.pop("resourceVersion", None)
        if request.kind.namespaced:
            metadata["namespace"] = request.namespace
            if not self._store.find("namespaces", "", request.namespace):
                raise not_found("namespaces", request.namespace)
        body = with_defaults(request.plural, body)
        if request.plural == "deployments":
            body = with_replicas_owner(
                None, body, manager=request.manager, subresource="", at=self._store.clock()
            )
        return self._store.create(request.plural, body)

    def update(self, request: ApiRequest) -> Object:
        """Replace an object or its Scale; one of another uid, or of another name, is refused."""
        body = request.object()
        metadata = body.get("metadata") or {}
        if metadata.get("name", request.name) != request.name:
            raise StatusError("BadRequest", "the name of the object does not match the URL")
        before = self._store.find(request.plural, request.namespace, request.name)
        # A Lease that is gone is no 404: the API server would make one, if it had to be no certain one.
        is_now = before["metadata"]["uid"] if before else "" if request.kind.replaced else None
        if is_now is not None:
            asked = metadata.get("uid")
            check_version(request.plural, request.name, asked=asked, is_now=is_now)
        if not request.subresource:
            body = copy.deepcopy(body)
            body["metadata"] = {"namespace": request.namespace, "name": request.name, **metadata}
            if not request.kind.namespaced:
                del body["metadata"]["namespace"]
        return self._write(request, lambda _before: body)

    def patch(self, request: ApiRequest) -> Object:
        """Patch an object or its Scale."""
        if request.content_type not in {_MERGE, _STRATEGIC}:
            raise StatusError(
                "UnsupportedMediaType",
                f"{request.content_type} is not taken here; send {_MERGE} or {_STRATEGIC}",
            )
        patch, by_key = request.object(), request.content_type == _STRATEGIC
        return self._write(request, lambda before: _merge(before, patch, by_key=by_key))

    def delete(self, request: ApiRequest) -> Object:
        """Remove an object; a bound pod first gets its grace period."""
        plural, namespace, name = request.plural, request.namespace, request.name
        obj, options = self._store.get(plural, namespace, name), request.body or {}
        check_preconditions(plural, obj, options)
        if plural == "pods":
            grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
            grace_s = None if grace is None else int(grace)
            return pods.delete(self._store, namespace, name, grace_s=grace_s)
        self._store.remove(plural, namespace, name)
        return success(details={"name": name, "kind": plural, "uid": obj["metadata"]["uid"]})

    def _write(self, request: ApiRequest, change: Callable[[Object], Object]) -> Object:
        before = self._store.get(request.plural, request.namespace, request.name)
        if request.subresource == "scale":
            scale = change(_scale_of(before))
            replicas = scale.get("spec", {}).get("replicas", 0)
            obj = {**before, "spec": {**before["spec"], "replicas": replicas}}
            version = scale.get("metadata", {}).get("resourceVersion")
            obj["metadata"] = {**before["metadata"], "resourceVersion": version}
        elif request.subresource == "status":
            obj = {**before, "status": change(before).get("status", {})}
        else:
            obj = change(before)
            obj.pop("status", None)  # has a path of its own
            obj |= {"status": before["status"]} if "status" in before else {}
        _validate(request.plural, obj)
        if request.plural == "deployments":
            obj = with_replicas_owner(
                before,
                obj,
                manager=request.manager,
                subresource=request.subresource,
                at=self._store.clock(),
            )
        obj = self._store.replace(request.plural, obj)
        return _scale_of(obj) if request.subresource == "scale" else obj


def with_defaults(plural: str, body: Object) -> Object:
    """With the API server's defaults, checked; for controllers and manifests as well."""
    if plural in {"deployments", "replicasets"}:
        body.setdefault("spec", {}).setdefault("replicas", 1)
        body["spec"].setdefault("template", {}).setdefault("spec", {})
        _default_pod(body["spec"]["template"]["spec"])
        body.setdefault("status", {"replicas": 0})
    elif plural == "pods":
        _default_pod(body.setdefault("spec", {}))
        body.setdefault("status", {}).setdefault("phase", "Pending")
    _validate(plural, body)
    return body


def _default_pod(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", _GRACE_S)


def _validate(plural: str, obj: Object) -> None:
    metadata, spec = obj["metadata"], obj.get("spec", {})
    if "name" not in metadata and "generateName" not in metadata:
        raise _invalid(plural, obj, "metadata.name: Required value")
    if plural not in {"deployments", "replicasets"}:
        return
    replicas = spec.get("replicas")
    if not isinstance(replicas, int) or replicas < 0:
        least = "must be greater than or equal to 0"
        raise _invalid(plural, obj, f"spec.replicas: Invalid value: {replicas!r}: {least}")
    selector = spec.get("selector") or {}
    labels = spec["template"].get("metadata", {})
    if not selector or not matches_labels(from_spec(selector), {"metadata": labels}):
        differ = "`selector` does not match template `labels`"
        raise _invalid(plural, obj, f"spec.template.metadata.labels: Invalid value: {differ}")


def _invalid(plural: str, obj: Object, message: str) -> StatusError:
    kind, name = BY_PLURAL[plural].kind, obj["metadata"].get("name", "")
    details = {"name": name, "kind": kind}
    return StatusError("Invalid", f'{kind} "{name}" is invalid: {message}', details=details)


def _merge(target: Any, patch: Any, *, by_key: bool) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if by_key and name.startswith("$"):
            continue
        if value is None:
            merged.pop(name, None)
        elif by_key and name in _MERGE_KEYS and isinstance(value, list):
            merged[name] = _merge_list(merged.get(name) or [], value, _MERGE_KEYS[name])
        else:
            merged[name] = _merge(merged.get(name), value, by_key=by_key)
    return merged


def _merge_list(target: list[Object], patch: list[Object], key: str) -> list[Object]:
    merged = {item.get(key): item for item in target}
    for item in patch:
        if item.get("$patch") == "delete":
            merged.pop(item.get(key), None)
        else:
            merged[item.get(key)] = _merge(merged.get(item.get(key)), item, by_key=True)
    return list(merged.values())


def _scale_of(obj: Object) -> Object:
    """The autoscaling/v1 Scale of a Deployment or ReplicaSet."""
    metadata, spec = obj["metadata"], obj["spec"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept},
        "spec": {"replicas": spec["replicas"]},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }
