"""From a request's method and path to what it is about, as RBAC names it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from simulations.box.local_cluster.objects import RESOURCES, ApiKind, StatusError

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTarget:
    """What a request is about."""

    verb: str
    """get, list, watch, create, update, patch, delete."""
    resource: ApiKind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def full_resource(self) -> str:
        """`pods`, or `pods/eviction`, as roles name it."""
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural


def is_true(text: str) -> bool:
    """A boolean in a query, as Go parses it; kubernetes_asyncio writes `True`."""
    return text in {"1", "t", "T", "true", "TRUE", "True"}


def parse(method: str, path: str, *, watch: bool) -> RequestTarget:
    """Of a path under /api/v1 or /apis/GROUP/VERSION; raises 404 and 405."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise _unknown_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    resource = next(
        (r for r in RESOURCES if (r.group, r.version, r.plural) == (group, version, plural)), None
    )
    if resource is None or len(rest) > 3:
        raise _unknown_path()
    if subresource and subresource not in resource.subresources:
        raise _unknown_path()
    return RequestTarget(
        verb=_verb(method, named=bool(name), watch=watch, subresource=subresource),
        resource=resource,
        namespace=namespace,
        name=name,
        subresource=subresource,
    )


def _verb(method: str, *, named: bool, watch: bool, subresource: str) -> str:
    if method in {"GET", "HEAD"}:
        if watch:
            return "watch"
        return "get" if named else "list"
    verb = _VERBS.get(method)
    creates_wrongly = verb == "create" and named and subresource != "eviction"
    updates_wrongly = verb == "update" and subresource != "scale"
    if (
        verb is None
        or creates_wrongly
        or updates_wrongly
        or (verb != "create" and not named)
        or (subresource == "eviction" and verb != "create")
    ):
        raise StatusError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    return verb


def _unknown_path() -> StatusError:
    return StatusError(
        HTTPStatus.NOT_FOUND, "NotFound", "the server could not find the requested resource"
    )


def discovery(path: str) -> dict[str, object] | None:
    """The answer to /version, /api, /apis and their resource lists; None for other paths."""
    groups = sorted({r.group for r in RESOURCES if r.group})
    if path == "/version":
        return {
            "major": "1",
            "minor": "36",
            "gitVersion": "v1.36.0+local-cluster",
            "platform": "simulations/box/local_cluster",
        }
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [_group(group) for group in groups],
        }
    for group_version in sorted({r.api_version for r in RESOURCES}):
        prefix = "/apis" if "/" in group_version else "/api"
        if path == f"{prefix}/{group_version}":
            return _resource_list(group_version)
    for group in groups:
        if path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
    return None


def _group(group: str) -> dict[str, object]:
    versions = [
        {"groupVersion": r.api_version, "version": r.version}
        for r in {r.version: r for r in RESOURCES if r.group == group}.values()
    ]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale", ["get", "patch", "update"]),
    "eviction": ("policy", "v1", "Eviction", ["create"]),
    "status": ("", "v1", "Pod", ["get", "patch"]),
}


def _resource_list(group_version: str) -> dict[str, object]:
    rows: list[dict[str, object]] = []
    for r in RESOURCES:
        if r.api_version != group_version:
            continue
        shared = {"singularName": r.kind.lower(), "namespaced": r.namespaced}
        verbs = ["create", "delete", "get", "list", "patch", "watch"]
        short_names = [r.short] if r.short else []
        rows.append(
            {"name": r.plural, "kind": r.kind, "verbs": verbs, "shortNames": short_names, **shared}
        )
        for subresource in sorted(r.subresources):
            name = f"{r.plural}/{subresource}"
            group, version, kind, verbs = _SUBRESOURCE_KINDS[subresource]
            about = {"group": group, "version": version, "kind": kind, "verbs": verbs}
            rows.append({"name": name, **shared, **about})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": rows,
    }
