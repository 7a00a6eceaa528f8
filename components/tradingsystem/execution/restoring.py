"""Reads what the journal holds and hands it to ``recovery``: the one place where execution's past is asked for."""

from __future__ import annotations

from tradingsystem.execution import inbox
from tradingsystem.execution.recovery import RECENT_SEQS, Recovered, rebuild
from tradingsystem.interfaces import Entry, Journal
from tradingsystem.messages.codec import decode
from tradingsystem.messages.subjects import Subjects


async def rebuild_from(journal: Journal, subjects: Subjects) -> Recovered:
    """The state that the newest checkpoint and the inbox after it give, and what intents and latches know beyond it."""
    checkpoint: Entry | None = None
    for first in (max(await journal.last_seq() - RECENT_SEQS, 1), 1):
        async for entry in journal.read(subjects.journal_checkpoint, first):
            checkpoint = entry
        if checkpoint is not None or first == 1:
            break
    after = 1 if checkpoint is None else checkpoint.seq + 1
    entries: list[inbox.InboxEntry] = [
        decode(entry.payload, inbox.InboxEntry) async for entry in journal.read(subjects.journal_inbox, after)
    ]
    intents = [entry.payload async for entry in journal.read(subjects.journal_intents, after)]
    latches = [entry.payload async for entry in journal.read(subjects.journal_latch)]
    return rebuild(entries, intents, latches, checkpoint.payload if checkpoint is not None else None)
