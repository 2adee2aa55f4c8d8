from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from autoscaler.core.contract.decision import Outcome
from autoscaler.daemon.recording import recorder as recorder_module
from autoscaler.daemon.recording.recorder import Recorder
from autoscaler.daemon.recording.reproduce import replay
from autoscaler.daemon.recording.segments import (
    EventLine,
    Header,
    read_lines,
    segment_files,
)
from tests.daemon.recording.recordings import STARTED_AT, record, recorded, recorder_in, story


def lines_of(path: Path) -> list[dict]:
    return [msgspec.json.decode(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_a_segment_opens_with_header_and_checkpoint_and_closes_with_its_count(tmp_path):
    events = recorded(tmp_path)
    (path,) = segment_files(tmp_path)
    lines = lines_of(path)
    assert [line["kind"] for line in lines[:2]] == ["header", "checkpoint"]
    assert {line["kind"] for line in lines[2:-1]} == {"event"}
    assert lines[-1] == {"kind": "end", "events": len(events), "reason": "Stopped"}
    header = lines[0]
    assert header["first_event"] == 1
    assert header["hole"] is None
    assert header["settings"]["policy"] == "candidates"
    assert {"package", "python", "numpy", "architecture", "cpu_features"} == set(header["writer"])
    assert [line["event"]["id"] for line in lines[2:-1]] == [event.id for event in events]


@pytest.mark.slow
def test_a_full_segment_is_followed_by_another_that_carries_the_specification(tmp_path):
    recorder = recorder_in(tmp_path, segment_bytes=3_000)
    # the thread says that a segment is full; without its pace the loop would be long gone
    pace(recorder)
    record(recorder, 200)
    recorder.close()
    files = segment_files(tmp_path)
    assert len(files) > 2
    for path in files[1:]:
        lines = lines_of(path)
        assert lines[1]["memory"]["fleet"]["models"][0]["name"] == "llama"
        assert lines[0]["first_event"] == lines[2]["event"]["id"]
    ends = [lines_of(path)[-1]["reason"] for path in files]
    assert ends == ["Rotated"] * (len(files) - 1) + ["Stopped"]


def pace(recorder: Recorder) -> None:
    """Let the thread write each event before the next is handed over."""
    append = recorder.append

    def append_and_wait(event, outcome) -> None:
        before = recorder.recorded_events + recorder.lost_events
        append(event, outcome)
        deadline = threading.Event()
        while recorder.recorded_events + recorder.lost_events == before:
            deadline.wait(0.001)

    recorder.append = append_and_wait


@pytest.mark.slow
def test_the_oldest_segments_go_when_the_total_is_reached(tmp_path):
    (tmp_path / "notes.txt").write_text("not ours")
    recorded(tmp_path, started_at=STARTED_AT - 3600)
    (old,) = segment_files(tmp_path)
    # a segment is at least four times its checkpoint, which is some 30 kB once the forecast has learnt
    recorder = recorder_in(tmp_path, segment_bytes=3_000, total_bytes=150_000)
    pace(recorder)
    record(recorder, 700)
    recorder.close()
    files = segment_files(tmp_path)
    assert sum(path.stat().st_size for path in files) <= 150_000
    assert not old.exists()
    assert lines_of(files[0])[0]["segment"] > 1
    assert (tmp_path / "notes.txt").exists()
    assert [report.difference for report in replay(tmp_path)] == [None] * len(files)


def test_two_runs_of_one_second_do_not_overwrite_each_other(tmp_path):
    recorded(tmp_path)
    recorded(tmp_path)
    assert len(segment_files(tmp_path)) == 2


def test_a_backlog_drops_events_counts_them_and_the_recording_says_so(tmp_path, monkeypatch):
    """The thread is held at its first encoding, so the loop runs ahead of it."""
    gate = threading.Event()
    write = recorder_module.to_builtins

    def held(value, kind):
        assert gate.wait(30)
        return write(value, kind)

    monkeypatch.setattr(recorder_module, "to_builtins", held)
    recorder = recorder_in(tmp_path, backlog_rows_max=20)
    handled = record(recorder, 30)
    assert recorder.lost_events > 0
    lost = recorder.lost_events
    gate.set()
    while recorder.recorded_events + lost < len(handled):
        threading.Event().wait(0.01)
    assert recorder.wants_checkpoint()  # the backlog is gone: it can go on
    recorder.begin({}, at=STARTED_AT, first_event=99)
    recorder.close()
    first, second = (lines_of(path) for path in segment_files(tmp_path))
    assert first[-1] == {"kind": "end", "events": len(handled) - lost, "reason": "Rotated"}
    assert second[0]["hole"] == {"events": lost, "reason": "backlog full"}


class FullDisk:
    """A file system that refuses writes while `full`."""

    def __init__(self, monkeypatch) -> None:
        self.full = False
        put = recorder_module.SegmentWriter._put

        def refuse(writer, compressed: bytes) -> None:
            if self.full and compressed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            put(writer, compressed)

        monkeypatch.setattr(recorder_module.SegmentWriter, "_put", refuse)


def settle(recorder: Recorder, events: int) -> None:
    while recorder.recorded_events + recorder.lost_events < events:
        threading.Event().wait(0.005)


def test_a_full_disk_loses_nothing_in_silence_and_recording_resumes(tmp_path, monkeypatch):
    disk = FullDisk(monkeypatch)
    now = [0.0]
    recorder = recorder_in(tmp_path, monotonic=lambda: now[0], retry_s=30.0)
    events = list(story(12))
    engine_outcome = Outcome()

    recorder.begin({}, at=STARTED_AT, first_event=1)
    for event in events[:4]:
        recorder.append(event, engine_outcome)
    settle(recorder, 4)
    disk.full = True
    for event in events[4:8]:
        assert not recorder.wants_checkpoint() or recorder.problem
        recorder.append(event, engine_outcome)
    settle(recorder, 8)
    assert recorder.lost_events == 4
    assert "No space left" in recorder.problem
    assert not recorder.wants_checkpoint()  # it waits before it tries again
    recorder.append(events[8], engine_outcome)
    assert recorder.lost_events == 5

    now[0] = 31.0
    disk.full = False
    assert recorder.wants_checkpoint()
    recorder.begin({}, at=STARTED_AT, first_event=10)
    recorder.append(events[9], engine_outcome)
    settle(recorder, 10)
    recorder.close()
    assert recorder.problem == ""
    before, after = segment_files(tmp_path)
    kept = [line for line in read_lines(before) if isinstance(line, EventLine)]
    assert len(kept) == 4  # what was flushed before the disk was full can still be read
    header = lines_of(after)[0]
    assert header["hole"]["events"] == 5
    assert "No space left" in header["hole"]["reason"]


def test_on_a_disk_smaller_than_the_limit_the_oldest_segments_make_room(tmp_path, monkeypatch):
    disk = FullDisk(monkeypatch)
    now = [0.0]
    recorder = recorder_in(tmp_path, segment_bytes=3_000, monotonic=lambda: now[0])
    pace(recorder)
    record(recorder, 150)
    before = segment_files(tmp_path)
    disk.full = True
    recorder.append(next(story(1)), Outcome())
    disk.full = False
    assert not recorder.wants_checkpoint()
    now[0] = 31.0
    assert recorder.wants_checkpoint()
    recorder.begin({}, at=STARTED_AT, first_event=999)
    recorder.close()
    after = segment_files(tmp_path)
    gone = sorted(set(before) - set(after))
    assert gone
    assert gone == before[: len(gone)]
    assert before[-1] in after, "the newest stays"
    assert len(set(after) - set(before)) == 1


def test_a_disk_that_stays_full_is_tried_again_and_again(tmp_path, monkeypatch):
    disk = FullDisk(monkeypatch)
    disk.full = True
    now = [0.0]
    recorder = recorder_in(tmp_path, monotonic=lambda: now[0], retry_s=30.0)
    events = list(story(6))
    for number, event in enumerate(events):
        if recorder.wants_checkpoint():
            recorder.begin({}, at=STARTED_AT, first_event=event.id)
        recorder.append(event, Outcome())
        settle(recorder, number + 1)
        now[0] += 31.0
    recorder.close()
    assert recorder.lost_events == len(events)


def test_a_folder_that_cannot_be_made_is_a_problem_not_a_crash(tmp_path):
    (tmp_path / "file").write_text("in the way")
    recorder = recorder_in(tmp_path / "file" / "recording")
    record(recorder, 3)
    recorder.close()
    assert recorder.lost_events == 4
    assert "file" in recorder.problem


@pytest.mark.slow
def test_a_bug_in_encoding_ends_the_segment_not_the_thread(tmp_path):
    now = [0.0]
    recorder = recorder_in(tmp_path, monotonic=lambda: now[0])
    events = list(story(3))
    recorder.begin({}, at=STARTED_AT, first_event=1)
    recorder.append(events[0], Outcome(commands=("no command",)))
    settle(recorder, 1)
    assert recorder.lost_events == 1
    assert recorder.problem == "KeyError: 'str'"
    assert not recorder.wants_checkpoint()
    now[0] = 31.0
    assert recorder.wants_checkpoint()
    recorder.begin({}, at=STARTED_AT, first_event=2)
    recorder.append(events[1], Outcome())
    recorder.close()
    assert recorder.recorded_events == 1


@pytest.mark.slow
def test_a_killed_process_leaves_all_that_it_had_flushed(tmp_path):
    """SIGKILL, as a node that dies; what was said to be recorded is there, and replays."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.daemon.recording.recordings", str(tmp_path), "40000"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    said = 0
    for line in process.stdout:
        said = int(line)
        if said > 400:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    assert said > 400, "the recording process ended by itself"
    reports = list(replay(tmp_path))
    assert [report.difference for report in reports] == [None] * len(reports)
    assert len(reports) > 1, "it has rotated"
    assert reports[-1].ending == "Cut"
    assert sum(report.events for report in reports) >= said
    headers = [next(read_lines(report.path)) for report in reports]
    assert [h.segment for h in headers if isinstance(h, Header)] == list(range(1, len(reports) + 1))
