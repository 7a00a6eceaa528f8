"""From an order back to everything that made it: broker events, intent, gate, sizing, signal, cut, batches; read from a run's recording.

Execution's ``step`` is fed the journaled inbox again, so the state before a decision is the one that decided, and size and gate are asked the same
questions on it. It refuses to guess: what the recording does not hold is absent, and an inbox that this build cannot read is an error that says where.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.orders import OrderIntent
from tradingsystem.domain.signals import Cut, Signal
from tradingsystem.domain.trading import Mark
from tradingsystem.messages.batch import decode_batch
from tradingsystem.messages.codec import Malformed
from tradingsystem.recorder.segments import read_records, segment_paths
from tradingsystem.spec.resource import Mode
from tradingsystem.world.day import recording_of
from tradingsystem.world.decisions import Decision, Event, OrderSeen, Recorded, Verdict, read_recorded
from tradingsystem.world.replay import journal_of

NEAREST_SHOWN = 6


class Tape(msgspec.Struct, frozen=True, kw_only=True):
    """One batch of the cut: its place on the tape, when it was sealed, how many rows; ``gap`` when input before it was lost."""

    epoch: int
    seq: int
    sealed_at_ns: int
    rows: int
    gap: bool


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that the recording knows of one order, newest cause last. None where nothing was recorded."""

    asked: str
    order: str  # client order id that was meant, empty when a signal was
    symbol: str
    run: str
    system: str
    mode: Mode | None
    orders: tuple[OrderSeen, ...]  # of the order's group: it and its legs and what took their place; of a signal, all its groups
    events: tuple[Event, ...]
    verdicts: tuple[Verdict, ...]
    opened_by: str | None  # of an exit: the order that opened the position
    decision: Decision | None
    signal: Signal | None
    mark: Mark | None
    cut: Cut | None
    batches: tuple[Tape, ...]
    features: dict[str, float | None] | None = None  # None: not asked for; a feature is None where its neutral value stood in


def newest_run(runs: Path) -> Path:
    """The run under ``runs`` that wrote last. Raises ``InvalidInput`` when there is none."""
    found = [(max(path.stat().st_mtime_ns for path in paths), folder) for folder, paths in _recordings(runs)]
    if not found:
        raise InvalidInput(f"{runs}: no recorded run in it; name one with --run FOLDER, as `tradingsystem up` prints it")
    return max(found)[1]


def _recordings(runs: Path) -> Iterator[tuple[Path, list[Path]]]:
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        if folder.is_dir() and (paths := segment_paths(folder / "recording", "journal")):
            yield folder, paths


def explain(run: Path, asked: str) -> Explanation:
    """Explain an order of a run, named by client order id (or the only beginning of one), signal id, or symbol (its newest).

    Raises ``InvalidInput`` when there is no recording, when it cannot be read, or when nothing or several things have that name.
    """
    folder = recording_of(run)
    try:
        recorded = read_recorded(journal_of(folder))
    except Malformed as error:
        raise InvalidInput(f"{folder}: {error}; a recording is read by the build that wrote it") from error
    name = resolve(recorded, asked)
    if name in recorded.signals:
        return _of_signal(folder, recorded, asked, name)
    return _of_order(folder, recorded, asked, name)


def resolve(recorded: Recorded, asked: str) -> str:
    """The order's or signal's id that was meant. Raises ``InvalidInput`` with the nearest ids."""
    names = recorded.names()
    if asked in names:
        return asked
    if (newest := recorded.newest_of(asked) or recorded.newest_of(asked.upper())) is not None:
        return newest
    fitting = [name for name in names if asked and name.startswith(asked)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InvalidInput(f"{asked}: {len(fitting)} orders and signals begin so: {_listed(fitting)}; write more of it")
    near = difflib.get_close_matches(asked, [*names, *recorded.symbols()], NEAREST_SHOWN, 0.5)
    if near:
        raise InvalidInput(f"{asked}: no order, signal or symbol of this run; nearest: {_listed(near)}")
    if not names:
        raise InvalidInput(f"{asked}: this run has no orders and no signals")
    newest_first = [*reversed(recorded.intents), *reversed(recorded.signals)]
    raise InvalidInput(f"{asked}: no order, signal or symbol of this run, and none is near; its newest: {_listed(newest_first)}")


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - NEAREST_SHOWN} more" if len(shown) > NEAREST_SHOWN else ""
    return ", ".join(shown[:NEAREST_SHOWN]) + more


def _of_signal(folder: Path, recorded: Recorded, asked: str, signal_id: str) -> Explanation:
    intents = [intent.client_order_id for intent in recorded.intents.values() if intent.cause == signal_id]
    keys = [key for name in intents for key in recorded.group_of(name)]
    return _explanation(folder, recorded, asked, "", list(dict.fromkeys(keys)), signal_id, None)


def _of_order(folder: Path, recorded: Recorded, asked: str, name: str) -> Explanation:
    if name in recorded.refused and name not in recorded.records:  # it never became one: its signal says why
        return _explanation(folder, recorded, asked, name, [], recorded.refused[name], None)
    keys = recorded.group_of(name)
    opener = _entry_in(recorded, keys)
    opened_by = None
    if opener is None:
        opened_by = next((verdict.opened_by for key in keys if (verdict := recorded.verdicts.get(key)) is not None), None)
        opener = recorded.intents.get(opened_by or "")
    return _explanation(folder, recorded, asked, name, keys, opener.cause if opener is not None else None, opened_by)


def _entry_in(recorded: Recorded, keys: list[str]) -> OrderIntent | None:
    found = (recorded.intents.get(key) for key in keys)
    return next((intent for intent in found if intent is not None and intent.cause in recorded.signals), None)


def _explanation(
    folder: Path, recorded: Recorded, asked: str, name: str, keys: list[str], signal_id: str | None, opened_by: str | None
) -> Explanation:
    signal = recorded.signals.get(signal_id or "")
    decision = recorded.decisions.get(signal_id or "")
    cut = recorded.cut_of(signal) if signal is not None else None
    orders = tuple(recorded.seen(key) for key in keys)
    symbol = orders[0].symbol if orders else signal.symbol if signal is not None else ""
    events = sorted((event for key in keys for event in recorded.events.get(key, [])), key=lambda event: event.seq)
    return Explanation(
        asked=asked,
        order=name,
        symbol=symbol,
        run=str(folder.parent if folder.name == "recording" else folder),
        system=recorded.system,
        mode=recorded.mode,
        orders=orders,
        events=tuple(events),
        verdicts=tuple(recorded.verdicts[key] for key in keys if key in recorded.verdicts),
        opened_by=opened_by,
        decision=decision,
        signal=signal,
        mark=decision.mark if decision is not None else None,
        cut=cut,
        batches=tuple(_batches(folder, cut)) if cut is not None else (),
    )


def _batches(folder: Path, cut: Cut) -> Iterator[Tape]:
    """The cut's batches, from the tape; those that were not recorded are missing. The tape goes forward, so reading ends behind the cut."""
    seen: set[int] = set()
    for record in read_records(folder, "tape"):
        if record.epoch > cut.epoch or (record.epoch == cut.epoch and record.seq > cut.last_seq):
            return
        if record.epoch == cut.epoch and record.seq >= cut.first_seq and record.seq not in seen:
            seen.add(record.seq)
            batch = decode_batch(record.payload)
            yield Tape(epoch=batch.epoch, seq=batch.seq, sealed_at_ns=batch.sealed_at_ns, rows=len(batch.rows), gap=batch.gap)
