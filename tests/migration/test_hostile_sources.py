"""Whatever somebody wrote: a resource, or every problem with what to do; never an exception."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.migration.document import yaml_text
from autoscaler.migration.sources import facts_in, imported, read_predecessors
from autoscaler.settings.documents import Document
from tests.migration.test_recipes import RECIPES

SOURCES = [list(yaml.safe_load_all(file.read_text())) for file in sorted(RECIPES.glob("*.yaml"))]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([[], {}, [{}], {"a": 1}, "0", -1, 10**30, "\x1b[31m", "a" * 4000]),
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return found + [each for key, inner in items for each in paths_of(inner, (*path, key))]


def replaced(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    made = copy.deepcopy(value)
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = junk
    return made


@pytest.mark.slow
@given(st.data())
def test_a_part_that_is_anything_else_is_read_or_refused(data):
    source = data.draw(st.sampled_from(SOURCES))
    made = replaced(source, data.draw(st.sampled_from(paths_of(source))), data.draw(JUNK))
    documents = [
        Document(file=Path("f.yaml"), ordinal=number, content=content)
        for number, content in enumerate(made, start=1)
    ]
    problems: list[Any] = []
    for read in read_predecessors(documents, {}, problems):
        result = imported(read, facts_in(documents, read), namespace="", problems=problems)
        assert all(str(note).isprintable() for note in read.notes)
        text = yaml_text(result.predecessor, result.document)
        if not problems:  # else nothing of it is written
            assert all(line.isprintable() for line in text.splitlines())
            assert yaml.safe_load(text)["spec"]["mode"] == "Observe"
    assert all(problem.remedy and str(problem).isprintable() for problem in problems)


def test_what_a_terminal_obeys_is_not_passed_on():
    (source,) = yaml.safe_load_all((RECIPES / "adapter-object-value.yaml").read_text())
    path = ("spec", "metrics", 0, "object", "metric", "name")
    made = replaced(source, path, "\x1b[31m\x1fx" * 500)
    document = Document(file=Path("f.yaml"), ordinal=1, content=made)
    (read,) = read_predecessors([document], {}, [])
    assert all(str(note).isprintable() and len(str(note)) < 1000 for note in read.notes)
    assert any("nobody knows here" in note.said for note in read.notes)
