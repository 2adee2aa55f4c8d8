"""One meaning a word: what the glossary refuses stands nowhere, and a class's name stands once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
PRODUCT = ("autoscaler", "simulations", "deploy", "docs")
"""Folders whose names, comments and sentences are held to the glossary; the pages at the root too."""
KINDS = {".py", ".md", ".yaml", ".toml", ".html"}

EXCEPTIONS = {
    ("level", "autoscaler/cli/daemon.py"): "of the log",
    ("level", "autoscaler/daemon/telemetry/logs.py"): "of the log",
    ("level", "autoscaler/daemon/recording/segments.py"): "of the compression",
    ("recommendation", "autoscaler/agent/"): "AWS's path of a notice that is only a risk",
    ("recommendation", "autoscaler/notices/azure.py"): "Azure's name of an advice",
    ("recommendation", "autoscaler/notices/events.py"): "AWS's name of a risk",
    ("recommendation", "autoscaler/notices/node_marks.py"): "AWS's name of a risk",
    ("recommendation", "autoscaler/core/hindsight/"): "HPA's memory, by its name there",
    ("recommendation", "autoscaler/core/hpa.py"): "HPA's word for what it remembers",
    (
        "recommendation",
        "autoscaler/core/guards/stabilization.py",
    ): "HPA's memory, by its name there",
    ("scale in", "autoscaler/migration/scaled_object.py"): "KEDA's name of a pause",
    ("scale out", "autoscaler/migration/scaled_object.py"): "KEDA's name of a pause",
}
"""(word, where): why it may stand there. What is not used any more fails."""
PEERS = "simulations/peers/"
"""A peer's rule is written in its authors' words."""

SAME_NAME: dict[str, str] = {}
"""Classes whose name stands twice, and why."""

_ENTRY = re.compile(r"`([^`]+)`(?: in `([^`]+)`)?")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_CLASS = re.compile(r"^ *class ([A-Z]\w*)[(:\[]", re.MULTILINE)


class RefusedWord(NamedTuple):
    """A word of the glossary's last column."""

    word: str
    where: str
    """The beginning of the paths where it is refused; empty: everywhere."""

    def pattern(self) -> re.Pattern[str]:
        """Match it as a word of its own, in singular or plural, also inside a name."""
        parts = r"[\s_-]+".join(re.escape(part) for part in self.word.lower().split())
        return re.compile(rf"(?<![a-z]){parts}(?:e?s)?(?![a-z])")


def refused_words(text: str) -> list[RefusedWord]:
    """Read the words in code type from the last column of every table with a column `not`."""
    found = []
    in_table = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            in_table = False
        elif cells[-1] == "not":
            in_table = True
        elif in_table:
            found += [RefusedWord(word, where) for word, where in _ENTRY.findall(cells[-1])]
    return sorted(set(found))


def product_files() -> Iterator[Path]:
    yield from sorted(path for path in ROOT.glob("*.md"))
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in KINDS and path != GLOSSARY:
                yield path


def spread(line: str) -> str:
    """Lower case, in which the words of a CamelCase name stand apart."""
    return _HUMP.sub("_", line).lower()


def uses() -> Iterator[tuple[RefusedWord, str, int]]:
    words = [(refused, refused.pattern()) for refused in refused_words(GLOSSARY.read_text())]
    for path in product_files():
        where = path.relative_to(ROOT).as_posix()
        if where.startswith((PEERS, "simulations/SCOREBOARD")):
            continue  # the pages name the peers' settings
        text = path.read_text()
        lower = text.lower()
        for refused, pattern in words:
            first = refused.word.lower().split()[0]
            if first not in lower or not where.startswith(refused.where):
                continue  # almost always
            for number, line in enumerate(text.splitlines(), start=1):
                if first in line.lower() and pattern.search(spread(line)):
                    yield refused, where, number


def test_no_word_stands_that_the_glossary_refuses():
    excused = set()
    wrong = []
    for refused, where, number in uses():
        allowed = [key for key in EXCEPTIONS if key[0] == refused.word and where.startswith(key[1])]
        excused.update(allowed)
        if not allowed:
            wrong.append(f"{where}:{number}: {refused.word}")
    assert not wrong, "refused by docs/glossary.md:\n" + "\n".join(wrong)
    assert EXCEPTIONS.keys() - excused == set(), "exceptions that nothing needs any more"


@pytest.mark.parametrize(
    ("line", "word", "matches"),
    [
        ("class MiddlewareChain:", "middleware", True),
        ("min_idle = 3", "min idle", True),
        ("a deadband's width", "deadband", True),
        ("snapshots are kept", "snapshot", True),
        ("def level_of(x):", "level", True),
        ("leveled ground", "level", False),
        ("translate", "SLA", False),
        ("the SLA of a team", "SLA", True),
    ],
)
def test_a_word_is_found_as_a_word_of_its_own(line, word, matches):
    assert bool(RefusedWord(word, "").pattern().search(spread(line))) is matches


def test_only_words_in_code_type_of_the_last_column_are_refused():
    table = "| term | not |\n|---|---|\n| a `b` | `c d`, e, `f` in `g/` |\n\n| x | y |\n|---|---|\n| 1 | `z` |"
    assert refused_words(table) == [RefusedWord("c d", ""), RefusedWord("f", "g/")]


def test_a_class_name_stands_once():
    places = defaultdict(list)
    for top in ("autoscaler", "simulations"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for name in _CLASS.findall(path.read_text()):
                places[name].append(path.relative_to(ROOT).as_posix())
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert twice.keys() - SAME_NAME.keys() == set(), twice
    assert SAME_NAME.keys() - twice.keys() == set(), "names that stand once now"


def test_that_the_core_is_pure_is_said_once():
    """`tests/core/test_purity.py` holds it; a docstring that repeats it says nothing."""
    said = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "autoscaler").rglob("*.py"))
        if "no i/o" in path.read_text().lower()
    ]
    assert said == ["autoscaler/core/__init__.py"]
