from __future__ import annotations

import gzip
import os
import stat
import zlib
from pathlib import Path

import pytest

from autoscaler.daemon.recording.segments import (
    EventLine,
    SegmentWriter,
    check,
    make_folder,
    read_lines,
    segment_files,
)
from autoscaler.errors import RecordingError
from tests.daemon.recording.recordings import recorded


@pytest.fixture
def segment(tmp_path) -> Path:
    recorded(tmp_path, 20)
    (path,) = segment_files(tmp_path)
    return path


def events_in(path: Path) -> int:
    return sum(isinstance(line, EventLine) for line in read_lines(path))


def test_a_whole_segment_says_that_it_is_whole(segment):
    assert check(segment)
    assert events_in(segment) > 20


def test_any_cut_reads_as_a_shorter_recording_never_as_damage(segment):
    raw = segment.read_bytes()
    whole = events_in(segment)
    counts = []
    for length in range(1, len(raw), max(1, len(raw) // 60)):
        segment.write_bytes(raw[:length])
        assert not check(segment)
        counts.append(events_in(segment))
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] >= whole - 1


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_a_changed_byte_is_damage(segment, at):
    raw = bytearray(segment.read_bytes())
    # the last one is of the checksum: what is before it may be padding, which says nothing
    raw[min(int(len(raw) * at), len(raw) - 6)] ^= 0x55
    segment.write_bytes(raw)
    with pytest.raises(RecordingError, match="damaged"):
        check(segment)


def test_what_is_no_gzip_file_is_no_recording(tmp_path):
    path = tmp_path / "x"
    path.write_text("kind: InferenceAutoscaler\n")
    with pytest.raises(RecordingError, match="no gzip file"):
        check(path)


def test_gzipped_text_is_no_recording(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"t_s,input_tokens,output_tokens\n0,1,2\n"))
    assert check(path)
    with pytest.raises(RecordingError, match="line 1 is none of a recording"):
        list(read_lines(path))


def test_something_after_the_end_is_damage(segment):
    segment.write_bytes(segment.read_bytes() + b"more")
    with pytest.raises(RecordingError, match="follows the end"):
        check(segment)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        check(tmp_path / "none")


def test_an_unknown_kind_of_line_is_refused(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b'{"kind":"later"}\n'))
    with pytest.raises(RecordingError, match="line 1"):
        list(read_lines(path))


def test_zlib_flushes_leave_what_was_flushed_readable():
    """The property that the format rests on."""
    deflate = zlib.compressobj(wbits=31)
    written = deflate.compress(b"one\n") + deflate.flush(zlib.Z_SYNC_FLUSH)
    deflate.compress(b"two\n")
    assert zlib.decompressobj(wbits=31).decompress(written) == b"one\n"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_recording_is_for_us_alone_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        folder = tmp_path / "recording"
        make_folder(folder)
        writer = SegmentWriter(folder / "20260301T120000Z-000001.jsonl.gz")
        writer.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(writer.path.stat().st_mode) == 0o600


def test_a_folder_that_is_there_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    make_folder(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("line", [b"[" * 5000, b'{"kind": "\xff"}', b"9" * 5000, b"null", b""])
def test_a_line_that_no_recorder_wrote_is_refused_in_words(tmp_path, line):
    path = tmp_path / "20260301T120000Z-000001.jsonl.gz"
    path.write_bytes(gzip.compress(line + b"\n"))
    with pytest.raises(RecordingError, match="line 1 is none of a recording") as caught:
        list(read_lines(path))
    assert str(caught.value).isprintable()
