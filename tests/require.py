"""Real parts that a test needs: skip with a reason where one is missing, fail where it is required.

`REQUIRE=prometheus,cluster,chromium` (as `.ci/run` sets it) names the parts that must be there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def require(part: str, present: object, reason: str) -> None:
    """Skip the test unless `present`; fail it where REQUIRE names `part`."""
    if present:
        return
    if part in os.environ.get("REQUIRE", "").split(","):
        pytest.fail(f"{part} is required here (REQUIRE) but missing: {reason}")
    pytest.skip(f"no {part}: {reason}")


def traces_folder() -> Path:
    """The folder of recorded traces: TRACES, or a sibling checkout's; skips where there is none."""
    folder = Path(os.environ.get("TRACES", ROOT.parent / "shared" / "traces"))
    require("traces", folder.is_dir(), f"no folder {folder}; set TRACES to one")
    return folder


def fixtures_folder() -> Path:
    """The folder of recorded runs and decisions: FIXTURES, or a sibling's; skips without one."""
    folder = Path(os.environ.get("FIXTURES", ROOT.parent / "shared" / "fixtures"))
    require("fixtures", folder.is_dir(), f"no folder {folder}; set FIXTURES to one")
    return folder
