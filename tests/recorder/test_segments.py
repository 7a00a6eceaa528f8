"""What was recorded is read back byte for byte, whatever the crash did to the tail."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradingsystem.recorder.segments import (
    DamagedSegment,
    Record,
    SegmentWriter,
    last_position,
    read_records,
    segment_paths,
)


def some_records(count: int, start: int = 1) -> list[Record]:
    """Records with payloads of several sizes."""
    return [
        Record(epoch=7, seq=seq, at_ns=seq * 10, subject="tape.demo", payload=bytes([seq % 256]) * (seq % 300))
        for seq in range(start, start + count)
    ]


def test_records_come_back_in_order_across_segments(tmp_path: Path) -> None:
    """Rotation neither loses nor reorders anything."""
    writer = SegmentWriter(tmp_path, "tape", segment_bytes_max=10_000)
    records = some_records(500)
    for start in range(0, 500, 25):
        writer.write(records[start : start + 25])
    writer.close()
    assert len(segment_paths(tmp_path, "tape")) > 1
    assert list(read_records(tmp_path, "tape")) == records
    assert last_position(tmp_path, "tape") == (7, 500)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(cut=st.integers(0, 6_000))
def test_a_torn_tail_costs_only_the_torn_batch(tmp_path: Path, cut: int) -> None:
    """Wherever the file ends, the whole batches before that place are read and nothing is invented."""
    directory = tmp_path / str(cut)
    writer = SegmentWriter(directory, "journal")
    records = some_records(40)
    ends = []
    (path,) = segment_paths(directory, "journal")
    for start in range(0, 40, 10):
        writer.write(records[start : start + 10])
        ends.append(path.stat().st_size)
    left = path.read_bytes()[:cut]
    writer.close()
    path.write_bytes(left)
    whole = sum(10 for end in ends if end <= cut)
    assert list(read_records(directory, "journal")) == records[:whole]


NUMBER = st.integers(-(2**63), 2**63 - 1)
ANY_RECORD = st.builds(Record, epoch=NUMBER, seq=NUMBER, at_ns=NUMBER, subject=st.text(max_size=5), payload=st.binary(max_size=9))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(batches=st.lists(st.lists(ANY_RECORD, max_size=4), min_size=1, max_size=3))
def test_any_record_comes_back(tmp_path: Path, batches: list[list[Record]]) -> None:
    """Empty texts, text beyond ASCII and the largest numbers: what is written by its buffers is valid and the same."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        writer = SegmentWriter(Path(folder), "tape")
        for records in batches:
            writer.write(records)
        writer.close()
        assert list(read_records(Path(folder), "tape")) == [record for records in batches for record in records]


def test_writing_and_reading_load_no_pandas(tmp_path: Path) -> None:
    """It is installed with Arrow's friends, and costs whoever loads it a second and 55 MB."""
    program = (
        "import sys, pathlib; from tradingsystem.recorder.segments import Record, SegmentWriter, last_position;"
        "folder = pathlib.Path(sys.argv[1]); writer = SegmentWriter(folder, 'tape'); writer.write([Record(1, 2, 3, 'a', b'b')]); writer.close();"
        "assert last_position(folder, 'tape') == SegmentWriter(folder, 'tape').after == (1, 2); print('pandas' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True).stdout.strip() == "False"
    )


def test_a_new_writer_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    """After a crash nothing old is touched and the next records follow."""
    first = SegmentWriter(tmp_path, "tape")
    first.write(some_records(3))
    (path,) = segment_paths(tmp_path, "tape")
    left = path.read_bytes()  # without the end that an ordered close writes
    first.close()
    path.write_bytes(left)
    second = SegmentWriter(tmp_path, "tape")
    second.write(some_records(3, start=4))
    second.close()
    assert [record.seq for record in read_records(tmp_path, "tape")] == [1, 2, 3, 4, 5, 6]


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    """Something that is no segment is an error with its name, not an empty recording."""
    (tmp_path / "tape-00000.arrows").write_bytes(b"garbage" * 500)
    with pytest.raises(DamagedSegment, match=r"tape-00000\.arrows"):
        list(read_records(tmp_path, "tape"))


def recorded(directory: Path) -> list[Record]:
    """Three segments of several batches, closed in order."""
    writer, records = SegmentWriter(directory, "journal", segment_bytes_max=6_000), some_records(120)
    for start in range(0, 120, 10):
        writer.write(records[start : start + 10])
    writer.close()
    assert len(segment_paths(directory, "journal")) >= 3
    return records


def test_an_ordered_end_is_told_from_a_torn_one(tmp_path: Path) -> None:
    """A recording that was closed says nothing; one whose end is missing is named, with file and batch."""
    records = recorded(tmp_path)
    told: list[str] = []
    assert list(read_records(tmp_path, "journal", told.append)) == records
    assert told == []
    path = segment_paths(tmp_path, "journal")[-1]
    path.write_bytes(path.read_bytes()[:-200])
    assert list(read_records(tmp_path, "journal", told.append)) == records[: len(list(read_records(tmp_path, "journal")))]
    (said,) = told
    assert path.name in said


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_one_altered_bit_is_never_read_as_if_nothing_had_happened(tmp_path: Path, data: st.DataObject) -> None:
    """Wherever a bit flips, the recording is damaged by name, or what was read is what was recorded."""
    directory = tmp_path / "one"
    if not directory.exists():
        recorded(directory)
    path = data.draw(st.sampled_from(segment_paths(directory, "journal")))
    before = path.read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    altered = bytearray(before)
    altered[place] ^= 1 << data.draw(st.integers(0, 7))
    told: list[str] = []
    path.write_bytes(altered)
    with contextlib.suppress(DamagedSegment):
        assert list(read_records(directory, "journal", told.append)) == some_records(120) or told
    path.write_bytes(before)


def test_a_removed_segment_is_named(tmp_path: Path) -> None:
    """A hole between segments is not crossed in silence."""
    recorded(tmp_path)
    paths = segment_paths(tmp_path, "journal")
    paths[1].unlink()
    with pytest.raises(DamagedSegment, match=r"journal-00001\.arrows is missing"):
        list(read_records(tmp_path, "journal"))


def test_a_segment_that_was_cut_before_the_next_is_named(tmp_path: Path) -> None:
    """Batches cut off the end of an older segment are missed by the segment that goes on from them."""
    recorded(tmp_path)
    first, second, *_ = segment_paths(tmp_path, "journal")
    first.write_bytes(first.read_bytes()[:-3_000])
    with pytest.raises(DamagedSegment, match=second.name):
        list(read_records(tmp_path, "journal"))


def test_a_writer_goes_on_behind_damage(tmp_path: Path) -> None:
    """A damaged past stops nobody from recording the present; who reads is told of it."""
    recorded(tmp_path)
    path = segment_paths(tmp_path, "journal")[-1]
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    writer = SegmentWriter(tmp_path, "journal")
    writer.write(some_records(3, start=121))
    writer.close()
    assert last_position(tmp_path, "journal") == (7, 123)
    with pytest.raises(DamagedSegment, match=path.name):
        list(read_records(tmp_path, "journal"))
