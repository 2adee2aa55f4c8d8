"""The core is pure: told from its syntax, file by file.

Standard library's pure part, numpy, itself and the errors; no clock, no I/O, no logging, no global
randomness; and none of numpy's exp, log and power, whose last bits differ between the levels of one CPU
architecture (`math` is fine), so that the same events give the same bytes.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "autoscaler" / "core").rglob("*.py"))

PURE_MODULES = {
    "__future__",
    "base64",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "json",
    "math",
    "numpy",
    "numpy.typing",
    "operator",
    "types",
    "typing",
    "zlib",
}
IMPURE_NAMES = {
    "open",
    "print",
    "input",
    "exec",
    "eval",
    "compile",
    "__import__",
    "breakpoint",
    "id",
    "hash",
}
IMPURE_ATTRIBUTES = {
    "random",
    "memmap",
    "fromfile",
    "loadtxt",
    "genfromtxt",
    "save",
    "load",
    "savez",
}
UNSTABLE_FLOATS = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "logaddexp2", "power",
    "float_power", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh",
    "arcsinh", "arccosh", "arctanh", "cbrt", "geomspace", "logspace", "hypot",
}  # fmt: skip


def impurities(source: str) -> list[str]:
    """What in a module's source breaks the rule, as `line: what`."""
    nodes = list(ast.walk(ast.parse(source)))
    return [found for node in nodes for found in (*_imports(node), *_uses(node))]


def _imports(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [f"{node.lineno}: imports {n.name}" for n in names if not _may_import(n.name)]
        case ast.ImportFrom(module=module) if not _may_import(module or ""):
            return [f"{node.lineno}: imports {module}"]
        case ast.ImportFrom(module="numpy", names=names):
            return [f"{node.lineno}: write np.{n.name}, so that it is seen" for n in names]
    return []


def _uses(node: ast.AST) -> list[str]:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in IMPURE_NAMES:
            return [f"{node.lineno}: uses {name}"]
        case ast.Global() | ast.Await() | ast.AsyncFunctionDef():
            return [f"{node.lineno}: {type(node).__name__}"]
        case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr="now" | "utcnow" | "today"):
            return [f"{node.lineno}: reads the clock"]
        case ast.Attribute(value=ast.Name(id="np"), attr=name) if name in UNSTABLE_FLOATS:
            return [f"{node.lineno}: np.{name} gives other bytes on other machines"]
        case ast.Attribute(value=ast.Name(id="np"), attr=name) if name in IMPURE_ATTRIBUTES:
            return [f"{node.lineno}: np.{name}"]
        case ast.BinOp(left=left, op=ast.Pow(), right=right) if not _exact_power(left, right):
            return [f"{node.lineno}: ** may be numpy's power; use math.pow or a product"]
    return []


def _may_import(module: str) -> bool:
    ours = {"autoscaler.core", "autoscaler.errors", "autoscaler.foreign_text"}
    return module in PURE_MODULES | ours or module.startswith("autoscaler.core.")


def _exact_power(left: ast.expr, right: ast.expr) -> bool:
    """A square is a product, and a power of constants is a number."""
    constant = isinstance(left, ast.Constant) and isinstance(right, ast.Constant)
    return constant or (isinstance(right, ast.Constant) and right.value == 2)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_of_the_core_is_pure(path):
    assert impurities(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import asyncio",
        "from logging import getLogger",
        "import random",
        "import msgspec",
        "from autoscaler.kube import client",
        "from datetime import datetime\ndatetime.now()",
        "open('x')",
        "import numpy as np\nnp.random.default_rng()",
        "import numpy as np\nnp.exp(x)",
        "import numpy as np\nnp.log(x)",
        "import numpy as np\nnp.power(x, 3)",
        "from numpy import exp",
        "y = x ** 0.7",
        "async def f(): pass",
        "hash('x')",
    ],
)
def test_the_rule_sees_what_it_forbids(source):
    assert impurities(source)


@pytest.mark.parametrize("source", ["import math\nmath.exp(1.0)", "x = y ** 2", "x = 2.0**20"])
def test_the_rule_lets_pass_what_is_exact(source):
    assert impurities(source) == []


@pytest.mark.slow
def test_hash_seeds_do_not_show():
    """Strings hash differently in each process; an order that came from a set would differ too."""
    told = {
        subprocess.run(
            [sys.executable, "-m", "tests.core.told_bytes"],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(told) == 1
    assert len(told.pop()) == 65
