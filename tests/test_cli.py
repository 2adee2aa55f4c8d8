from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
import structlog

from autoscaler import __version__, cli
from autoscaler.daemon.recording.segments import segment_files
from autoscaler.errors import ActuationError, RecordingError, SettingsError, TraceError
from tests.daemon.recording.recordings import recorded
from tests.daemon.recording.test_reproduce import observations, rewrite
from tests.test_settings import WHOLE, document, write

ROOT = Path(__file__).parents[1]
MISSING = (
    "autoscaler: this needs {library}, which is not installed; "
    "install the extra `{extra}`: pip install 'inference-autoscaler[{extra}]'\n"
)


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """`autoscaler run` sets up logging for its process, which is ours here."""
    kept, root = structlog.get_config(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.configure(**kept)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    code = cli._exit_code([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_it_has_help_and_a_version(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    for command in ("run", "check", "rehearse", "replay", "simulate", "demo"):
        assert command in out
    assert call(capsys, "--version")[:2] == (0, f"autoscaler, version {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["fly"], id="no such command"),
        pytest.param(["run"], id="no configuration"),
        pytest.param(["run", "--config", "x", "--tick-seconds", "0"], id="a tick of nothing"),
        pytest.param(["run", "--config", "x", "--log-format", "xml"], id="no such format"),
        pytest.param(["run"], id="neither documents nor resources"),
        pytest.param(["run", "--config", "x", "--watch-resources"], id="documents and resources"),
        pytest.param(["run", "--config", "x", "--namespaces", "a"], id="namespaces of documents"),
        pytest.param(
            ["run", "--watch-resources", "--namespaces", "a,,b"], id="a namespace of nothing"
        ),
        pytest.param(["simulate"], id="no trace"),
        pytest.param(["simulate", "x", "--scale", "0"], id="a scale of nothing"),
        pytest.param(["simulate", "x", "--seeds", "0"], id="no seeds"),
        pytest.param(["simulate", "x", "-o", "xml"], id="no such output"),
        pytest.param(["replay"], id="no recording"),
        pytest.param(["demo", "--seed", "x"], id="a seed that is none"),
    ],
)
def test_wrong_usage_is_two_with_a_hint(capsys, arguments):
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "Error" in err
    assert "Traceback" not in err


# -- check and run


def test_check_says_what_was_understood(capsys, tmp_path):
    code, out, err = call(capsys, "check", "--config", write(tmp_path, WHOLE))
    assert (code, err) == (0, "")
    assert out == (
        "serving/llama-70b: 1 to 10 replicas over spot (Spot), on-demand (OnDemand); "
        "warm floor 1 (14.00 USD an hour); "
        "Active: it will scale Deployment/serving/llama-70b-spot, Deployment/serving/llama-70b, and drain doomed nodes\n"
    )


def test_five_mistakes_are_five_lines_and_two(capsys, tmp_path):
    made = document(minReplicas=12, maxReplica=20, engine="vllm", metrics={"port": "8000"})
    made["spec"]["pools"][0]["capacityType"] = "spot"
    code, out, err = call(capsys, "check", "--config", write(tmp_path, made))
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"autoscaler: {tmp_path}") for line in lines)


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_configuration_that_is_not_there_is_two(capsys, tmp_path, command):
    code, out, err = call(capsys, command, "--config", tmp_path / "none.yaml")
    assert (code, out) == (2, "")
    assert err.startswith(f"autoscaler: {tmp_path}/none.yaml: found no such file")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kubeconfig", "/nonexistent/kubeconfig"], "no kubeconfig /nonexistent/kubeconfig"),
        (["--listen", "8080"], "write HOST:PORT"),
    ],
)
def test_settings_that_cannot_be_worked_with_are_two(capsys, tmp_path, arguments, message):
    code, _, err = call(capsys, "run", "--config", write(tmp_path, WHOLE), *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_kubeconfig_that_is_none_is_two(capsys, tmp_path):
    broken = tmp_path / "kubeconfig"
    broken.write_text("clusters: [")
    code, _, err = call(capsys, "run", "--config", write(tmp_path, WHOLE), "--kubeconfig", broken)
    assert code == 2
    assert str(broken) in err
    assert "Traceback" not in err


def test_a_folder_for_the_recording_that_cannot_be_is_two(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "recording"
    code, _, err = call(capsys, "run", "--config", write(tmp_path, WHOLE), "--record", folder)
    assert code == 2
    assert err.startswith(f"autoscaler: --record {folder}: Not a directory")


# -- replay


def test_replay_of_what_is_reproduced_is_zero(capsys, tmp_path):
    recorded(tmp_path, 20)
    (path,) = segment_files(tmp_path)
    for what in (path, tmp_path):
        code, out, err = call(capsys, "replay", what)
        assert (code, err) == (0, "")
        assert "20 decisions" in out
        assert "reproduced byte for byte; to the daemon's end" in out


def test_replay_of_a_difference_is_one_and_names_it(capsys, tmp_path):
    recorded(tmp_path, 20)
    (path,) = segment_files(tmp_path)

    def change(lines: list[dict]) -> None:
        observations(lines)[5]["outcome"]["decisions"][0]["desired_replicas"] = 99

    rewrite(path, change)
    code, out, _ = call(capsys, "replay", path)
    assert code == 1
    assert "of model serving/llama: decisions[0].desired_replicas" in out
    assert "recorded:   99" in out
    code, out, _ = call(capsys, "replay", path, "-o", "json")
    assert code == 1
    (row,) = json.loads(out)["rows"]
    assert row["difference"]["recorded"] == 99
    assert row["decisions"] == 5


def test_replay_of_a_run_that_was_killed_says_so(capsys, tmp_path):
    recorded(tmp_path, 20)
    (path,) = segment_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    code, out, _ = call(capsys, "replay", path)
    assert code == 0
    assert "its end is missing" in out


def test_replay_of_a_file_that_is_damaged_is_two(capsys, tmp_path):
    recorded(tmp_path, 20)
    (path,) = segment_files(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    code, _, err = call(capsys, "replay", path)
    assert code == 2
    assert err.startswith(f"autoscaler: {path}: damaged")


def test_replay_of_nothing_is_two(capsys, tmp_path):
    assert call(capsys, "replay", tmp_path / "none")[0] == 2
    assert call(capsys, "replay", tmp_path)[0] == 2


# -- errors in general


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SettingsError("one\ntwo"), 2, "autoscaler: one\nautoscaler: two\n"),
        (TraceError("no format"), 2, "autoscaler: no format\n"),
        (RecordingError("damaged"), 2, "autoscaler: damaged\n"),
        (ActuationError("no such node"), 1, "autoscaler: no such node\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (
            ModuleNotFoundError("No module named 'numba'", name="numba"),
            2,
            MISSING.format(library="numba", extra="simulate"),
        ),
        (
            ModuleNotFoundError("x", name="plotly.graph_objects"),
            2,
            MISSING.format(library="plotly.graph_objects", extra="report"),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_become_messages_and_codes(capsys, monkeypatch, error, code, said):
    @cli.cli.command("fail-for-a-test")
    def fail() -> None:
        raise error

    monkeypatch.setitem(cli.cli.commands, "fail-for-a-test", fail)
    try:
        assert call(capsys, "fail-for-a-test")[::2] == (code, said)
    finally:
        cli.cli.commands.pop("fail-for-a-test", None)


@pytest.mark.slow  # the commands import what they need, for the first time here
@pytest.mark.parametrize("library", ["prometheus_api_client", "requests"])
@pytest.mark.parametrize(
    "arguments",
    [("advise",), ("capture",), ("calibrate", "--profile", "llama-3.1-8b/1xH100")],
    ids=lambda arguments: arguments[0],
)
def test_what_reads_a_prometheus_says_which_extra_it_needs(
    capsys, monkeypatch, tmp_path, arguments, library
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)  # as if it was not installed
    code, out, err = call(capsys, *arguments, "--prometheus", "http://127.0.0.1:9")
    assert (code, out, err) == (2, "", MISSING.format(library=library, extra="advise"))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["advise", "capture", "calibrate"])
def test_help_needs_no_extra(capsys, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "prometheus_api_client", None)
    assert call(capsys, command, "--help")[0] == 0


def test_a_bug_is_not_hidden(monkeypatch):
    @click.command("fail-for-a-test")
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(cli.cli.commands, "fail-for-a-test", fail)
    with pytest.raises(ZeroDivisionError):
        cli._exit_code(["fail-for-a-test"])


@pytest.mark.slow
def test_a_reader_that_has_enough_is_no_error(tmp_path):
    """`autoscaler check … | head -1`, with more to say than a pipe holds."""
    models = []
    for number in range(700):
        made = document(pools=[{"name": "p", "scaleTargetRef": {"name": f"t{number}"}}])
        made["metadata"]["name"] = f"m{number}" + "x" * 150
        models.append(made)
    config = write(tmp_path, *models)
    process = subprocess.Popen(
        [sys.executable, "-m", "autoscaler.cli", "check", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.slow
def test_help_imports_nothing_heavy():
    code = (
        "import sys; from autoscaler import cli; "
        "cli._exit_code(['--help']); "
        "print(sorted(m for m in ('numpy', 'aiohttp', 'pydantic', 'kubernetes_asyncio', 'rich', "
        "'structlog', 'simulations') if m in sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert out.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_an_interrupt_from_the_keyboard_is_130(tmp_path):
    """While it waits for nothing but us."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-m", "autoscaler.cli", "replay", str(fifo)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    writer = os.open(fifo, os.O_WRONLY)  # returns once it reads
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    os.close(writer)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


# -- what others implement


@pytest.mark.slow
def test_simulate_hands_on_its_options(capsys, monkeypatch):
    given = {}
    import simulations.simulate

    def run_simulate(request) -> int:
        given.update(dataclasses.asdict(request))
        return 0

    monkeypatch.setattr(simulations.simulate, "run_simulate", run_simulate)
    assert call(capsys, "simulate", "a.csv", "generate:diurnal")[0] == 0
    assert given == {
        "traces": ("a.csv", "generate:diurnal"),
        "policies": ("inference-aware",),
        "profile": "llama-3.1-8b/1xL40S",
        "cold_start": "standard",
        "in_flight_target": "x1",
        "warm_floor": None,
        "scale": 1.0,
        "objective": "ttft=1+2x,tpot=0.1",
        "max_replicas": None,
        "seeds": 1,
        "spot": None,
        "spot_lead": "aws",
        "faults": None,
        "routing": "least-outstanding",
        "prices": None,
        "output": "table",
        "sweep": False,
        "bounds": False,
        "score_from": "0",
        "report": None,
        "jobs": None,
        "ray": None,
    }
    code, _, _ = call(
        capsys, "simulate", "x", "--policy", "hpa", "--policy", "keda", "--cold-start", "90",
        "--scale", "2.5", "--max-replicas", "7", "--seeds", "3", "--spot", "s", "--spot-lead", "30",
        "--in-flight-target", "x0.5",
        "-o", "csv", "--objective", "ttft=1,tpot=0.05", "--profile", "p", "--sweep", "--bounds",
        "--report", "r.html", "--prices", "p.toml", "--faults", "f.toml", "--routing", "prefix",
        "--jobs", "4", "--ray", "head:6379", "--score-from", "1d",
    )  # fmt: skip
    assert code == 0
    assert given == {
        "traces": ("x",),
        "policies": ("hpa", "keda"),
        "profile": "p",
        "in_flight_target": "x0.5",
        "warm_floor": None,
        "cold_start": "90",
        "scale": 2.5,
        "objective": "ttft=1,tpot=0.05",
        "max_replicas": 7,
        "seeds": 3,
        "spot": "s",
        "spot_lead": "30",
        "faults": "f.toml",
        "routing": "prefix",
        "prices": "p.toml",
        "output": "csv",
        "sweep": True,
        "bounds": True,
        "score_from": "1d",
        "report": Path("r.html"),
        "jobs": 4,
        "ray": "head:6379",
    }


def test_what_simulate_offers_is_what_the_replay_knows():
    """The command spells choices and defaults out: importing them would make `--help` slow."""
    from simulations.replay.conditions import LEADS_S, conditions_of
    from simulations.results.tables import OUTPUTS
    from simulations.serving.fleet import ROUTINGS
    from simulations.simulate import SimulateRequest

    options = {option.name: option for option in cli.cli.commands["simulate"].params}
    assert set(options) == {field.name for field in dataclasses.fields(SimulateRequest)}
    assert set(options["routing"].type.choices) == set(ROUTINGS)
    assert set(options["output"].type.choices) == set(OUTPUTS)
    assert options["spot_lead"].metavar.split("|") == [*LEADS_S, "SECONDS"]
    defaults = {
        name: option.default
        for name, option in options.items()
        if isinstance(option.default, bool | float | str | tuple)
    }
    written = SimulateRequest(**(defaults | {"traces": ["t"]}))
    left_out = SimulateRequest(traces=["t"])
    assert conditions_of(written) == conditions_of(left_out), "the same defaults"


@pytest.mark.parametrize("columns", [80, 100])
def test_the_help_of_simulate_fits_its_terminal(columns):
    from click.testing import CliRunner

    shown = CliRunner().invoke(cli.cli, ["simulate", "--help"], terminal_width=columns)
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= columns
    for option in cli.cli.commands["simulate"].params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.opts[0] in shown.output


BAD_FILES = {"broken.toml": "x = [", "odd.toml": "fault = [1]\n", "gpu.toml": "[TPU]\na = 1\n"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--routing", "random"], "'random' is not one of 'round-robin', 'least-outstanding'"),
        (["--faults", "none.toml"], "none.toml: cannot be read: [Errno 2] No such file"),
        (["--faults", "broken.toml"], "broken.toml: cannot be read: Invalid value"),
        (["--faults", "odd.toml"], "odd.toml: fault 1: is 1; write a [[fault]] table"),
        (["--faults", "."], "'.' is a directory"),
        (["--prices", "none.toml"], "none.toml: cannot be read: [Errno 2] No such file"),
        (["--prices", "broken.toml"], "broken.toml: cannot be read: Invalid value"),
        (["--prices", "gpu.toml"], "gpu.toml: no GPU 'TPU'; write one of"),
        (["--spot", "none.csv"], "none.csv: cannot be read: No such file"),
        (["--spot", "broken.toml"], "broken.toml: line 1: no known spot format"),
        (["--spot-lead", "5x"], "--spot-lead '5x': write aws, gcp, azure, none, or seconds"),
        (["--spot-lead", "-3"], "--spot-lead '-3'"),
        (["--spot-lead", "nan"], "--spot-lead 'nan'"),
        (["--spot-lead", ""], "--spot-lead ''"),
        (["--objective", "ttft=1+x"], "--objective 'ttft=1+x'"),
        (["--objective", "tpot=2x"], "a pace has no prefill"),
        (["--report", "no/r.html"], "--report no/r.html: no folder no; give one that exists"),
        (["--report", "."], "'.' is a directory"),
        (["--jobs", "0"], "0 is not in the range x>=1"),
        (["--profile", "gpt-7"], "--profile 'gpt-7': no such profile and no such file"),
        (["--policy", "best"], "--policy 'best': no such policy"),
        (["--cold-start", "tepid"], "--cold-start 'tepid'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_simulate_cannot_work_with_is_two_and_one_line(
    capsys, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    for name, text in BAD_FILES.items():
        (tmp_path / name).write_text(text)
    code, out, err = call(capsys, "simulate", "generate:flat,hours=0.01,rate=1", *arguments)
    assert (code, out) == (2, "")
    *before, line = err.splitlines()
    assert said in line
    assert not before or before[0].startswith("Usage: autoscaler simulate"), before


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_simulate_on_ray_without_ray_is_two_and_names_the_extra(capsys):
    code, out, err = call(
        capsys, "simulate", "generate:flat,hours=0.01,rate=1", "--ray", "auto", "--policy", "hpa"
    )
    assert (code, out) == (2, "")
    assert err == MISSING.format(library="ray", extra="ray")


def test_demo_hands_on_its_options_and_its_code(capsys, monkeypatch, tmp_path):
    import simulations.box.demo

    given = {}

    def run_demo(**options) -> int:
        given.update(options)
        return 1

    monkeypatch.setattr(simulations.box.demo, "run_demo", run_demo)
    assert call(capsys, "demo", "--plain", "--record", tmp_path, "--seed", "7")[0] == 1
    assert given == {"plain": True, "record": tmp_path, "seed": 7}
