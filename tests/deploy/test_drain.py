"""The preStop hook, run as the process it is, against real servers."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import math
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from aiohttp import web

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "drain"
SCRIPT = FOLDER / "drain.py"

PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="llama"}} {running}
vllm:num_requests_running{{engine="1",model_name="llama"}} 0.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="llama"}} {waiting}
# a newer family whose name begins the same: it is part of the one above
vllm:num_requests_waiting_by_reason{{engine="0",model_name="llama",reason="deferred"}} 7.0
"""
Answer = Callable[[int], Awaitable[web.StreamResponse]]


def page(*, running: float, waiting: float = 0.0) -> web.Response:
    return web.Response(text=PAGE.format(running=running, waiting=waiting))


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[int, list[int]]]:
    """A server whose answer depends on how often it was asked; its port and that count."""
    asked = [0]

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert request.path == "/metrics"
        asked[0] += 1
        return await answer(asked[0])

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], asked
    finally:
        await runner.cleanup()


async def run(
    *arguments: str, port: int, environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run the hook with short times; its exit code and output."""
    defaults = ["--host=127.0.0.1", f"--port={port}", "--endpoint-delay=0", "--period=0.02"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        *defaults,
        "--log=-",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_it_ends_when_nothing_is_in_flight_any_more():
    async def answer(times: int) -> web.StreamResponse:
        left = max(0, 5 - times)
        return page(running=min(2, left), waiting=max(0, left - 2))

    async with serving(answer) as (port, asked):
        code, said = await run(port=port)
    assert code == 0
    assert asked[0] == 7  # idle from the fifth on, three times in a row
    assert "2 running, 2 waiting" in said
    assert "idle, 3 polls in a row" in said


async def test_a_request_that_comes_between_two_polls_counts():
    async def answer(times: int) -> web.StreamResponse:
        return page(running=1 if times == 3 else 0)

    async with serving(answer) as (port, asked):
        code, _ = await run(port=port)
    assert code == 0
    assert asked[0] == 6  # two idle polls, one busy, then three


async def test_one_waiting_request_is_enough_to_stay():
    async def answer(times: int) -> web.StreamResponse:
        return page(running=0, waiting=1 if times < 4 else 0)

    async with serving(answer) as (port, asked):
        await run("--polls=1", port=port)
    assert asked[0] == 4


async def test_the_budget_ends_it():
    async def answer(_times: int) -> web.StreamResponse:
        return page(running=3)

    async with serving(answer) as (port, asked):
        code, said = await run("--budget=0.1", port=port)
    assert code == 0
    assert asked[0] >= 1
    assert "the budget of 0.1 s is over: 3 running, 0 waiting" in said


async def test_nobody_listens_is_idle():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        code, said = await run(port=taken.getsockname()[1])
    assert code == 0
    assert "nobody listens" in said
    assert "idle, 3 polls in a row" in said


async def _html(_times: int) -> web.StreamResponse:
    return web.Response(text="<html>502 Bad Gateway</html>", content_type="text/html")


async def _missing(_times: int) -> web.StreamResponse:
    return web.Response(status=404, text=PAGE.format(running=0, waiting=0))


async def _one_gauge(_times: int) -> web.StreamResponse:
    return web.Response(text='vllm:num_requests_running{engine="0"} 0.0\n')


async def _not_a_number(_times: int) -> web.StreamResponse:
    return page(running=math.nan)


async def _nonsense(_times: int) -> web.StreamResponse:
    return web.Response(text="vllm:num_requests_running x\nvllm:num_requests_waiting\n")


@pytest.mark.parametrize("answer", [_html, _missing, _one_gauge, _not_a_number, _nonsense])
async def test_unknown_is_not_idle(answer: Answer):
    async with serving(answer) as (port, _):
        code, said = await run("--budget=0.1", port=port)
    assert code == 0
    assert "does not tell what is in flight" in said
    assert "the budget of 0.1 s is over" in said


async def test_a_page_that_hangs_does_not_outlast_the_budget():
    released = asyncio.Event()

    async def answer(_times: int) -> web.StreamResponse:
        await released.wait()
        return page(running=0)

    async with serving(answer) as (port, _):
        code, said = await run("--budget=0.1", port=port)
        released.set()
    assert code == 0
    assert "the budget of 0.1 s is over" in said


async def test_settings_from_the_environment_and_no_proxy():
    async def answer(_times: int) -> web.StreamResponse:
        return page(running=0)

    async with serving(answer) as (port, asked):
        environment = {"DRAIN_POLLS": "5", "http_proxy": "http://127.0.0.1:9"}
        code, said = await run(port=port, environment=environment)
        assert code == 0
        assert asked[0] == 5
        assert "5 polls in a row" in said
        await run("--polls=2", port=port, environment=environment)
        assert asked[0] == 7  # an argument goes before the environment


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port=http"],
        ["--port=70000"],
        ["--polls=0"],
        ["--period=0"],
        ["--endpoint-delay=-1"],
        ["--endpoint-delay=nan"],
        ["--budget=5", "--endpoint-delay=6"],
        ["--budget=inf"],
        ["--budgets=60"],
    ],
)
async def test_misuse_is_told_with_code_2(arguments: list[str]):
    code, said = await run(*arguments, port=9)
    assert code == 2
    assert "error:" in said


async def test_it_writes_to_the_log_of_the_container(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text("before\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, said = await run(f"--log={log}", port=port)
        assert (code, said) == (0, "")
        assert log.read_text().startswith("before\ndrain: waiting 0 s")
        # a log that cannot be opened: standard output has to do
        code, said = await run(f"--log={tmp_path}/none/log", port=port)
        assert code == 0
        assert said.startswith("drain: waiting 0 s")


async def test_a_full_pipe_as_log_does_not_block():
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(65536))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            log = f"/proc/{os.getpid()}/fd/{writing}"
            code, said = await run(f"--log={log}", port=taken.getsockname()[1])
        assert code == 0
        assert "idle" in said
    finally:
        os.close(reading)
        os.close(writing)


# -- in virtual time


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drain", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.at = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.slept.append(seconds)


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, text: str) -> None:
        self.lines.append(text)


def drain_for(arguments: Sequence[str]) -> tuple[bool, Time, list[str]]:
    module, time, log = load(), Time(), Lines()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        options = module.parse(["--host=127.0.0.1", f"--port={taken.getsockname()[1]}", *arguments])
        idle = module.drain(options, log, now=time.now, sleep=time.sleep)
    return idle, time, log.lines


def test_it_waits_for_the_endpoints_even_when_idle():
    idle, time, _ = drain_for([])
    assert idle
    assert time.slept == [15.0, 1.0, 1.0]  # the defaults: the delay first, then three polls


def test_the_delay_is_part_of_the_budget():
    idle, time, lines = drain_for(["--budget=16", "--endpoint-delay=15", "--polls=9"])
    assert not idle
    assert time.at - 100.0 <= 16.0
    assert "the budget of 16 s is over" in lines[-1]


# -- what is shipped


def test_it_runs_on_the_pythons_of_old_images():
    """Syntax of 3.8, and modules of its standard library only."""
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    first = tree.body[1]
    assert isinstance(first, ast.ImportFrom)
    assert first.module == "__future__"  # annotations are never evaluated: newer forms are fine


def test_the_kustomization_ships_this_very_file():
    """One ConfigMap of a fixed name, by which pods in other kustomizations mount it."""
    document = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    (generator,) = document["configMapGenerator"]
    assert generator == {"name": "vllm-drain", "files": ["drain.py"]}
    assert document["generatorOptions"]["disableNameSuffixHash"] is True
    if any((Path(folder) / "kubectl").is_file() for folder in os.get_exec_path()):
        built = subprocess.run(
            ["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True
        )
        config_map = yaml.safe_load(built.stdout)
        assert config_map["metadata"]["name"] == "vllm-drain"
        assert config_map["data"]["drain.py"] == SCRIPT.read_text()
