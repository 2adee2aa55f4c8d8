from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.memory import ModelMemory
from autoscaler.daemon.recording.reproduce import replay
from autoscaler.daemon.recording.segments import FORMAT, segment_files
from autoscaler.errors import RecordingError
from tests.daemon.recording.recordings import record, recorded, recorder_in
from tests.daemon.recording.test_recorder import pace


def rewrite(path: Path, change) -> None:
    """Change the lines of a segment; it stays a sound file."""
    lines = [msgspec.json.decode(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    change(lines)
    path.write_bytes(gzip.compress(b"".join(msgspec.json.encode(line) + b"\n" for line in lines)))


def observations(lines: list[dict]) -> list[dict]:
    return [line for line in lines if line["kind"] == "event" and line["outcome"]["decisions"]]


def of_another_shape(lines: list[dict]) -> None:
    memory = to_builtins(ModelMemory(), ModelMemory)
    memory["forecast"]["busy"]["mass"].pop()
    lines[1]["memory"]["models"] = [["serving/llama", memory]]


def on_another_machine(lines: list[dict]) -> None:
    lines[0]["writer"]["cpu_features"] = ["something-else"]


@pytest.fixture
def segment(tmp_path) -> Path:
    recorded(tmp_path, 40)
    (path,) = segment_files(tmp_path)
    return path


def test_a_recording_is_reproduced_byte_for_byte(segment):
    (report,) = replay(segment)
    assert report.difference is None
    assert report.exact
    assert report.ending == "Stopped"
    assert report.decisions == 40
    assert report.commands > 0
    assert report.events == 1 + 40 + report.commands


@pytest.mark.slow
def test_what_was_read_of_the_past_is_in_it_and_is_learnt_again_byte_for_byte(tmp_path):
    recorder = recorder_in(tmp_path)
    events = record(recorder, 40, past=True)
    recorder.close()
    (report,) = replay(tmp_path)
    assert (report.difference, report.exact) == (None, True)
    assert report.events == len(events)
    (path,) = segment_files(tmp_path)
    lines = [msgspec.json.decode(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    (read,) = [line for line in lines if line.get("event", {}).get("kind") == "HistoryRead"]
    assert len(read["event"]["history"]["at"]) == 600
    assert read["outcome"]["history"]["rows"] > 450
    (known,) = [line for line in lines if line.get("event", {}).get("kind") == "KnowledgeRead"]
    assert "residuals" in known["outcome"]["knowledge"]["parts"]
    first = next(iter(observations(lines)))["outcome"]["decisions"][0]
    assert "offered load" in first["trail"][0]["message"], "else no decision would hang on it"


@pytest.mark.slow
def test_every_segment_replays_alone(tmp_path):
    recorder = recorder_in(tmp_path, segment_bytes=3_000)
    pace(recorder)
    events = record(recorder, 250)
    recorder.close()
    files = segment_files(tmp_path)
    assert len(files) > 3
    counts = []
    for path in files:
        (report,) = replay(path)
        assert report.difference is None, path
        assert report.exact
        counts.append(report.events)
    assert sum(counts) == len(events)
    whole = list(replay(tmp_path))
    assert [report.events for report in whole] == counts


@pytest.mark.slow
def test_the_memory_at_the_end_of_a_segment_is_the_checkpoint_of_the_next(tmp_path):
    """Else a later segment would reproduce a history that never was."""
    recorder = recorder_in(tmp_path, segment_bytes=6_000)
    pace(recorder)
    record(recorder, 120)
    recorder.close()
    first, second, *_ = segment_files(tmp_path)
    old = msgspec.json.decode(gzip.decompress(first.read_bytes()).splitlines()[1])

    def forget(lines: list[dict]) -> None:
        lines[1]["memory"]["models"] = old["memory"]["models"]

    rewrite(second, forget)
    assert next(iter(replay(first))).difference is None
    (report,) = replay(second)
    assert report.difference is not None


def test_a_decision_that_is_not_reproduced_is_named(segment):
    def change(lines: list[dict]) -> None:
        decision = observations(lines)[17]["outcome"]["decisions"][0]
        decision["desired_replicas"] += 1

    rewrite(segment, change)
    (report,) = replay(segment)
    found = report.difference
    assert found is not None
    assert found.kind == "Observed"
    assert found.model == "serving/llama"
    assert found.field == "decisions[0].desired_replicas"
    assert found.recorded == found.reproduced + 1
    assert report.decisions == 17


def test_on_the_same_machine_a_message_must_be_equal_too(segment):
    def change(lines: list[dict]) -> None:
        observations(lines)[3]["outcome"]["decisions"][0]["trail"][0]["message"] += " "

    rewrite(segment, change)
    (report,) = replay(segment)
    assert report.difference.field == "decisions[0].trail[0].message"


def test_on_another_machine_messages_and_measures_may_differ(segment):
    def change(lines: list[dict]) -> None:
        on_another_machine(lines)
        for line in observations(lines):
            decision = line["outcome"]["decisions"][0]
            decision["trail"][0]["message"] += " "
            decision["measures"]["demand_replicas"] += 1e-12

    rewrite(segment, change)
    (report,) = replay(segment)
    assert report.difference is None
    assert not report.exact
    assert report.decisions == 40


@pytest.mark.parametrize("field", ["reason", "desired_replicas"])
def test_on_another_machine_reasons_and_desired_replicas_must_be_equal(segment, field):
    def change(lines: list[dict]) -> None:
        on_another_machine(lines)
        decision = observations(lines)[9]["outcome"]["decisions"][0]
        decision[field] = {"reason": "Otherwise", "desired_replicas": 77}[field]

    rewrite(segment, change)
    (report,) = replay(segment)
    assert report.difference.field == f"decisions[0].{field}"


def test_on_another_machine_commands_must_be_equal(segment):
    def change(lines: list[dict]) -> None:
        on_another_machine(lines)
        with_commands = [line for line in observations(lines) if line["outcome"]["commands"]]
        with_commands[1]["outcome"]["commands"].pop()

    rewrite(segment, change)
    (report,) = replay(segment)
    assert report.difference.field.startswith("commands[")
    assert report.difference.recorded == "nothing"
    assert report.difference.model == "serving/llama"


def test_a_folder_stops_at_the_first_segment_that_differs(tmp_path):
    recorder = recorder_in(tmp_path, segment_bytes=3_000)
    pace(recorder)
    record(recorder, 120)
    recorder.close()
    files = segment_files(tmp_path)

    def change(lines: list[dict]) -> None:
        observations(lines)[0]["outcome"]["decisions"][0]["reason"] = "Otherwise"

    rewrite(files[1], change)
    reports = list(replay(tmp_path))
    assert [report.difference is None for report in reports] == [True, False]


def test_a_damaged_segment_is_refused_before_any_is_replayed(tmp_path):
    recorder = recorder_in(tmp_path, segment_bytes=3_000)
    pace(recorder)
    record(recorder, 120)
    recorder.close()
    last = segment_files(tmp_path)[-1]
    raw = bytearray(last.read_bytes())
    raw[len(raw) // 2] ^= 0x55
    last.write_bytes(raw)
    with pytest.raises(RecordingError, match="damaged"):
        next(replay(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda lines: lines.pop(0), "no header", id="no header"),
        pytest.param(lambda lines: lines.pop(1), "before its checkpoint", id="no checkpoint"),
        pytest.param(lambda lines: lines[0].update(format=99), "format 99", id="another format"),
        pytest.param(
            lambda lines: lines[0].update(format=2),
            f"found format 2, .* reads format {FORMAT} alone: replay it with the version that wrote it, or record anew",
            id="the format before",
        ),
        pytest.param(
            lambda lines: lines[0]["settings"].update(mood="good"), "mood", id="unknown setting"
        ),
        pytest.param(
            lambda lines: lines[1]["memory"].pop("models"), "checkpoint", id="checkpoint of another"
        ),
        pytest.param(
            lambda lines: lines[1]["memory"].update(at="soon"),
            "checkpoint .*at: a number was expected, found 'soon'",
            id="checkpoint with a word for a number",
        ),
        pytest.param(of_another_shape, "checkpoint .* cannot be read", id="of another shape"),
        pytest.param(
            lambda lines: lines[3]["event"].pop("models"),
            "event 2 cannot be read .*Observed with `models`",
            id="event of another",
        ),
        pytest.param(lambda lines: lines.clear(), "no header", id="nothing"),
    ],
)
def test_what_cannot_be_replayed_is_said(segment, change, message):
    rewrite(segment, change)
    with pytest.raises(RecordingError, match=message):
        list(replay(segment))


def test_an_empty_folder_has_no_recording(tmp_path):
    with pytest.raises(RecordingError, match="without a recording"):
        list(replay(tmp_path))
