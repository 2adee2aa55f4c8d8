"""The closed sets of labels, held against the code that gives the words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import autoscaler
from autoscaler.core.contract.events import CommandFinished
from autoscaler.core.contract.reasons import ConditionReason, ConditionType, Reason, StepBy
from autoscaler.core.guards import Guards
from autoscaler.daemon.telemetry import words
from autoscaler.daemon.telemetry.logs import EVENTS
from autoscaler.kube.perform import perform

ROOT = Path(autoscaler.__file__).parent
CAMEL = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def trees(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        top = ROOT / folder
        for path in sorted(top.rglob("*.py") if top.is_dir() else [top]):
            yield path, parsed(path)


def test_every_end_of_a_command_that_the_event_documents_is_a_reason():
    source = (ROOT / "core/contract/events.py").read_text()
    body = source.split("class CommandFinished")[1]
    documented = body.split("reason: str")[1].split('"""')[1]
    assert set(re.findall(r"`(\w+)`", documented)) == set(words.COMMAND_REASONS)
    assert CommandFinished.__dataclass_fields__["reason"].type == "str"


def test_every_reason_that_kube_gives_is_one_of_a_command_that_was_sent():
    given = set(perform._REASONS.values())
    for _, tree in trees("kube"):
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "reason":
                given |= {
                    part.value
                    for part in ast.walk(node.value)
                    if isinstance(part, ast.Constant)
                    and isinstance(part.value, str)
                    and CAMEL.fullmatch(part.value)
                }
    assert given <= set(words.SENT_AND_REFUSED)


@pytest.mark.slow
def test_no_word_of_a_decision_is_written_as_a_bare_string():
    """Everybody takes it from the contract, so that mypy and a search find all who give it."""
    closed = {*Reason, *ConditionType, *ConditionReason} - {"Ready"}
    bare = [
        f"{path.name}:{node.lineno}: {node.value}"
        for path, tree in trees("core")
        if path.name != "reasons.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in closed
    ]
    assert bare == []


@pytest.mark.parametrize("words_of", [Reason, ConditionReason, StepBy])
def test_every_word_of_a_decision_is_given_somewhere(words_of):
    source = "".join(
        path.read_text() for path in (ROOT / "core").rglob("*.py") if path.name != "reasons.py"
    )
    assert [word for word in words_of if f"{words_of.__name__}.{word.name}" not in source] == []


def test_every_guard_has_a_word_in_the_trail():
    guards = Guards()
    asked = [
        *guards.before_stand_ins,
        StepBy.STARTING,
        *guards.remembering,
        *guards.floors,
        *guards.spare,
        *guards.before_budget,
        StepBy.BUDGET,
        *guards.after_budget,
    ]
    assert asked == list(words.ADJUSTMENTS)


def logging_trees() -> Iterator[tuple[Path, ast.Module]]:
    """Of the modules that have a logger."""
    for path in sorted(ROOT.rglob("*.py")):
        if "structlog" in path.read_text():
            yield path, parsed(path)


LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged() -> dict[str, list[str]]:
    """Every event name that any room logs, with the files that do."""
    found: dict[str, list[str]] = {}
    for path, tree in logging_trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = ast.unparse(node.func)
            is_log = called.rpartition(".")[2] in LEVELS or called == "say" or "log." in called
            if not is_log:
                continue
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found.setdefault(part.value, []).append(path.name)
    return {name: files for name, files in found.items() if re.fullmatch(r"[a-z]+\.\w+", name)}


def test_every_event_that_is_logged_is_listed():
    found = logged()
    assert len(found) > 15, "the search has lost its way"
    assert {name: files for name, files in found.items() if name not in EVENTS} == {}


def test_every_listed_event_is_logged_somewhere():
    source = "".join(path.read_text() for path in ROOT.rglob("*.py") if path.name != "logs.py")
    source += (ROOT / "daemon/telemetry/logs.py").read_text().split("_log = ")[1]
    assert [name for name in EVENTS if f'"{name}"' not in source] == []


def test_event_names_are_a_noun_and_a_past_verb():
    assert [name for name in EVENTS if not re.fullmatch(r"[a-z]+\.[a-z]+", name)] == []


def test_no_event_is_put_together_at_run_time():
    """A name that is an f-string can be neither searched for nor listed."""
    bad = [
        f"{path.name}: {ast.unparse(node)}"
        for path, tree in logging_trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith(("_log.", "log."))
        and node.args
        and isinstance(node.args[0], ast.JoinedStr)
    ]
    assert bad == []
