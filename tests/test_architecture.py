"""One obvious place to add a thing. (Who may import whom: `make check` runs the import contracts.)"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

REGISTRIES = {
    "autoscaler/agent/dialects/__init__.py": {"contract"},
    "autoscaler/core/forecast/experts/registry.py": {"registry"},
    "autoscaler/core/guards/__init__.py": {"contract"},
    "autoscaler/core/policy/__init__.py": {"backlog", "contract", "replica_value"},
    "autoscaler/notices/__init__.py": {
        "azure",
        "coverage",
        "survey",
        "interruptions",
        "mark",
        "rehearse",
    },
    "autoscaler/sources/engines/__init__.py": set(),
    "simulations/peers/rules/registry.py": {"lookahead", "registry"},
    "simulations/traces/formats/registry.py": {"registry"},
}
"""Registry, and the files beside it that are no entry of it: what entries are built on."""


@pytest.mark.parametrize("registry", REGISTRIES)
def test_every_file_of_a_registry_folder_is_registered(registry):
    path = ROOT / registry
    package = ".".join(path.parent.relative_to(ROOT).parts)
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            imported.add((node.module or "").rsplit(".", 1)[1])
    files = {file.stem for file in path.parent.glob("*.py")} - {"__init__"}
    assert files - imported - REGISTRIES[registry] == set(), "not registered"
    assert REGISTRIES[registry] - files == set(), "no file there any more"
