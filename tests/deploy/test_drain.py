"""The preStop hook, run as the process it is, against real servers."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import math
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest
import yaml
from aiohttp import web

from tests.deploy.manifests import render
from tests.require import require
from tests.sources import bodies
from tests.sources.test_conformance import LOADED

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "drain"
SCRIPT = FOLDER / "drain.py"
PREFIX = "INFERENCE_AUTOSCALER_DRAIN_"

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
async def serving(
    answer: Answer, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[int]]]:
    """A server whose answer depends on how often it was asked; its port and that count."""
    asked = [0]

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert request.path == "/metrics"
        asked[0] += 1
        return await answer(asked[0])

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0, ssl_context=tls).start()
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
    assert "2 running, 2 waiting on port" in said
    assert "idle, 3 polls in a row: nothing left" in said


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
    assert said.endswith(
        f"the budget of 0.1 s is over; left: 3 running, 0 waiting on port {port}\n"
    )


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


async def _negative(_times: int) -> web.StreamResponse:
    return page(running=-5, waiting=5)  # their sum is 0


async def _infinite(_times: int) -> web.StreamResponse:
    return page(running=0, waiting=math.inf)


async def _unclosed(_times: int) -> web.StreamResponse:
    return web.Response(
        text='vllm:num_requests_running{engine="0" 0\nvllm:num_requests_waiting 0\n'
    )


async def _asleep(_times: int) -> web.StreamResponse:
    state = 'vllm:engine_sleep_state{engine="0",sleep_state="awake"} 0.0\n'
    return web.Response(text=PAGE.format(running=0, waiting=0) + state)


async def _endless(_times: int) -> web.StreamResponse:
    return web.Response(text=PAGE.format(running=0, waiting=0) + "#" * (8 << 20))


async def _nonsense(_times: int) -> web.StreamResponse:
    return web.Response(text="vllm:num_requests_running x\nvllm:num_requests_waiting\n")


@pytest.mark.parametrize(
    "answer",
    [
        _html,
        _missing,
        _one_gauge,
        _not_a_number,
        _nonsense,
        _negative,
        _infinite,
        _unclosed,
        _asleep,
        _endless,
    ],
)
async def test_unknown_is_not_idle(answer: Answer):
    async with serving(answer) as (port, _):
        code, said = await run("--budget=0.1", port=port)
    assert code == 0
    assert "the budget of 0.1 s is over; left: unknown: " in said


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
        environment = {PREFIX + "POLLS": "5", "http_proxy": "http://127.0.0.1:9"}
        code, said = await run(port=port, environment=environment)
        assert code == 0
        assert asked[0] == 5
        assert "5 polls in a row" in said
        await run("--polls=2", port=port, environment=environment)
        assert asked[0] == 7  # an argument goes before the environment


async def test_a_service_whose_variables_are_called_as_ours_is_not_obeyed():
    """A Service called `drain` sets DRAIN_PORT, one of our own prefix sets ..._PORT."""

    async def answer(_times: int) -> web.StreamResponse:
        return page(running=0)

    links = {
        "DRAIN_PORT": "tcp://10.0.0.7:80",
        "DRAIN_HOST": "10.0.0.7",
        PREFIX + "PORT": "tcp://10.0.0.7:80",
        PREFIX + "POLLS": "tcp://10.0.0.7:80",
    }
    async with serving(answer) as (port, asked):
        code, said = await run(port=port, environment=links)
    assert code == 0
    assert asked[0] == 3
    assert f"{PREFIX}POLLS=tcp://10.0.0.7:80 is a Service's, not ours: not used" in said
    # a name of before that was meant is told apart, and not obeyed either
    assert f"DRAIN_HOST is not read any more: call it {PREFIX}HOST" in said
    assert "DRAIN_PORT is" not in said


def test_no_variable_of_ours_ends_as_those_of_services_do(monkeypatch: pytest.MonkeyPatch):
    module, asked = load(), []

    class Asked(dict[str, str]):
        def get(self, name: str, default: str | None = None) -> str | None:
            asked.append(name)
            return default

    monkeypatch.setattr(module.os, "environ", Asked())
    module.parse([])
    ours = [name for name in asked if name.startswith(PREFIX)]
    assert len(ours) == 13
    assert not [name for name in ours if re.search(r"_(PORT|SERVICE_\w+|TCP|PROTO|ADDR)$", name)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port=http"],
        ["--port=70000"],
        ["--port=8001-8000"],
        ["--ports=8000,"],
        ["--engine=triton"],
        ["--scheme=ftp"],
        ["--ca=/nonexistent"],
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


async def test_whatever_it_hangs_in_it_ends_with_its_budget():
    """Here in writing its last words to an output that nobody takes: the grace is the pod's, not the hook's."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(65536))
        os.set_blocking(writing, True)
        arguments = ["--log=-", "--endpoint-delay=0", "--budget=0.5", "--ports=1"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), *arguments, stdout=writing
        )
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_page_that_drips_does_not_outlast_the_budget():
    """Each byte comes within the time-out of a read; the whole never does."""

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not writer.is_closing():
                    writer.write(b"#")
                    await writer.drain()
                    await asyncio.sleep(0.02)
        finally:  # also where the test is over before it
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        code, said = await run("--budget=0.3", port=port)
    assert code == 0
    assert f"left: unknown: no whole page in time on port {port}" in said
    took_s = float(re.findall(r"after ([0-9.]+) s", said)[-1])
    assert (
        took_s <= 1.4
    )  # by its own clock, on a busy machine; each byte began a read's time-out anew


async def test_a_page_that_is_cut_off_is_unknown():
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
        whole = PAGE.format(running=0, waiting=0).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole) + 50}\r\n\r\n"
        writer.write(head.encode() + whole)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server:
        code, said = await run("--budget=0.1", port=server.sockets[0].getsockname()[1])
    assert code == 0
    assert "left: unknown: the page is cut off" in said


# -- several ports, TLS


async def test_all_ports_must_be_idle_and_each_is_named():
    """One port per data-parallel rank: the first is idle from the start."""

    async def idle(_times: int) -> web.StreamResponse:
        return page(running=0)

    async def busy(times: int) -> web.StreamResponse:
        return page(running=0 if times > 4 else 7, waiting=1 if times == 1 else 0)

    async with serving(idle) as (first, _), serving(busy) as (second, asked):
        code, said = await run(f"--ports={first},{second}", port=first)
        assert asked[0] == 7
        pair = sorted([(first, "0 running, 0 waiting"), (second, "7 running, 1 waiting")])
        assert "; ".join(f"{words} on port {port}" for port, words in pair) in said
        assert code == 0


@pytest.mark.slow
async def test_what_is_left_is_said_for_each_port():
    async def full(_times: int) -> web.StreamResponse:
        return page(running=7, waiting=1)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = taken.getsockname()[1]
        async with serving(full) as (port, _):
            _, said = await run(f"--ports={gone},{port}", "--budget=1", port=port)
    left = sorted([(gone, "nobody listens"), (port, "7 running, 1 waiting")])
    words = "; ".join(f"{found} on port {each}" for each, found in left)
    assert said.endswith(f"the budget of 1 s is over; left: {words}\n")


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """One that bears the name of a Service, as those of pods do."""
    openssl = shutil.which("openssl")
    require("openssl", openssl, "no openssl to make a certificate with")
    pem = folder / "server.pem"
    command = [str(openssl), "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=llama"]
    command += ["-addext", "subjectAltName=DNS:llama.serving.svc", "-keyout", str(pem), "-out", "-"]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    pem.write_text(pem.read_text() + made.stdout)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return pem, context


@pytest.mark.slow
async def test_it_reads_over_tls(tmp_path: Path):
    pem, context = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = certificate(tmp_path / "other")

    async def answer(_times: int) -> web.StreamResponse:
        return page(running=0)

    async with serving(answer, tls=context) as (port, asked):
        _, said = await run("--scheme=https", port=port)
        assert "https without a look at the certificate" in said
        assert "nothing left" in said
        _, said = await run("--scheme=https", f"--ca={pem}", port=port)
        assert "https with a certificate of --ca, whatever name it bears" in said
        assert "nothing left" in said
        asked[0] = 0
        _, said = await run("--scheme=https", f"--ca={other}", "--budget=0.1", port=port)
        assert "left: unknown: no answer ([SSL: CERTIFICATE_VERIFY_FAILED]" in said
        # the wrong scheme is unknown, not idle, and the remedy is named
        _, said = await run("--budget=0.1", port=port)
        assert "for https say --scheme=https" in said
    assert asked[0] == 0


async def test_where_localhost_refuses_and_the_pods_address_listens_it_asks_there():
    """A vLLM of `--host=$(POD_IP)`: that nobody listens on localhost says nothing."""

    async def answer(times: int) -> web.StreamResponse:
        return page(running=2 if times < 3 else 0)

    async with serving(answer, host="127.0.0.9") as (port, asked):
        code, said = await run(port=port)
    assert code == 0
    assert asked[0] == 5
    assert "it listens at 127.0.0.9" in said
    assert "2 running, 0 waiting" in said


def test_ports_and_scheme_are_found_in_the_command_lines(tmp_path: Path):
    module = load()
    lines = {
        "1": ["/bin/sh", "-c", "vllm serve --port 8000"],
        "7": ["python3", "vllm", "serve", "llama", "--port", "8200", "--data-parallel-size=4"],
        "8": ["envoy", "--concurrency", "2"],
        "9": ["python3", "-m", "server", "--port=8443", "--ssl-keyfile", "/tls/key"],
        "10": ["python3", "/drain/drain.py", "--port=9999"],
    }
    for pid, words in lines.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    ranks = [(8200 + rank, False) for rank in range(4)]
    assert module.told(tmp_path) == [*ranks, (8443, True)]
    (tmp_path / "net").mkdir()
    assert module.listening(tmp_path) is None
    header = "  sl  local_address rem_address   st\n"
    (tmp_path / "net" / "tcp").write_text(
        f"{header}   0: 0100007F:2008 00000000:0000 0A 0\n   1: 0500000A:1F40 0600000A:0050 01 0\n"
    )
    (tmp_path / "net" / "tcp6").write_text(
        f"{header}   0: 00000000000000000000000000000000:20FB 0:0 0A 0\n"
    )
    assert module.listening(tmp_path) == {8200: ["127.0.0.1"], 8443: ["::"]}


# -- what pages say


def test_the_pages_of_all_engines():
    """Those that the daemon's own readers are tested on; see tests/sources/pages."""

    def in_flight(word: str) -> tuple[float | None, float | None]:
        return LOADED[word].running_requests, LOADED[word].waiting_requests

    counts = load().counts
    for name, engine, running, waiting in (
        ("vllm-0.32.0-loaded", "vllm", 3, 8),
        ("vllm-0.32.0-loaded-kv096", "vllm", 4, 20),
        ("vllm-0.32.0-after", "vllm", 0, 0),
        ("tgi", "tgi", *in_flight("TGI")),
        ("sglang", "sglang", *in_flight("SGLang")),
        ("ray-serve", "ray", *in_flight("RayServe")),
    ):
        text = bodies.page(name).decode()
        found = counts(text)
        told = counts(text, engine)
        assert (found.running, found.waiting) == (told.running, told.waiting)
        assert (found.running, found.waiting) == (running, waiting), name
        for other in {"vllm", "tgi", "sglang", "ray"} - {engine}:
            if (engine, other) != ("ray", "vllm"):
                with pytest.raises(Exception, match="page"):
                    counts(text, other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("vllm_num_requests_running 2\nvllm_num_requests_waiting 3\n", (2, 3), id="_"),
        pytest.param(
            'ray_vllm:num_requests_running{ReplicaId="a"} 16\n'
            'ray_vllm:num_requests_waiting{ReplicaId="a"} 40\n'
            'ray_serve_replica_processing_queries{replica="a"} 56\n'
            'ray_serve_replica_processing_queries{replica="ingress"} 2\n'
            'ray_serve_deployment_queued_queries{handle="h"} 1\n',
            (18, 41),
            id="Ray with colons; what an engine's replica processes is counted by its engine",
        ),
        pytest.param(
            'ray_vllm_num_requests_running{ReplicaId="a"} 1\nray_vllm_num_requests_waiting 0\n',
            (1, 0),
            id="Ray with underscores",
        ),
        pytest.param(
            "ray_serve_replica_processing_queries 0\nray_serve_deployment_queued_queries 4\n",
            (0, 4),
            id="Ray without an engine",
        ),
        pytest.param(
            'sglang_num_running_reqs{tp_rank="0"} 12\nsglang_num_running_reqs{tp_rank="1"} 12\n'
            'sglang_num_queue_reqs{tp_rank="0"} 7\nsglang_num_grammar_queue_reqs 1\n',
            (12, 8),
            id="SGLang with underscores; its ranks repeat themselves",
        ),
        pytest.param(
            'sglang:num_running_reqs{priority=""} 3\nsglang:num_running_reqs{priority="1"} 2\n'
            "sglang:num_queue_reqs 0\n",
            (3, 0),
            id="a row a priority is part of the row without",
        ),
        pytest.param(
            'vllm:num_requests_running 0\nvllm:num_requests_waiting_by_reason{reason="x"} 2\n',
            (0, 2),
            id="the whole is missing, its parts are there",
        ),
        pytest.param(
            "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n"
            "vllm:num_requests_swapped 2\n",
            (0, 2),
            id="up to 0.9: preempted to the CPU",
        ),
        pytest.param("tgi_request_count 3\n", (0, 0), id="TGI shows a gauge once it was set"),
        pytest.param(
            'vllm:num_requests_running{m="a} b"} 2 1700000000000\nvllm:num_requests_waiting 1e1\n',
            (2, 10),
            id="a brace in a label, a time behind the value, an exponent",
        ),
    ],
)
def test_each_spelling(text: str, expected: tuple[float, float]):
    found = load().counts(text)
    assert (found.running, found.waiting) == expected


@pytest.mark.parametrize(
    "text",
    [
        "tgi_queue_size -1\n",
        "sglang:num_running_reqs NaN\nsglang:num_queue_reqs 0\n",
        "sglang:num_running_reqs 0\n",
        "ray_serve_deployment_queued_queries 0\n",
        "vllm:num_requests_running 0\nvllm_num_requests_waiting 0\n",
        "tensorrt_running 0\n",
        "",
    ],
)
def test_what_no_page_of_theirs_says_is_unknown(text: str):
    module = load()
    with pytest.raises(module.UnknownError):
        module.counts(text)


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


def test_what_rays_agent_says_may_be_ten_seconds_old():
    """Three polls within its interval are one and the same page."""
    module, time = load(), Time()

    class Idle(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ray_serve_replica_processing_queries 0\n")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Idle) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        options = module.parse(["--host=127.0.0.1", f"--port={server.server_port}"])
        assert module.drain(options, Lines(), now=time.now, sleep=time.sleep)
        server.shutdown()
    assert time.slept == [15.0, *[1.0] * 11]


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
    """One ConfigMap whose name is that of its content: what runs in a pod nobody can change under it."""
    document = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    (generator,) = document["configMapGenerator"]
    assert generator == {"name": "vllm-drain", "files": ["drain.py"]}
    assert document["generatorOptions"] == {"immutable": True}
    (config_map,) = render(FOLDER)
    assert re.fullmatch(r"vllm-drain-[a-z0-9]{10}", config_map["metadata"]["name"])
    assert config_map["immutable"] is True
    assert config_map["data"]["drain.py"] == SCRIPT.read_text()
