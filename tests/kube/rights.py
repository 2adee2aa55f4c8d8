"""What `deploy/` grants the daemon: nodes in every namespace, the rest in those that hold models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_ROLES = Path(__file__).parents[2] / "deploy" / "base" / "daemon" / "roles.yaml"


def _rules(name: str) -> list[dict[str, Any]]:
    return next(
        each["rules"]
        for each in yaml.safe_load_all(_ROLES.read_text())
        if each["kind"] == "ClusterRole" and each["metadata"]["name"] == name
    )


OF_NODES = _rules("inference-autoscaler-nodes")
OF_MODELS = _rules("inference-autoscaler-models")
