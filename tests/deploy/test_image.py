"""The Dockerfile, read: there is no Docker daemon where this runs, but what can go wrong is on the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.require import ROOT

LOCK = ROOT / "locks/daemon.txt"


def instructions() -> list[tuple[str, str]]:
    """Return (instruction, arguments) with continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text())
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word
    ]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def test_there_are_two_stages_and_the_last_takes_only_what_was_built():
    build, final = stages()
    assert build[0][1].endswith("AS build")
    assert all(word != "RUN" for word, _ in final)
    assert [rest for word, rest in final if word == "COPY"] == [
        "--from=build /opt/autoscaler /opt/autoscaler"
    ]


def test_it_runs_as_nobody_by_number():
    # By number: the kubelet cannot tell whether a name is root, and refuses runAsNonRoot.
    (user,) = (rest for word, rest in stages()[1] if word == "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert ("ENTRYPOINT", '["autoscaler"]') in stages()[1]


def ignored() -> tuple[set[str], list[str]]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    return {rule[1:] for rule in rules if rule.startswith("!")}, rules


def test_what_it_copies_is_there_and_let_through():
    kept, rules = ignored()
    assert rules[0] == "*"
    sources = {
        source for word, rest in stages()[0] if word == "COPY" for source in rest.split()[:-1]
    }
    assert sources == kept
    for source in sources:
        assert (ROOT / source).exists(), source


def test_the_image_has_the_daemon_and_not_what_replays_traces():
    copied = [rest for stage in stages() for word, rest in stage if word == "COPY"]
    assert not any("simulations" in rest for rest in copied)
    assert not {"requests", "dateparser", "prometheus-api-client"} & _names(LOCK.read_text())


def test_what_the_image_has_runs_without_the_rest(tmp_path: Path):
    """As the Dockerfile installs it: the package alone beside its dependencies."""
    shutil.copytree(ROOT / "autoscaler", tmp_path / "autoscaler")
    code = (
        "import sys; sys.modules['simulations'] = None\n"
        "from autoscaler.cli import _exit_code\n"
        "import autoscaler; assert autoscaler.__file__.startswith(sys.argv[1])\n"
        "print(_exit_code(['run', '--help']), _exit_code(['demo']))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert ran.stdout.splitlines()[-1] == "0 2", ran.stderr
    assert "this image has the daemon alone" in ran.stderr


def test_the_base_can_be_named_by_its_digest():
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
    bases = [stage[0][1].split()[0] for stage in stages()]
    assert bases == ["${BASE}", "${BASE}"]
    assert arguments["BASE"].startswith("python:")


def test_dependencies_are_those_of_the_lock_with_their_hashes():
    (install,) = (rest for word, rest in stages()[0] if word == "RUN" and "-r locks" in rest)
    for flag in ("--require-hashes", "--no-deps", "--only-binary=:all:"):
        assert flag in install
    assert "-r locks/daemon.txt" in install


def _names(text: str) -> set[str]:
    return {
        name.lower().replace("_", "-") for name in re.findall(r"(?m)^([A-Za-z0-9_.-]+)==", text)
    }


def test_the_lock_has_every_dependency_of_the_daemon_and_none_of_the_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = _names(LOCK.read_text())

    def wanted(requirements: list[str]) -> set[str]:
        return {
            match[0].lower().replace("_", "-")
            for requirement in requirements
            if (match := re.match(r"[A-Za-z0-9_.-]+", requirement))
        }

    assert wanted(project["dependencies"]) <= locked
    extras = project["optional-dependencies"]
    for extra in ("simulate", "report", "ray", "advise"):
        assert not wanted(extras[extra]) & locked, extra


def test_what_the_image_is_made_of_is_held_against_advisories():
    text = (ROOT / ".github/workflows/advisories.yaml").read_text()
    workflow = yaml.safe_load(text.replace("\non:", "\nwhen:"))
    assert workflow["when"]["schedule"]
    assert workflow["when"]["pull_request"]["paths"] == [f"{LOCK.parent.name}/**"]
    steps = [step.get("run", "") for step in workflow["jobs"]["audit"]["steps"]]
    (audit,) = [step for step in steps if step.startswith("pip-audit ")]
    assert audit.endswith(f"-r {LOCK.relative_to(ROOT)}")
    # without either, what cannot be looked up passes, or other versions are looked up
    assert {"--strict", "--require-hashes"} <= set(audit.split())


@pytest.mark.parametrize("path", ["Dockerfile", "locks/daemon.txt"])
def test_no_package_index_is_named(path: str):
    assert not re.search(r"--(extra-)?index-url|--find-links|https?://", (ROOT / path).read_text())
