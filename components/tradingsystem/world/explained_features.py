"""The features of one symbol at one cut, made again by driving the filter over the recorded tape.

Exists apart because it is slow and loads compiled kernels. It refuses to read features from anywhere else: they are recorded nowhere, they are a function
of the tape.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.signals import Cut
from tradingsystem.features.catalogue import NAMES
from tradingsystem.features.kernel import features_of
from tradingsystem.filter import step as filter_step
from tradingsystem.messages.batch import Batch, decode_batch
from tradingsystem.messages.codec import decode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.world.day import recording_of
from tradingsystem.world.replay import MissingBatches, batches_of, journal_of
from tradingsystem.world.replaying import Plan


def features_at(run: Path, wanted: Cut, symbol: str, progress: Callable[[int, int], None]) -> dict[str, float | None]:
    """The features by name; None where the neutral value stood in for one that was absent. ``progress`` is told cuts done and cuts in all.

    Raises ``InvalidInput`` when slices, cuts or batches are missing, or the symbol was not in the table then.
    """
    folder = recording_of(run)
    spec = Plan(run).filter_slice()
    cuts = _cuts_until(folder, Subjects(spec.system).journal_cut, wanted)
    batches = batches_of(folder)
    state = filter_step.create(spec)
    for done, cut in enumerate(cuts, start=1):
        filter_step.step(state, _batches(cut, batches), full=cut.full)
        progress(done, len(cuts))
    if symbol not in state.market.symbols:
        raise InvalidInput(f"{symbol}: not in the symbol table at cut {wanted.epoch}/{wanted.last_seq}")
    found = features_of(state.market, np.array([state.market.symbols.index(symbol)], np.int32))
    absent = int(found.missing[0])
    return {name: None if absent >> bit & 1 else float(found.values[0, bit]) for bit, name in enumerate(NAMES)}


def _cuts_until(folder: Path, subject: str, wanted: Cut) -> list[Cut]:
    found: list[Cut] = []
    for record in journal_of(folder):
        if record.subject != subject:
            continue
        cuts: list[Cut] = decode(record.payload, list[Cut])
        for cut in cuts:
            found.append(cut)
            if (cut.epoch, cut.last_seq) == (wanted.epoch, wanted.last_seq):
                return found
    raise InvalidInput(f"{folder}: cut {wanted.epoch}/{wanted.last_seq} is not in the journal")


def _batches(cut: Cut, batches: dict[tuple[int, int], bytes]) -> list[Batch]:
    """A cut's batches; holes inside it were gaps for the filter, too."""
    for seq in (cut.first_seq, cut.last_seq):
        if (cut.epoch, seq) not in batches:
            raise MissingBatches(f"cut {cut.epoch}/{cut.first_seq}-{cut.last_seq}: batch {seq} was not recorded")
    held = (batches.get((cut.epoch, seq)) for seq in range(cut.first_seq, cut.last_seq + 1))
    return [decode_batch(payload) for payload in held if payload is not None]
