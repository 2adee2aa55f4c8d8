"""Memory and CPU of the node agent, against a metadata service on this machine.

    python -m tests.benchmarks.agent [--seconds 60] [-o json]

Each dialect is run as the DaemonSet runs it, in a process of its own, with a notice half-way so that it
has also spoken TLS with an API server. Memory is what the kernel counts as resident, at the end and at its
highest; CPU is what the process used per second of that time, its start left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.agent.api_server import NodeServer, make_account, serving_node
from tests.agent.metadata_server import MetadataServer, serving

ROOT = Path(__file__).parents[2]
CLOUDS = ("aws", "gce", "azure")


def memory_mb(pid: int, name: str) -> float:
    """`VmRSS` or `VmHWM`, in MB (a million bytes)."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def agent(
    cloud: str, metadata: MetadataServer, api: NodeServer, account: Path
) -> Iterator[subprocess.Popen[str]]:
    arguments = [
        *(sys.executable, "-m", "autoscaler.agent", "--provider", cloud, "--node", api.name),
        *("--metadata", str(metadata.metadata), "--api-server", str(api.address)),
        *("--service-account", str(account)),
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "1"}
    running = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    try:
        assert running.stdout is not None
        assert "agent.started" in running.stdout.readline()
        yield running
    finally:
        running.terminate()
        running.communicate()


def notice(metadata: MetadataServer) -> None:
    """Each cloud takes the machine."""
    metadata.documents["spot/instance-action"] = (
        b'{"action":"terminate","time":"2030-04-24T17:11:44Z"}'
    )
    metadata.turn("preempted", "TRUE")
    metadata.events = [
        {
            "EventType": "Preempt",
            "EventStatus": "Scheduled",
            "Resources": [metadata.name],
            "NotBefore": "Wed, 24 Apr 2030 17:11:44 GMT",
        }
    ]


def measure(cloud: str, *, seconds: float) -> dict[str, Any]:
    """One row."""
    with tempfile.TemporaryDirectory() as folder:
        account = make_account(Path(folder) / "account")
        with (
            serving(cloud) as metadata,
            serving_node(account) as api,
            agent(cloud, metadata, api, account) as running,
        ):
            time.sleep(min(2.0, seconds))  # the start is over
            used, began = cpu_s(running.pid), time.monotonic()
            time.sleep(seconds / 2.0)
            notice(metadata)
            marked = api.wait_for(lambda: api.mark is not None)
            time.sleep(seconds / 2.0)
            share = (cpu_s(running.pid) - used) / (time.monotonic() - began)
            return {
                "cloud": cloud,
                "rss_mb": round(memory_mb(running.pid, "VmRSS"), 1),
                "rss_mb_max": round(memory_mb(running.pid, "VmHWM"), 1),
                "cpu_percent": round(100.0 * share, 2),
                "questions": len(metadata.requests),
                "marked": marked,
            }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.agent")
    parser.add_argument("--cloud", action="append", choices=CLOUDS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    options = parser.parse_args(arguments)
    rows = [measure(cloud, seconds=options.seconds) for cloud in options.cloud or CLOUDS]
    if options.output == "json":
        print(json.dumps({"schema": "autoscaler.benchmark.agent/v1", "rows": rows}, indent=2))
        return
    print("cloud   RSS MB  highest  CPU %  questions")
    for row in rows:
        print(
            f"{row['cloud']:<6}{row['rss_mb']:>8.1f}{row['rss_mb_max']:>9.1f}"
            f"{row['cpu_percent']:>7.2f}{row['questions']:>11}"
        )


if __name__ == "__main__":
    main()
