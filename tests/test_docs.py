"""The documents name what is there: files, functions, links, make targets; and the picture is up to date."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections import Counter
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

from tests.builders import ON_DEMAND, group, model, notice, on_demand, spot
from tests.expect import Scenario

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WALKS = sorted((DOCS / "walks").glob("*.md"))
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / "autoscaler").rglob("*.md"),
        *(ROOT / "simulations").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *(ROOT / "tests").rglob("*.md"),
    }
)
VISITS_MAX = 2
"""Of one module in one walk."""
TREES = ("autoscaler/", "simulations/", "deploy/", "docs/", "tests/", "locks/", ".ci/", ".github/")

_NAMED = re.compile(r"`([\w/.-]+\.py):([\w.]+)`")
_WALKED = re.compile(r"^\d+\. `([\w/.-]+\.py):([\w.]+)`", re.MULTILINE)
_PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)+/?)`")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_MAKE = re.compile(r"\bmake ([a-z0-9][a-z0-9-]*)(?=[`\s,.;:)]|$)")


def by_path(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def names_of(path: Path) -> set[str]:
    """What a module defines: functions, classes, `Class.method`, and names that are assigned."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{part.name}"
                for part in node.body
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_a_function_that_is_named_is_there(page):
    missing = [
        f"{path}:{name}"
        for path, name in _NAMED.findall(page.read_text())
        if not (ROOT / path).is_file() or name not in names_of(ROOT / path)
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_a_path_of_the_repository_that_is_named_is_there(page):
    missing = [
        path
        for path in _PATH.findall(page.read_text())
        if path.startswith(TREES) and "NAME" not in path and not (ROOT / path).exists()
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_a_link_leads_somewhere(page):
    targets = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    missing = [link for link in targets if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("walk", WALKS, ids=by_path)
def test_a_walk_passes_a_module_at_most_twice(walk):
    modules = [path for path, _ in _WALKED.findall(walk.read_text())]
    assert len(modules) > 10
    visits = Counter(module for module, _ in groupby(modules))
    often = {module: count for module, count in visits.items() if count > VISITS_MAX}
    assert not often


@pytest.mark.parametrize("name", ["sample-to-put", "notice-to-eviction"])
def test_a_tick_passes_the_core_in_the_order_of_the_walk(name):
    """Of the steps in the core, those that one tick with a notice calls; some belong to another tick."""
    calls: list[str] = []

    def note(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            calls.append(f"{by_path(path)}:{frame.f_code.co_qualname}")

    fleet = model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, cold_start_s=60.0)
    doomed = group("spot", ready=2, node="s1", name="x")
    story = Scenario(fleet)
    sys.setprofile(note)
    try:
        story.look(
            100.0,
            group(ready=1),
            group("spot", ready=1),
            doomed,
            wants=4,
            interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
        )
    finally:
        sys.setprofile(None)
    walk = (DOCS / "walks" / f"{name}.md").read_text()
    steps = [f"{path}:{function}" for path, function in _WALKED.findall(walk)]
    called = list(dict.fromkeys(step for step in steps if step in calls))
    assert len(called) >= 9
    assert called == sorted(called, key=calls.index)


@pytest.mark.parametrize("walk", WALKS, ids=by_path)
def test_the_steps_of_a_walk_are_numbered_without_gaps(walk):
    numbers = [int(n) for n in re.findall(r"^(\d+)\. `", walk.read_text(), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_page_of_the_documents_is_in_their_index():
    index = (DOCS / "README.md").read_text()
    pages = {by_path(page).removeprefix("docs/") for page in DOCS.rglob("*.md")} - {"README.md"}
    assert pages - set(_LINK.findall(index)) == set()


def test_a_make_target_that_is_named_is_there():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for code in re.findall(r"`make [^`]*`|^    make .*$", page.read_text(), re.MULTILINE)
        for target in _MAKE.findall(code)
    }
    assert named - targets == set()


def test_the_picture_of_the_rooms_is_that_of_the_import_contracts():
    spec = importlib.util.spec_from_file_location("picture", DOCS / "picture.py")
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    drawn = picture.draw((ROOT / "pyproject.toml").read_text())
    assert picture.PICTURE.read_text() == drawn, "run `python docs/picture.py`"
