"""The daemon's recording, out of its pod, and what it says about a node that went."""

from __future__ import annotations

import io
import json
import math
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoscaler.daemon.recording.segments import EventLine, read_lines, segment_files
from tests.e2e.daemon import NAMESPACE, Daemon
from tests.e2e.kubectl import wait_until

RECORDINGS = "/var/lib/inference-autoscaler"


async def fetch_recording(daemon: Daemon, folder: Path) -> Path:
    """Copy the recording of the running daemon's pod; the open segment as far as it was flushed."""
    pod = await wait_until("the daemon runs", daemon.pod, timeout_s=60)
    name = pod["metadata"]["name"]
    archive = subprocess.run(
        [
            "kubectl",
            "exec",
            "-n",
            NAMESPACE,
            name,
            "--",
            "tar",
            "-C",
            RECORDINGS,
            "-cf",
            "-",
            ".",
        ],
        capture_output=True,
        check=True,
        timeout=120,
    ).stdout
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Events with their outcomes, in the order in which they were handled."""

    lines: tuple[tuple[dict[str, Any], dict[str, Any]], ...]

    @classmethod
    def read(cls, folder: Path) -> Recorded:
        """All segments of a folder."""
        return cls(
            lines=tuple(
                (json.loads(bytes(line.event)), json.loads(bytes(line.outcome)))
                for file in segment_files(folder)
                for line in read_lines(file)
                if isinstance(line, EventLine)
            )
        )

    def between(self, began: float, ended: float) -> Recorded:
        """Those of that time, seconds since the epoch."""
        return Recorded(lines=tuple(line for line in self.lines if began <= line[0]["at"] <= ended))

    def interruptions(self, node: str) -> list[tuple[float, dict[str, Any]]]:
        """What was observed of a node that goes, with the moment, once for each observation."""
        return [
            (event["at"], each)
            for event, _ in self.lines
            if event["kind"] == "Observed"
            for each in event["interruptions"]
            if each["node"] == node
        ]

    def steps(self, reason: str) -> list[tuple[float, str]]:
        """The steps of the trails with that reason: moment, and message."""
        return [
            (decision["at"], step["message"])
            for _, outcome in self.lines
            for decision in outcome["decisions"]
            for step in decision["trail"]
            if step["reason"] == reason
        ]

    def conditions(self, reason: str) -> list[str]:
        """The messages of the conditions with that reason."""
        return [
            condition["message"]
            for _, outcome in self.lines
            for decision in outcome["decisions"]
            for condition in decision["conditions"]
            if condition["reason"] == reason
        ]

    def commands(self, *kinds: str) -> list[dict[str, Any]]:
        """The commands of these kinds: `at`, when it was sent; `ended`, how, and `ended_at`, when."""
        endings = {
            event["command"]: event for event, _ in self.lines if event["kind"] == "CommandFinished"
        }
        found = []
        for event, outcome in self.lines:
            for command in outcome["commands"]:
                if command["kind"] in kinds:
                    ending = endings.get(command["id"], {"reason": "", "at": math.inf})
                    told = {
                        "at": event["at"],
                        "ended": ending["reason"],
                        "ended_at": ending["at"],
                    }
                    found.append({**command, **told})
        return found
