"""Feeds a recording to the same code again and compares what comes out, byte for byte.

The filter is driven by its recorded cuts over the recorded tape, execution by its recorded inbox. Both are functions of what they are given, so the
signals, cuts and actions must come out as they were; the first that does not is named. Neither half needs the other: they meet only in the journal, so
they may run in one process, in two, and in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.signals import Cut, CutOutcome
from tradingsystem.execution import inbox as execution_inbox
from tradingsystem.execution.state import State
from tradingsystem.execution.step import begin
from tradingsystem.execution.step import step as execution_step
from tradingsystem.filter import step as filter_step
from tradingsystem.filter.deciding import Answer, Decider, Serving
from tradingsystem.interfaces import Scores
from tradingsystem.messages.batch import Batch, decode_batch
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.recorder.segments import Record, read_records
from tradingsystem.spec.slices import FilterSlice

ANSWERED = (CutOutcome.OK, CutOutcome.FALLBACK)
DIFFERENCES_SHOWN = 5


@dataclass(slots=True)
class Half:
    """One half's outcome: how much went in and came out, the hash of everything that came out, and where it differs from the recording."""

    name: str
    entries: int = 0
    outputs: int = 0
    differences: list[str] = field(default_factory=list)
    digest: str = ""
    notes: list[str] = field(default_factory=list)  # about the recording that it was fed


@dataclass(frozen=True, slots=True)
class Replayed:
    """Both halves; ``digest`` is one hash over both."""

    halves: tuple[Half, ...]

    @property
    def digest(self) -> str:
        """One hash for the whole replay."""
        return hashlib.sha256("".join(half.digest for half in self.halves).encode()).hexdigest()

    @property
    def equal(self) -> bool:
        """Whether everything came out as recorded."""
        return not any(half.differences for half in self.halves)


class MissingBatches(InvalidInput):
    """A recorded cut needs batches that the recording does not hold; the text says which."""


def journal_of(directory: Path, tell: Callable[[str], None] = lambda _: None) -> list[Record]:
    """The journal's entries, each once, in their one sequence. ``tell`` hears of ends that nobody wrote."""
    found = {record.seq: record for record in read_records(directory, "journal", tell)}
    return [found[seq] for seq in sorted(found)]


def batches_of(directory: Path, tell: Callable[[str], None] = lambda _: None) -> dict[tuple[int, int], bytes]:
    """The tape's batches by (epoch, seq), encoded as they were published. ``tell`` hears of ends that nobody wrote."""
    return {(record.epoch, record.seq): record.payload for record in read_records(directory, "tape", tell)}


Scorer = Callable[[filter_step.Swept], Scores]


def replay_filter(
    system: str,
    spec: FilterSlice,
    load: Callable[[int], tuple[Serving, Scorer]],
    journal: Iterable[Record],
    batches: dict[tuple[int, int], bytes],
) -> Half:
    """Make every recorded cut again, with the model versions that made it, and compare it and its signals with the record. Raises ``MissingBatches``,
    and what ``load`` raises for a version that is gone."""
    subjects = Subjects(system)
    recorded_cuts: list[Cut] = []
    for record in journal:
        if record.subject == subjects.journal_cut:
            recorded_cuts += decode(record.payload, list[Cut])
    recorded_signals = iter([record.payload for record in journal if record.subject == subjects.journal_signal])
    loaded: dict[int, tuple[Serving, Scorer]] = {}

    def model_of(version: int) -> tuple[Serving, Scorer]:
        if version not in loaded:
            loaded[version] = load(version)
        return loaded[version]

    state, decider = filter_step.create(spec), Decider(spec, model_of(recorded_cuts[0].model if recorded_cuts else 0)[0])
    half, digest = Half("filter"), hashlib.sha256()
    for cut in recorded_cuts:
        swept = filter_step.step(state, list(batches_of_cut(cut, batches)), full=cut.full)
        if (cut.model, cut.canary, cut.canary_percent) != decider.roles:
            decider.assign(model_of(cut.model)[0], model_of(cut.canary)[0] if cut.canary else None, cut.canary_percent)
        scores = model_of(cut.model)[1](swept) if cut.outcome in ANSWERED else None
        canary = model_of(cut.canary)[1](swept) if cut.canary_outcome in ANSWERED else None
        again, signals = decider.decide(state, swept, scores, cut.outcome, Answer(canary, cut.canary_outcome))
        again = msgspec.structs.replace(again, runtime=cut.runtime)  # who computed the answers is recorded, never made again
        half.entries += 1
        _compare(half, f"cut {cut.epoch}/{cut.last_seq}", encode(again), encode(cut), digest)
        for signal in signals:
            _compare(half, f"signal {signal.id}", encode(signal), next(recorded_signals, b""), digest)
    left = sum(1 for _ in recorded_signals)
    if left:
        half.differences.append(f"{left} recorded signals were not made again")
    half.digest = digest.hexdigest()
    return half


def batches_of_cut(cut: Cut, batches: dict[tuple[int, int], bytes]) -> Iterator[Batch]:
    """The batches of a cut. Holes inside a cut are gaps that the filter saw too; a cut without its first or last batch cannot be made again."""
    for seq in range(cut.first_seq, cut.last_seq + 1):
        payload = batches.get((cut.epoch, seq))
        if payload is not None:
            yield decode_batch(payload)
        elif seq in (cut.first_seq, cut.last_seq):
            raise MissingBatches(f"cut {cut.epoch}/{cut.first_seq}-{cut.last_seq}: batch {seq} was not recorded")


def replay_execution(system: str, journal: Iterable[Record]) -> Half:
    """Step through the recorded inbox and compare the intents that come out with the journaled ones."""
    subjects = Subjects(system)
    prefix = subjects.journal_intents.removesuffix("*")
    intents = {record.subject.removeprefix(prefix): record.payload for record in journal if record.subject.startswith(prefix)}
    state: State | None = None
    half, digest = Half("execution"), hashlib.sha256()
    made: set[str] = set()
    for record in journal:
        if record.subject != subjects.journal_inbox:
            continue
        entry: execution_inbox.InboxEntry = decode(record.payload, execution_inbox.InboxEntry)
        if state is None:
            if not isinstance(entry, execution_inbox.Started):
                raise MissingBatches(f"the recorded inbox begins with {type(entry).__name__} and not with Started")
            state = begin(entry)
        half.entries += 1
        for action in execution_step(state, entry):
            half.outputs += 1
            digest.update(encode(action))
            approved = getattr(action, "approved", None)
            if approved is None or approved.intent.client_order_id in made:
                continue
            made.add(approved.intent.client_order_id)
            _note(half, f"intent {approved.intent.client_order_id}", approved.intent.client_order_id in intents)
    for name in sorted(set(intents) - made):
        _note(half, f"intent {name}, which is in the journal and was not made again", same=False)
    half.digest = digest.hexdigest()
    return half


def _compare(half: Half, what: str, made: bytes, recorded: bytes, digest: hashlib._Hash) -> None:
    half.outputs += 1
    digest.update(made)
    _note(half, what, made == recorded)


def _note(half: Half, what: str, same: bool) -> None:
    if not same and len(half.differences) < DIFFERENCES_SHOWN:
        half.differences.append(f"{what} differs from the recording")
