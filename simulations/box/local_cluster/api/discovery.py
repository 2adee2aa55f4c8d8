"""What kubectl asks an API server first: its version, its groups, and what there is in each. No I/O."""

from __future__ import annotations

from simulations.box.local_cluster.objects import RESOURCES, Object

_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale", ["get", "patch", "update"]),
    "eviction": ("policy", "v1", "Eviction", ["create"]),
    "status": ("", "v1", "Pod", ["get", "patch"]),
}


def _answers() -> dict[str, Object]:
    groups: list[Object] = []
    for name, served in sorted({(r.group, r.version) for r in RESOURCES if r.group}):
        version = {"groupVersion": f"{name}/{served}", "version": served}
        groups.append({"name": name, "versions": [version], "preferredVersion": version})
    answers: dict[str, Object] = {
        "/version": {
            "major": "1",
            "minor": "36",
            "gitVersion": "v1.36.0+local-cluster",
            "platform": "simulations/box/local_cluster",
        },
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        "/api/v1": _resource_list("v1"),
    }
    for group in groups:
        path = f"/apis/{group['name']}"
        answers[path] = {"kind": "APIGroup", "apiVersion": "v1", **group}
        for each in group["versions"]:
            answers[f"/apis/{each['groupVersion']}"] = _resource_list(each["groupVersion"])
    return answers


def _resource_list(api_version: str) -> Object:
    rows: list[Object] = []
    for r in RESOURCES:
        if r.api_version != api_version:
            continue
        shared = {"singularName": r.kind.lower(), "namespaced": r.namespaced}
        verbs = ["create", "delete", "get", "list", "patch", "watch"]
        if r.replaced:
            verbs = sorted([*verbs, "update"])
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
        "groupVersion": api_version,
        "resources": rows,
    }


DISCOVERY = _answers()
"""The answers, by path."""
