"""The whole agent: against both servers, as a process and inside this one."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autoscaler import __version__, cli
from autoscaler.agent import command
from autoscaler.agent.board import NoticeBoard
from autoscaler.agent.dialects.aws import AwsMetadata
from autoscaler.agent.dialects.contract import MetadataFeed
from autoscaler.agent.log import EVENTS, log_to
from autoscaler.agent.marking import Marking
from autoscaler.agent.notice import NOTICE_ANNOTATION, read_notice
from autoscaler.agent.own_node import OwnNode
from tests.agent.dialects.test_azure import event
from tests.agent.metadata_server import AWS, EVENTS_PATH, GCE, MetadataServer, drip, raw, status
from tests.require import ROOT

ACTION = "spot/instance-action"
GARBAGE = [status(500), status(404), status(200, b"{"), raw(b"SSH-2.0\r\n")]


class Running:
    """An agent inside this process, and its log."""

    def __init__(self, server: MetadataServer, api: Any, account: Path, *more: str) -> None:
        self.stream = io.StringIO()
        self.stopping = threading.Event()
        self.code: int | None = None
        options = command._parser("agent").parse_args(
            ["--node", api.name, "--metadata", str(server.metadata), *more]
        )
        node = OwnNode(api.name, server=api.address, account=account)
        self.thread = threading.Thread(target=self._run, args=(options, node), daemon=True)

    def _run(self, options: Any, node: OwnNode) -> None:
        self.code = command.run(options, node, stopping=self.stopping, log=log_to(self.stream))

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]


@pytest.fixture
def run(server, api, account) -> Iterator[Any]:
    made: list[Running] = []

    def start(*more: str) -> Running:
        made.append(Running(server, api, account, *more))
        made[-1].thread.start()
        return made[-1]

    yield start
    for each in made:
        each.stopping.set()
    server.let_go()
    for each in made:
        each.thread.join(20)
        assert each.code == 0


@pytest.mark.slow
@pytest.mark.parametrize("way", ["providerID", "asking"])
@pytest.mark.parametrize(
    ("cloud", "source"), [("aws", "aws-imds"), ("gce", "gce-metadata"), ("azure", "azure-imds")]
)
def test_it_tells_the_clouds_apart(server, api, run, cloud, source, way):
    if way == "providerID":
        api.provider_id = f"{cloud}:///subscriptions/x"
    else:
        server.cloud = cloud
    agent = run()
    while "agent.started" not in agent.events:
        time.sleep(0.01)
    assert agent.lines[0]["source"] == source
    assert agent.events == ["agent.started"]


@pytest.mark.slow
def test_where_no_cloud_answers_it_says_so_and_waits(server, run):
    server.cloud = "none"
    agent = run()
    while not agent.events:
        time.sleep(0.01)
    assert agent.events == ["provider.unknown"]


@pytest.mark.slow
@pytest.mark.parametrize("cloud", ["aws", "gce", "azure"])
def test_a_notice_is_marked_and_taken_back_amid_all_that_may_go_wrong(server, api, run, cloud):
    for path in (AWS + ACTION, AWS + "events/recommendations/rebalance", GCE + "preempted"):
        server.faults[path] += GARBAGE[:2]
    server.faults[EVENTS_PATH] += GARBAGE[2:4]
    server.always[GCE + "maintenance-event"] = status(503)  # a feed that is never there
    server.always[AWS + "autoscaling/target-lifecycle-state"] = drip(
        b"HTTP/1.1 200 OK\r\n", server.released, every_s=0.5
    )
    api.faults += [status(500), status(409, b"{"), raw(b"")]
    agent = run("--provider", cloud)
    server.documents[ACTION] = b'{"action":"terminate","time":"2030-04-24T17:11:44Z"}'
    server.expire_tokens()
    server.turn("preempted", "TRUE")
    server.events = [event(NotBefore="Wed, 24 Apr 2030 17:11:44 GMT")]
    assert api.wait_for(lambda: api.mark is not None, 60.0)
    notice = read_notice(api.mark)
    assert notice.kind == "Termination"
    if cloud != "gce":
        assert '"deadline":"2030-04-24T17:11:44Z"' in api.mark
    else:
        assert notice.deadline_at - notice.noticed_at == 30.0
    server.documents.clear()
    server.turn("preempted", "FALSE")
    server.events = []
    # Where a feed never answered, the others' denials still take back what they said themselves.
    assert api.wait_for(lambda: api.mark is None, 60.0)
    assert len(agent.lines) < 15


@pytest.mark.slow
def test_a_restart_keeps_the_mark_to_the_letter(server, api, run):
    server.documents["autoscaling/target-lifecycle-state"] = b"Terminated"
    first = run("--provider", "aws")
    assert api.wait_for(lambda: api.mark is not None)
    mark = api.mark
    first.stopping.set()
    first.thread.join(20)
    second = run("--provider", "aws")
    while server.asked(AWS + ACTION) < 3:
        time.sleep(0.01)
    assert api.mark == mark
    assert "notice.marked" not in second.events


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_a_thread_ends_the_agent_ends_and_says_so(node, terms):
    def bug() -> None:
        raise SystemExit  # what a thread dies of without a word

    feeds = [MetadataFeed(name="f", read=bug, every_s=1.0)]
    board = NoticeBoard("aws-imds", ["f"], now=time.time)
    lines: list[str] = []

    def log(event: str, **_: Any) -> None:
        lines.append(event)

    marking = Marking(node, board, AwsMetadata(terms), log=log)
    board.changed.set()
    waker = threading.Timer(0.2, board.changed.set)
    waker.start()
    assert command.mark(feeds, board, marking, stopping=threading.Event(), log=log) == 1
    waker.join()
    assert lines == ["agent.broke"]


# -- the process


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, "-m", "autoscaler.agent", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


@pytest.mark.slow
def test_the_process_marks_and_ends_on_sigterm_and_leaves_the_mark(server, api, account):
    server.documents[ACTION] = b'{"action":"terminate","time":"2030-04-24T17:11:44Z"}'
    with process(
        *("--provider=aws", f"--metadata={server.metadata}", f"--service-account={account}"),
        NODE_NAME=api.name,
        KUBERNETES_SERVICE_HOST=api.address.host,
        KUBERNETES_SERVICE_PORT=str(api.address.port),
    ) as agent:
        assert api.wait_for(lambda: api.mark is not None, 60.0)
        agent.send_signal(signal.SIGTERM)
        out, err = agent.communicate(timeout=30)
    assert agent.returncode == 0
    assert err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == ["agent.started", "notice.marked", "agent.stopped"]
    assert lines[0]["version"] == __version__
    assert [*api.annotations] == [NOTICE_ANNOTATION]


@pytest.mark.slow
def test_it_imports_nothing_heavy():
    code = (
        "import sys, autoscaler.agent.command\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('autoscaler')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.splitlines()
    own = {"autoscaler", "__main__", "__mp_main__", "_virtualenv", "sitecustomize"}
    outside = {
        name
        for name in found[0].split()
        if name not in sys.stdlib_module_names and not name.startswith(("__editable__", "_"))
    }
    assert outside <= own
    assert "asyncio" not in found[0].split()
    assert all(
        name == "autoscaler" or name.startswith("autoscaler.agent") for name in found[1].split()
    )


# -- options


def usage(capsys, arguments: list[str]) -> str:
    with pytest.raises(SystemExit) as end:
        command.main(arguments)
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return str(captured.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which Node is this? give --node, or NODE_NAME"),
        (["--node", "x"], "no file /nonexistent"),
        (["--node", "x", "--provider", "ibm"], "invalid choice: 'ibm'"),
        (["--gce-lead", "-1"], "'-1': write seconds, from 0 to 7200"),
        (["--asg-lead", "nan"], "'nan': write seconds"),
        (["--asg-lead", "soon"], "'soon': write seconds"),
        (["--gce-maintenance-lead", "1e9"], "'1e9': write seconds"),
        (["--metadata", "169.254.169.254"], "write HOST:PORT"),
        (["--metadata", "http://169.254.169.254:80"], "write HOST:PORT"),
        (["--metadata", "a:0"], "no such port"),
        (["--metadata", "a:65536"], "no such port"),
        (["--api-server", ":6443"], "write HOST:PORT"),
        (["--nodes", "x"], "unrecognized arguments"),
        (["x"], "unrecognized arguments"),
    ],
)
def test_what_cannot_be_worked_with_is_two_with_a_hint(capsys, monkeypatch, arguments, message):
    monkeypatch.delenv("NODE_NAME", raising=False)
    account = (
        [] if arguments[:1] == ["--service-account"] else ["--service-account", "/nonexistent"]
    )
    assert message in usage(capsys, [*account, *arguments])


def test_outside_of_a_pod_it_asks_where_the_api_server_is(capsys, monkeypatch, account):
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    try:
        err = usage(capsys, ["--node", "x", "--service-account", str(account)])
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    assert "give --api-server HOST:PORT" in err


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("10.0.0.1:443", "10.0.0.1", 443), ("[fd00::1]:443", "fd00::1", 443), ("x:1", "x", 1)],
)
def test_addresses(text, host, port):
    address = command._address(text)
    assert address == (host, port)
    assert str(address) == text


def test_the_command_line_has_it_too(capsys):
    assert cli._exit_code(["--help"]) == 0
    assert "node-agent" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        cli._exit_code(["node-agent", "--help"])
    assert end.value.code == 0
    assert "usage: autoscaler node-agent" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        cli._exit_code(["node-agent", "--provider", "ibm"])
    assert end.value.code == 2


# -- the log


def test_a_log_that_nobody_reads_harms_nothing():
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    log_to(Broken())("agent.started", odd=object())
    closed = io.StringIO()
    closed.close()
    log_to(closed)("agent.started")


def test_the_events_are_those_of_the_page():
    page = (ROOT / "autoscaler/agent/README.md").read_text()
    table = page.partition("## Log events")[2].partition("| file |")[0]
    rows = re.findall(r"(?m)^\| `(\w+\.\w+)` \| (.*) \|$", table)
    assert dict(rows) == EVENTS


def test_the_options_are_those_of_the_page():
    page = (ROOT / "autoscaler/agent/README.md").read_text()
    options = {
        option
        for action in command._parser("x")._actions
        for option in action.option_strings
        if option not in {"-h", "--help", "--version"}
    }
    assert options == set(re.findall(r"(?m)^\| `(--[\w-]+)", page))
