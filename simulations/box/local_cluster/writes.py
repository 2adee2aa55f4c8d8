"""Creations, updates, patches and removals, with the rules of each kind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from simulations.box.local_cluster import pods
from simulations.box.local_cluster.objects import (
    Object,
    StatusError,
    bad_request,
    conflict,
    invalid,
    not_found,
)
from simulations.box.local_cluster.patches import APPLY, apply_patch
from simulations.box.local_cluster.paths import Target
from simulations.box.local_cluster.selectors import from_spec, matches_labels, to_text
from simulations.box.local_cluster.store import Store

_GRACE_S = 30
"""Kubernetes' default of terminationGracePeriodSeconds."""


class Writes:
    """Performs what the API server is asked to change."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, target: Target) -> Object:
        """The object, or its Scale."""
        obj = self._store.get(target.resource.plural, target.namespace, target.name)
        return scale_of(obj) if target.subresource == "scale" else obj

    def create(self, target: Target, body: Object, query: Mapping[str, str]) -> Object:
        """A new object, or an eviction."""
        if target.subresource == "eviction":
            return pods.evict(
                self._store, target.namespace, target.name, body, dry_run=_dry_run(query)
            )
        body = self._prepared(target, body)
        if _dry_run(query) or not target.resource.kept:
            return body
        if target.namespace and not self._store.find("namespaces", "", target.namespace):
            raise not_found("namespaces", target.namespace)
        return self._store.create(target.resource.plural, body)

    def update(self, target: Target, body: Object, query: Mapping[str, str]) -> Object:
        """Replace an object, its status or its Scale."""
        name = body.get("metadata", {}).get("name", target.name)
        if name != target.name:
            raise bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({target.name})"
            )
        body.setdefault("metadata", {})["name"] = target.name
        if target.namespace:
            body["metadata"]["namespace"] = target.namespace
        return self._write(target, lambda _before: body, query)

    def patch(
        self, target: Target, patch: Any, content_type: str, query: Mapping[str, str]
    ) -> Object:
        """Patch an object, its status or its Scale; an apply creates what is not there."""
        plural = target.resource.plural
        applies = content_type.startswith(APPLY) and not target.subresource
        if applies and self._store.find(plural, target.namespace, target.name) is None:
            return self.create(target, patch, query)
        return self._write(
            target,
            lambda before: apply_patch(before, patch, content_type, resource=plural),
            query,
        )

    def delete(self, target: Target, options: Object, query: Mapping[str, str]) -> Object:
        """Remove an object; a bound pod first gets its grace period."""
        plural = target.resource.plural
        obj = self._store.get(plural, target.namespace, target.name)
        check_preconditions(plural, obj, options)
        if _dry_run(query):
            return obj
        if plural == "pods":
            grace = options.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
            grace_s = None if grace is None else int(grace)
            return pods.delete(self._store, target.namespace, target.name, grace_s=grace_s)
        self._store.remove(plural, target.namespace, target.name)
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": target.name,
                "kind": plural,
                "uid": obj["metadata"]["uid"],
            },
        }

    def _write(
        self, target: Target, change: Callable[[Object], Object], query: Mapping[str, str]
    ) -> Object:
        plural = target.resource.plural
        before = self._store.get(plural, target.namespace, target.name)
        if target.subresource == "scale":
            scale = change(scale_of(before))
            obj = _scaled(before, scale, plural)
        else:
            obj = change(copy.deepcopy(before))
            if "status" in target.resource.subresources:
                obj = _only(obj, before, status=target.subresource == "status")
            _validate(plural, obj)
        if not _dry_run(query):
            obj = self._store.replace(plural, obj)
        return scale_of(obj) if target.subresource == "scale" else obj

    def _prepared(self, target: Target, body: Object) -> Object:
        body = copy.deepcopy(body)
        metadata = body.setdefault("metadata", {})
        if target.name:
            metadata["name"] = target.name
        if "name" not in metadata and "generateName" not in metadata:
            raise invalid(target.resource.plural, "", "metadata.name: Required value")
        metadata.pop("resourceVersion", None)
        if target.resource.namespaced:
            metadata["namespace"] = target.namespace
        return prepared(target.resource.plural, body)


def prepared(plural: str, body: Object) -> Object:
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
    if plural not in {"deployments", "replicasets"}:
        return
    name, spec = obj["metadata"].get("name", ""), obj.get("spec", {})
    replicas = spec.get("replicas")
    if not isinstance(replicas, int) or replicas < 0:
        raise invalid(
            plural,
            name,
            f"spec.replicas: Invalid value: {replicas!r}: must be greater than or equal to 0",
        )
    selector = spec.get("selector") or {}
    labels = spec["template"].get("metadata", {})
    if not selector or not matches_labels(from_spec(selector), {"metadata": labels}):
        raise invalid(
            plural,
            name,
            "spec.template.metadata.labels: Invalid value: "
            "`selector` does not match template `labels`",
        )


def _only(obj: Object, before: Object, *, status: bool) -> Object:
    """The main path leaves the status alone, the status path everything else but annotations."""
    if not status:
        obj.pop("status", None)
        if "status" in before:
            obj["status"] = before["status"]
        return obj
    kept = {**before, "status": obj.get("status", {})}
    kept["metadata"] = {
        **before["metadata"],
        "resourceVersion": obj["metadata"].get("resourceVersion", ""),
    }
    if "annotations" in obj["metadata"]:
        kept["metadata"]["annotations"] = obj["metadata"]["annotations"]
    return kept


def check_preconditions(plural: str, obj: Object, options: Object) -> None:
    """Raise 409 unless the uid and resourceVersion asked for are the object's."""
    for field, wanted in (options.get("preconditions") or {}).items():
        if wanted and wanted != obj["metadata"].get(field):
            raise conflict(plural, obj["metadata"]["name"])


def scale_of(obj: Object) -> Object:
    """The autoscaling/v1 Scale of a Deployment or ReplicaSet."""
    metadata, spec = obj["metadata"], obj["spec"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept},
        "spec": {"replicas": spec["replicas"]},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": to_text(spec.get("selector") or {}),
        },
    }


def _scaled(before: Object, scale: Object, plural: str) -> Object:
    name = before["metadata"]["name"]
    expected = scale.get("metadata", {}).get("resourceVersion")
    if expected and expected != before["metadata"]["resourceVersion"]:
        raise conflict(plural, name)
    replicas = scale.get("spec", {}).get("replicas", 0)
    obj = copy.deepcopy(before)
    obj["spec"]["replicas"] = replicas
    _validate(plural, obj)
    return obj


def _dry_run(query: Mapping[str, str]) -> bool:
    wanted = query.get("dryRun", "")
    if wanted not in {"", "All"}:
        raise StatusError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", f"dryRun: Unsupported value: {wanted!r}"
        )
    return bool(wanted)
