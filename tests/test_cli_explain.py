"""`autoscaler status` and `explain` as they are used: against a daemon's own page, and a recording."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import pytest
from click.testing import CliRunner

from autoscaler.cli import cli
from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.daemon.recording.decisions import decisions_at
from autoscaler.daemon.telemetry.http import DebugServer
from autoscaler.errors import AutoscalerError, RecordingError, SettingsError
from tests.daemon.live import live, until
from tests.daemon.recording.recordings import SPEC, STARTED_AT, recorded


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    recorded(folder, ticks=60)
    return folder


def run(*arguments: str, fails: type[Exception] | None = None) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    if fails is None:
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.stdout
    assert isinstance(result.exception, fails), result.exception
    return str(result.exception)


# -- a recording


def test_a_recording_tells_its_last_decision(recording):
    said = run("explain", "--recording", str(recording))
    assert said.startswith("serving/llama ")
    for title in ("What was seen", "How the number came about", "Where the replicas are"):
        assert f"\n{title}\n" in said
    assert max(map(len, said.splitlines())) <= 100


def test_a_moment_is_told_as_it_was_decided_then(recording):
    found = decisions_at(recording, at=STARTED_AT + 101.0)["serving/llama"]
    assert found.decision.at == STARTED_AT + 100.0
    assert found.spec == SPEC
    said = json.loads(
        run(
            "explain",
            "llama",
            "--recording",
            str(recording),
            "--at",
            "2027-01-15T08:01:41Z",
            "-o",
            "json",
        )
    )
    assert said["at"] == STARTED_AT + 100.0
    trail = next(each for each in said["sections"] if each["title"] == "How the number came about")
    assert len(trail["lines"]) == len(found.decision.trail)


def test_what_was_decided_is_what_an_engine_decides(tmp_path):
    """It is read as it was recorded, of each moment."""
    engine, compared = build_engine(EngineSettings()), 0
    for event in recorded(tmp_path, ticks=20):
        outcome = engine.handle(event)
        if outcome.decisions:
            found = decisions_at(tmp_path, at=event.at)["serving/llama"].decision
            assert found._replace(hindsight=None) == outcome.decisions[0]._replace(hindsight=None)
            compared += 1
    assert compared == 20


def test_a_recording_is_written_as_a_page(recording):
    page = run("explain", "--recording", str(recording), "-o", "html")
    assert '<section id="serving/llama">' in page
    assert page.count("<time>") > 3
    assert "refresh" not in page
    earlier = run(
        "explain",
        "llama",
        "--recording",
        str(recording),
        "-o",
        "html",
        "--at",
        "2027-01-15T08:01:41Z",
    )
    assert "08:01:40 UTC" in earlier
    said = run("explain", "-o", "html", fails=SettingsError)
    assert "the daemon has its page at /" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "2020-01-01T00:00:00Z"), "no decision is recorded up to that moment"),
        (("--at", "yesterday"), "--at: found 'yesterday'; write a time with its zone"),
        (("mistral",), "no such model is decided on; there are serving/llama"),
    ],
)
def test_what_is_not_there_is_said(recording, arguments, said):
    assert said in run("explain", *arguments, "--recording", str(recording), fails=AutoscalerError)


def test_a_folder_without_a_recording_is_refused(tmp_path):
    said = run("status", "--recording", str(tmp_path), fails=RecordingError)
    assert "a folder without a recording" in said


def test_a_recording_is_not_watched(recording):
    assert "--watch" in run(
        "status", "--watch", "--recording", str(recording), fails=AutoscalerError
    )


def test_status_is_a_table_of_at_most_a_hundred_columns(recording):
    said = run("status", "--recording", str(recording))
    head, row, why, *_ = said.splitlines()
    assert head.split() == [
        "MODEL", "MODE", "READY", "WANTS", "FLOOR", "LOAD", "EXPECTED", "ATTAINED", "BUDGET", "$/H"
    ]  # fmt: skip
    assert row.startswith("serving/llama  Active")
    assert why.startswith(("  stays at", "  scales"))
    assert max(map(len, said.splitlines())) <= 100
    rows = json.loads(run("status", "-o", "json", "--recording", str(recording)))["rows"]
    assert [each["model"] for each in rows] == ["serving/llama"]


def test_a_replay_tells_the_decisions_that_changed_something(recording):
    lines = [
        line
        for line in run("replay", "--decisions", str(recording)).splitlines()
        if "  serving/llama " in line
    ]
    told = json.loads(run("replay", "--decisions", "-o", "json", str(recording)))["decisions"]
    assert [f"{each['at']}  {each['model']} {each['said']}" for each in told] == lines
    assert 3 < len(told) < 60
    assert any("spot nodes are being taken" in line for line in lines)
    assert "decisions" not in json.loads(run("replay", "-o", "json", str(recording)))


# -- a daemon


@contextmanager
def answering(status: int, body: bytes):
    """A server that answers every request alike."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>login</html>", "no daemon of ours (<html>login</html>)"),
        (200, b'{"models": []}', "no daemon of ours"),
        (200, b"[]", "no daemon of ours"),
        (404, b"", "answered with status 404"),
        (
            200,
            b'{"at": 1, "version": "9", "problems": [], "spec_problems": [], "models": [{"model": "a/b", "spec": {}}]}',
            "the daemon is of version 9",
        ),
    ],
)
def test_what_is_no_daemon_of_ours_is_told_apart(status, body, said):
    with answering(status, body) as server:
        assert said in run("status", "--server", server, fails=SettingsError)


def test_where_nobody_answers_the_way_there_is_said():
    said = run("explain", "--server", "127.0.0.1:1", fails=SettingsError)
    assert "no daemon answers (" in said
    assert said.endswith("port-forward deployment/inference-autoscaler 8081")


def test_a_daemon_without_models_says_why():
    page = {"at": 1.0, "version": "1", "problems": ["no decision was made yet"]}
    with answering(200, json.dumps({**page, "spec_problems": [], "models": []}).encode()) as server:
        assert "no decision was made yet" in run("explain", "--server", server, fails=SettingsError)
        said = run("status", "--server", server)
    assert (
        said == "The daemon is not ready: no decision was made yet\nNo model is decided on yet.\n"
    )


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_running_daemon_is_told(tmp_path):
    async with live(tmp_path) as scene, scene.daemon() as daemon:
        await until(lambda: daemon.telemetry.status.unready() == ())
        server = DebugServer(daemon.telemetry.status, host="127.0.0.1", port=0)
        address = await server.start()
        try:
            explained = await asyncio.to_thread(run, "explain", "llama", "--server", address)
            table = await asyncio.to_thread(run, "status", "--server", address)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{address}/?model=serving/llama") as answer:
                    page, headers = await answer.text(), answer.headers
                async with session.get(address, headers={"Host": "evil.example"}) as answer:
                    assert answer.status == 421
        finally:
            await server.close()
    assert explained.startswith("serving/llama stays at 2 replicas: ")
    assert " ago\n" in explained.split("\n\n")[0] + "\n"
    assert "8 run, KV caches are 10 % full" in explained
    assert "spot (Spot, Deployment/serving/llama-spot): 1 desired; 1 ready." in explained
    assert "serving/llama  Active    2/2" in table
    assert '<section id="serving/llama">' in page
    assert "stays at 2 replicas" in page
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
