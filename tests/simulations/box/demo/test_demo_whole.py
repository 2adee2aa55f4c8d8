"""The demo as a whole: the real daemon, servers as processes, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from simulations.box.demo.run import Demo
from simulations.box.demo.scenario import Scenario

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(400)]

SHORT = Scenario(ramps=1, ramp_s=14.0, reclaim_at_s=5.0, notice_s=11.0, returns_after_s=0.5)


async def test_no_request_is_lost_and_the_recording_replays(tmp_path: Path):
    """One ramp instead of three, the reclaim in the middle of it."""
    before = descendants(os.getpid())
    output = (tmp_path / "output").open("w+")
    demo = Demo(
        console=Console(file=output, width=120),
        folder=tmp_path,
        recording=tmp_path / "recording",
        plain=True,
        seed=5,
        scenario=SHORT,
    )
    code = await demo.run()
    output.seek(0)
    said = output.read()
    output.close()
    assert code == 0, said
    assert "requests was lost" in said
    assert "replays to the same decisions, byte for byte" in said
    assert "0 were cut off" in said
    # whether on-demand had to be raised for it depends on what the machine's pace left to serve;
    # that it is raised when it has to be is tests/daemon's and tests/e2e's
    assert "was reclaimed with a notice" in said
    assert list((tmp_path / "recording").glob("*.jsonl.gz"))
    assert "SIGKILL" not in said
    left = {
        pid: command
        for pid, command in descendants(os.getpid()).items()
        # Python's own, of a process pool: it ends with this process
        if pid not in before and "multiprocessing.resource_tracker" not in command
    }
    assert not left


def descendants(pid: int) -> dict[int, str]:
    """Living processes below `pid`, with their command lines."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if state != "Z":
            parents[int(folder.name)], commands[int(folder.name)] = int(parent), command

    def is_below(child: int) -> bool:
        while child in parents:
            child = parents[child]
            if child == pid:
                return True
        return False

    return {child: commands[child] for child in parents if is_below(child)}


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
)
async def test_however_it_ends_nothing_is_left(number: signal.Signals, code: int, tmp_path: Path):
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "autoscaler.cli",
        "demo",
        "--plain",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        # tests that a shell runs in the background inherit that it is ignored
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert demo.stdout is not None
        said = []
        async with asyncio.timeout(180):
            while b"ramp 1 of 3" not in (line := await demo.stdout.readline()):
                assert line, "".join(said)
                said.append(line.decode())
        below = descendants(demo.pid)
        assert any("autoscaler.cli run" in command for command in below.values())
        assert any("vllm_server" in command for command in below.values())
        demo.send_signal(number)
        rest = (await demo.stdout.read()).decode()
        assert await demo.wait() == code
        assert "Traceback" not in rest
        await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
        if number is not signal.SIGKILL:
            assert "everything that was started has ended" in rest
            assert list(tmp_path.iterdir()) == []
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
