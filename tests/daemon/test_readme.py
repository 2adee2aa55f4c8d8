"""The tables in the room's README are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from autoscaler.core.contract.reasons import ConditionType
from autoscaler.daemon.telemetry.logs import EVENTS
from autoscaler.daemon.telemetry.metrics import TABLE

README = Path(__file__).parents[2] / "autoscaler/daemon/README.md"


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading, without its head."""
    text = README.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_metrics():
    written = [
        [
            f"`{row.name}`",
            row.kind,
            ", ".join(f"`{label}`" for label in row.labels),
            row.help,
        ]
        for row in TABLE
    ]
    assert rows("Metrics") == written


def test_conditions():
    assert [row[0] for row in rows("Conditions")] == [f"`{each}`" for each in ConditionType]


def test_log_events():
    assert rows("Log events") == [[f"`{name}`", what] for name, what in EVENTS.items()]


def test_every_module_is_in_the_list():
    listed = set(re.findall(r"`(\w+\.py)`", README.read_text()))
    modules = {path.name for path in README.parent.glob("*.py")} - {"__init__.py"}
    assert modules - listed == set()
