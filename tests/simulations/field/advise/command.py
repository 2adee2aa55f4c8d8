"""The command as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def advise(url: str, *more: str, until: float, since: str) -> tuple[int, str, str]:
    """In a process of its own: (exit code, stdout, stderr)."""
    command = [sys.executable, "-m", "autoscaler.cli", "advise", "--prometheus", url]
    command += ["--until", moment(until)]
    if "--since" not in more:
        command += ["--since", since]
    done = subprocess.run(
        [*command, "--jobs", "1", *more], capture_output=True, text=True, check=False, timeout=350
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr
