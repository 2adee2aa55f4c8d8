"""Whatever stands in a configuration, it is refused by the document, in words; the other models go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoscaler.errors import SpecProblem
from autoscaler.settings import Config, SpecError, load_config, read_config, to_fleet
from autoscaler.settings.documents import PROBLEMS_MAX, SETTINGS, FileLimits, read_documents
from autoscaler.settings.yaml_text import (
    DOCUMENT_NODES,
    Allowance,
    RefusedYamlError,
    load_documents,
)
from tests.extent import examples
from tests.test_settings import document

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
)
MERGES = "\n".join(
    ["m0: &m0 {k: 1}"]
    + [f"m{n}: &m{n} {{a: {{<<: *m{n - 1}}}, b: {{<<: *m{n - 1}}}}}" for n in range(1, 30)]
)


def named(name: str, **spec: Any) -> dict[str, Any]:
    made = document(**spec)
    made["metadata"]["name"] = name
    for pool in made["spec"]["pools"]:
        pool["scaleTargetRef"]["name"] += f"-{name}"
    return made


def text_of(*documents: dict[str, Any] | str) -> str:
    return "---\n".join(
        each if isinstance(each, str) else yaml.safe_dump(each) for each in documents
    )


def keys(config: Config) -> list[str]:
    return [resource.metadata.name for resource in config.resources]


ROWS = [
    pytest.param("x: !!bool maybe", "the tag", id="a boolean that is none"),
    pytest.param("x: !!int maybe", "the tag", id="an integer that is none"),
    pytest.param("x: !!timestamp maybe", "the tag", id="a moment that is none"),
    pytest.param("x: !!binary '!'", "the tag", id="binary"),
    pytest.param("x: !!python/object/apply:os.system [id]", "the tag", id="python"),
    pytest.param("!!set {a}", "the tag", id="a set"),
    pytest.param(f"x: {'9' * 5000}", "an integer of 5000 digits", id="5,000 digits"),
    pytest.param(f"x: -{'9' * 19}", "an integer of 19 digits", id="19 digits"),
    pytest.param(f"{'9' * 500}: x", "an integer of 500 digits", id="as a key"),
    pytest.param(
        f"x: {'[' * 1500}{']' * 1500}",
        "values within each other",
        id="1,500 lists",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        f"x: {'{a: ' * 1500}{'}' * 1500}", "values within each other", id="1,500 mappings"
    ),
    pytest.param("\n".join(f"{' ' * n}a:" for n in range(200)), "within each other", id="indented"),
    pytest.param(LAUGHS, "aliases written out", id="a billion laughs"),
    pytest.param(MERGES, "more than", id="merges of merges"),
    pytest.param("x: &x [*x]", "contains itself", id="an alias of itself"),
    pytest.param("x: *y", "undefined alias", id="an alias of nothing"),
    pytest.param("x: [", "expected the node content", id="no YAML"),
    pytest.param("? [a]\n: b", "unhashable", id="a list as a key"),
    pytest.param("x: .5e999", "JSON cannot hold", id="no number"),
    pytest.param("x: \x1b[2J", "the character", id="an escape"),
]


@pytest.mark.parametrize(("junk", "words"), ROWS)
def test_a_document_that_cannot_be_read_leaves_the_others(tmp_path: Path, junk: str, words: str):
    path = tmp_path / "config.yaml"
    path.write_text(text_of(named("a"), junk + "\n", named("b")))
    config = read_config(path)
    assert keys(config) == ["a", "b"]
    assert any(words in str(problem) for problem in config.problems)
    for problem in config.problems:
        assert str(problem).isprintable()
        assert len(str(problem)) < 1000
    with pytest.raises(SpecError, match=r"config\.yaml"):
        load_config(path)


def test_the_line_is_that_of_the_file(tmp_path: Path):
    path = tmp_path / "config.yaml"
    first = text_of(named("a"))
    path.write_text(f"{first}---\nok: 1\nx: !!bool maybe\n")
    (problem,) = read_config(path).problems
    assert problem.path.endswith(f": line {first.count(chr(10)) + 3}")


def test_what_only_looks_like_a_marker_splits_nothing(tmp_path: Path):
    path = tmp_path / "config.yaml"
    made = named("a")
    made["metadata"]["annotations"] = {"note": "a\n ---\n--- b\n---x\n"}
    path.write_text(f"%YAML 1.2\n# first\n---\n{yaml.safe_dump(made)}...\n---\n# nothing\n---\n")
    config = read_config(path)
    assert config.problems == ()
    assert keys(config) == ["a"]


# -- by document: the last good one stays


def test_a_refused_document_keeps_its_model_and_frees_the_others(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text(text_of(named("a"), named("b")))
    last = read_config(path)
    path.write_text(text_of(named("a", maxReplicas=0), named("b", maxReplicas=20), named("c")))
    config = read_config(path, last=last)
    assert keys(config) == ["a", "b", "c"]
    assert [each.spec.max_replicas for each in config.resources] == [10, 20, 10]
    assert len(config.problems) == 1
    path.write_text(text_of(named("a", maxReplicas=5), named("b", maxReplicas=20)))
    mended = read_config(path, last=config)
    assert keys(mended) == ["a", "b"]
    assert mended.problems == ()
    assert mended.resources[0].spec.max_replicas == 5


@pytest.mark.parametrize("junk", ["a: [", "x: !!bool maybe", "\xff", "- a"])
def test_one_that_does_not_say_whose_it_is_keeps_all_models_of_its_file(tmp_path: Path, junk: str):
    mine, theirs = tmp_path / "mine.yaml", tmp_path / "theirs.yaml"
    mine.write_text(text_of(named("a"), named("b")))
    theirs.write_text(text_of(named("c")))
    last = read_config(tmp_path)
    mine.write_bytes(text_of(named("a", maxReplicas=7), junk).encode("latin-1"))
    theirs.write_text(text_of(named("d")))
    config = read_config(tmp_path, last=last)
    assert keys(config) == ["a", "b", "d"], "c was taken away on purpose"
    assert config.problems


def test_a_file_that_is_taken_away_takes_its_models(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(text_of(named("a")))
    (tmp_path / "b.yaml").write_text(text_of(named("b")))
    last = read_config(tmp_path)
    (tmp_path / "b.yaml").unlink()
    assert keys(read_config(tmp_path, last=last)) == ["a"]
    (tmp_path / "a.yaml").unlink()
    config = read_config(tmp_path, last=last)
    assert keys(config) == ["a", "b"], "an empty folder is a mistake, not a wish"
    assert config.problems


@pytest.mark.parametrize("same", ["name", "target"])
def test_whoever_claims_what_is_in_use_is_refused(tmp_path: Path, same: str):
    (tmp_path / "m.yaml").write_text(text_of(named("a")))
    last = read_config(tmp_path)
    theirs = named("a" if same == "name" else "thief", maxReplicas=99)
    if same == "target":
        theirs["spec"]["pools"] = named("a")["spec"]["pools"]
    (tmp_path / "0.yaml").write_text(text_of(theirs))
    config = read_config(tmp_path, last=last)
    assert keys(config) == ["a"]
    assert config.problems
    if same == "target":
        assert config.resources[0].spec.max_replicas == 10
        (tmp_path / "m.yaml").write_text(text_of(named("a", maxReplicas=0)))
        config = read_config(tmp_path, last=last)
        assert keys(config) == ["a"], "also while its own document is refused"


@pytest.mark.parametrize("junk", [named("b", maxReplicas=0), "a: [", "- a"])
def test_a_model_that_was_refused_from_the_start_is_missing_until_it_is_mended(
    tmp_path: Path, junk: Any
):
    """Whoever began without it does not know what it has."""
    path = tmp_path / "config.yaml"
    path.write_text(text_of(named("a"), junk))
    config = read_config(path)
    assert (keys(config), config.complete) == (["a"], False)
    path.write_text(text_of(named("a", maxReplicas=7), junk))
    config = read_config(path, last=config)
    assert not config.complete
    assert to_fleet(config.resources, gpu_budget=None, complete=False).complete is False
    path.write_text(text_of(named("a"), named("b")))
    config = read_config(path, last=config)
    assert (keys(config), config.complete) == (["a", "b"], True)
    path.write_text(text_of(named("a"), junk))
    config = read_config(path, last=config)
    assert (keys(config), config.complete) == (["a", "b"], True), "it stays in use"
    path.write_text(text_of(named("a"), named("b"), named("c", maxReplicas=0)))
    assert read_config(path, last=config).complete, "what was never in use has nothing of ours"


@pytest.mark.parametrize(("broken", "taker"), [("a", "b"), ("b", "a")])
def test_who_claims_the_target_of_one_that_is_refused_stays_as_it_was(
    tmp_path: Path, broken: str, taker: str
):
    """Both were in use: neither the slip of the one nor the claim of the other ends a model."""
    path = tmp_path / "config.yaml"
    path.write_text(text_of(named("a"), named("b")))
    last = read_config(path)
    claims = named(taker, maxReplicas=7)
    claims["spec"]["pools"] = named(broken)["spec"]["pools"]
    path.write_text(text_of(claims, named(broken, maxReplicas=0)))
    config = read_config(path, last=last)
    assert config.resources == last.resources
    assert config.complete
    assert set(config.refused) == {f"serving/{broken}", f"serving/{taker}"}


# -- files


def test_what_is_no_file_of_settings(tmp_path: Path):
    (tmp_path / "good.yaml").write_text(text_of(named("a")))
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    (tmp_path / "utf16.yaml").write_bytes(text_of(named("b")).encode("utf-16"))
    (tmp_path / "bom.yaml").write_bytes(text_of(named("c")).encode("utf-8-sig"))
    config = read_config(tmp_path)
    assert keys(config) == ["a", "c"]
    told = sorted(Path(problem.path).name for problem in config.problems)
    assert told == ["huge.yaml", "utf16.yaml"]


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "huge", "missing"])
def test_named_by_itself_it_is_told(tmp_path: Path, kind: str):
    path = tmp_path / "config.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(SETTINGS.bytes_max + 1)
    (problem,) = read_config(path).problems
    assert problem.path == str(path)


SMALL = FileLimits(bytes_max=10_000, document_nodes_max=50, file_nodes_max=120)


@pytest.mark.parametrize(
    "junk",
    ["x: [" + "1," * 1000 + "]", "- 1\n" * 1000, "? " * 60, "[" + "".join(f"&a{n} 1," for n in range(100)) + "]", "[" + "[]," * 60 + "]"],
    ids=["a list", "lines", "keys", "anchors", "empty lists"],
)  # fmt: skip
def test_values_are_counted_as_they_are_read(tmp_path: Path, junk: str):
    """Not when all are there: what half a million of them cost would have been paid by then."""
    allowance = Allowance(document_nodes=50, file_nodes=120)
    with pytest.raises(RefusedYamlError, match="more than 50 values"):
        list(load_documents(junk, allowance))
    assert allowance.left == 120 - DOCUMENT_NODES - 51
    path = tmp_path / "config.yaml"
    path.write_text(text_of("a: 1\n", f"{junk}\n", "b: 2\n"))
    problems: list[SpecProblem] = []
    documents = read_documents(path, problems, limits=SMALL)
    assert [document.content for document in documents] == [{"a": 1}, {"b": 2}]
    assert len(problems) == 1


def test_many_documents_within_the_limit_do_not_add_up_to_more_than_a_file_has(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text(text_of(*["[" + "1," * 40 + "]\n"] * 50))
    problems: list[SpecProblem] = []
    assert len(read_documents(path, problems, limits=SMALL)) == 2
    assert [problem.found for problem in problems] == [
        "a file of more than 120 values, aliases written out",
        "more that is not read",
    ]


def test_documents_with_nothing_in_them_have_an_end_too(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("---\n" * 1000)
    problems: list[SpecProblem] = []
    assert read_documents(path, problems, limits=SMALL) == []
    assert [problem.found for problem in problems] == [
        "a file of more than 120 values, aliases written out",
        "more that is not read",
    ]


def test_what_is_told_of_a_file_has_an_end(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("--- [\n" * 400)
    config = read_config(path)
    assert len(config.problems) == PROBLEMS_MAX + 1
    assert config.problems[-1].path.endswith(f": line {PROBLEMS_MAX + 1}")


# -- anything at all

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from([10**18, -1, "9" * 5000, "\x7f\u202e", "true", "1e9", "0x10", "²"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
PATHS = [
    ("metadata",),
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("metadata", "annotations"),
    ("spec",),
    ("spec", "pools"),
    ("spec", "pools", 0),
    ("spec", "pools", 0, "name"),
    ("spec", "pools", 0, "scaleTargetRef"),
    ("spec", "pools", 0, "scaleTargetRef", "name"),
    ("spec", "pools", 0, "priceUSDPerHour"),
    ("spec", "pools", 0, "capacityType"),
    ("spec", "maxReplicas"),
    ("spec", "warmFloor"),
    ("spec", "metrics"),
    ("spec", "behavior"),
    ("kind",),
    ("apiVersion",),
]


@given(path=st.sampled_from(PATHS), value=VALUES)
@settings(
    max_examples=examples(day=15, night=2000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_value_at_any_place_leaves_the_other_document(tmp_path: Path, path: Any, value: Any):
    made: Any = named("a")
    holder = made
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    file = tmp_path / "config.yaml"
    file.write_text(text_of(yaml.dump(made, allow_unicode=True), named("b")), "utf-8", "replace")
    config = read_config(file)
    assert "b" in keys(config)
    for problem in config.problems:
        assert str(problem).isprintable()
        assert len(str(problem)) < 1500


@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
@settings(
    max_examples=examples(day=40, night=5000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_text_is_a_configuration_or_problems(tmp_path: Path, text: str):
    file = tmp_path / "config.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    config = read_config(file)
    assert config.problems
    assert all(str(problem).isprintable() for problem in config.problems)
