"""A recorded run gives the rows that were served, to the bit, marked with what it was; what cannot be trusted is named and left out."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tradingsystem.domain.signals import Cut, CutOutcome
from tradingsystem.ensemble.labels import SAMPLE_SECONDS
from tradingsystem.filter import step as filter_step
from tradingsystem.messages.batch import ROWS_MAX, Batch, encode_batch
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.generated_day import generate
from tradingsystem.recorder.segments import Record, SegmentWriter
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.slices import FilterSlice
from tradingsystem.world.learning_days import find_runs, load_days, load_run
from tradingsystem.world.recipe import DATE, filter_slice

SYMBOLS = 90
SECONDS = 3_900  # of the session: sixty-five minutes
SPEC = filter_slice(SYMBOLS + 10)


def tape(seed: int) -> list[Batch]:
    """The first minutes of a generated day, from just before the open."""
    day = generate(seed, DATE, SYMBOLS, 1.0)
    open_ns = day.market.session.open_ns
    found: list[Batch] = []
    for at_ns, rows in day.seconds():
        if at_ns < open_ns - 60_000_000_000:
            continue
        if at_ns > open_ns + SECONDS * 1_000_000_000:
            break
        for start in range(0, max(len(rows), 1), ROWS_MAX):
            part = rows.slice(start, start + ROWS_MAX)
            found.append(Batch(epoch=1, seq=len(found) + 1, sealed_at_ns=at_ns, gap=False, notes=() if found else day.notes, rows=part))
    return found


def served(batches: list[Batch]) -> tuple[list[Cut], str]:
    """A filter that takes one to three batches at a time, as a busy one does: its cuts, and a hash over the feature rows it sampled."""
    random = np.random.default_rng(5)
    state = filter_step.create(SPEC)
    cuts, whole = [], hashlib.sha256()
    at = 0
    while at < len(batches):
        taken = batches[at : at + int(random.integers(1, 4))]
        at += len(taken)
        swept = filter_step.step(state, taken)
        cuts.append(
            Cut(
                epoch=swept.epoch,
                first_seq=swept.first_seq,
                last_seq=swept.last_seq,
                sealed_at_ns=swept.sealed_at_ns,
                full=swept.full,
                model=3,
                runtime="onnxruntime",
                outcome=CutOutcome.OK,
                regime=swept.regime,
                candidates=len(swept.features.rows),
                signals=0,
            )
        )
        session = state.market.session
        if swept.full and swept.entries and session is not None:
            second = (swept.sealed_at_ns - session.open_ns) // 1_000_000_000
            kept = (swept.features.rows + second) % SAMPLE_SECONDS == 0
            if second < SECONDS - 1_800:  # of later ones the future is not closed
                whole.update(swept.features.values[kept].tobytes())
    return cuts, whole.hexdigest()


def write_run(folder: Path, batches: list[Batch], cuts: list[Cut], spec: FilterSlice = SPEC) -> Path:
    """A run's folder as the recorder leaves it."""
    subject = Subjects(spec.system).journal_cut
    journal = [Record(0, at, cut.sealed_at_ns, subject, encode([cut])) for at, cut in enumerate(cuts, start=1)]
    written = [Record(batch.epoch, batch.seq, batch.sealed_at_ns, f"tape.{spec.system}", encode_batch(batch)) for batch in batches]
    for kind, records in (("journal", journal), ("tape", written)):
        writer = SegmentWriter(folder / "recording", kind)
        for at in range(0, len(records), 200):
            writer.write(records[at : at + 200])
        writer.close()
    (folder / "slices").mkdir()
    (folder / "slices" / "filter.json").write_bytes(msgspec.json.encode(spec))
    return folder


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Batch], list[Cut], str]:
    """One run, its batches and cuts, and the hash of the rows that were served."""
    batches = tape(100_001)
    cuts, digest = served(batches)
    return write_run(tmp_path_factory.mktemp("runs") / "monday", batches, cuts), batches, cuts, digest


def test_rows_are_those_that_were_served_to_the_bit(day: tuple[Path, list[Batch], list[Cut], str]) -> None:
    """The hash over the features of every row whose horizon has passed is the one the filter had while it ran."""
    run, _, _, digest = day
    (found,) = load_run(run)
    closed = found.rows.take(found.rows.at_ns < found.session.open_ns + (SECONDS - 1_800) * 1_000_000_000)
    assert len(closed) > 20
    assert hashlib.sha256(closed.features.tobytes()).hexdigest() == digest
    assert (found.kind, found.model, found.name) == ("simulated", 3, f"{DATE}, seed 7")
    assert (found.rows.closed_ns > found.rows.at_ns).all()


def test_a_kept_day_is_the_read_one(day: tuple[Path, list[Batch], list[Cut], str], tmp_path: Path) -> None:
    """Read twice, it is read from the file that was kept the first time, and equal."""
    first = load_run(day[0], tmp_path)
    (kept,) = tmp_path.glob("*.npz")
    written_ns = kept.stat().st_mtime_ns
    second = load_run(day[0], tmp_path)
    assert kept.stat().st_mtime_ns == written_ns
    assert [one.rows.digest() for one in first] == [one.rows.digest() for one in second]
    assert [(one.name, one.kind, one.session, one.model) for one in first] == [
        (one.name, one.kind, one.session, one.model) for one in second
    ]


def test_a_damaged_or_unwritable_cache_costs_time_and_no_day(day: tuple[Path, list[Batch], list[Cut], str], tmp_path: Path) -> None:
    """Cut off or altered, the kept file is made anew; where nothing can be written the recording is read all the same."""
    (whole,) = load_run(day[0], tmp_path)
    (kept,) = tmp_path.glob("*.npz")
    content = kept.read_bytes()
    for damaged in (content[: len(content) // 2], content[:900] + bytes([content[900] ^ 1]) + content[901:], b""):
        kept.write_bytes(damaged)
        (again,) = load_run(day[0], tmp_path)
        assert again.rows.digest() == whole.rows.digest()
    (tmp_path / "file").touch()
    (unkept,) = load_run(day[0], tmp_path / "file")
    assert unkept.rows.digest() == whole.rows.digest()


def test_a_future_tick_changes_no_feature(day: tuple[Path, list[Batch], list[Cut], str], tmp_path: Path) -> None:
    """Cut off in the middle, every row that is there has the features and, where its future is closed, the label of the whole day."""
    run, batches, cuts, _ = day
    half = cuts[len(cuts) * 9 // 10]
    short = [batch for batch in batches if batch.seq <= half.last_seq]
    (whole,) = load_run(run)
    (cut,) = load_run(write_run(tmp_path / "short", short, [one for one in cuts if one.last_seq <= half.last_seq]))
    assert 0 < len(cut.rows) < len(whole.rows)
    keys = {(int(at), int(symbol)): place for place, (at, symbol) in enumerate(zip(whole.rows.at_ns, whole.rows.symbol, strict=True))}
    places = [keys[int(at), int(symbol)] for at, symbol in zip(cut.rows.at_ns, cut.rows.symbol, strict=True)]
    assert cut.rows.digest() == whole.rows.take(np.array(places)).digest()


def test_damaged_and_altered_recordings_are_named_and_the_rest_is_read(
    day: tuple[Path, list[Batch], list[Cut], str], tmp_path: Path
) -> None:
    """One byte changed, the settings gone, a batch missing: each is left out with its reason."""
    _, batches, cuts, _ = day
    good = write_run(tmp_path / "good", batches, cuts)
    altered = write_run(tmp_path / "altered", batches, cuts)
    segment = altered / "recording" / "tape-00000.arrows"
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(bytes(content))
    write_run(tmp_path / "missing", batches[:-40], cuts)
    (write_run(tmp_path / "unknown", batches, cuts) / "slices" / "filter.json").unlink()
    days = load_days(find_runs((tmp_path,)), None, None)
    assert [one.run for one in days.days] == [good.name]
    reasons = {Path(one.run).name: one.why for one in days.left_out}
    assert set(reasons) == {"altered", "missing", "unknown"}
    assert "was not recorded" in reasons["missing"]
    assert "--system" in reasons["unknown"]
    assert "batch" in reasons["altered"]


def test_days_of_several_kinds_stay_marked_and_none_is_counted_twice(day: tuple[Path, list[Batch], list[Cut], str], tmp_path: Path) -> None:
    """Another seed of the same date is another day and lies behind the first; the same session again is left out by name; live ones are called live."""
    _, batches, cuts, _ = day
    other = msgspec.structs.replace(SPEC, simulation=msgspec.structs.replace(SPEC.simulation, seed=8))
    write_run(tmp_path / "a", batches, cuts)
    write_run(tmp_path / "b", batches, cuts)
    write_run(tmp_path / "c", batches, cuts, other)
    write_run(tmp_path / "d", batches, cuts, msgspec.structs.replace(SPEC, mode=Mode.PAPER))
    days = load_days(find_runs((tmp_path,)), None, None)
    assert sorted((one.kind, one.run) for one in days.days) == [("live", "d"), ("simulated", "a"), ("simulated", "c")]
    assert [one.run for one in days.left_out] == ["b"]
    for earlier, later in itertools.pairwise(days.days):
        assert earlier.session.close_ns <= later.session.open_ns
        assert later.rows.at_ns.min() >= later.session.open_ns
