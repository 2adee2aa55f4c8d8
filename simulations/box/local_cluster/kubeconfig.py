"""A kubeconfig that names this cluster, for the real clients."""

from __future__ import annotations

from pathlib import Path

import yaml


def write_kubeconfig(path: Path, *, url: str, namespace: str = "default") -> Path:
    """Write one context without credentials: plain HTTP on loopback asks for none."""
    name = "local-cluster"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}
        ],
        "current-context": name,
        "preferences": {},
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    path.chmod(0o600)
    return path
