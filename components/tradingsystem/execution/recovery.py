"""From what is durable back to what was known: the inbox folded, then the intents and latches that outlived its tail.

The inbox may lag behind a crash by a few entries; intents and latches may not. Whatever they know beyond the inbox goes into the next ``Started``, so that
the recording stays complete.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tradingsystem.domain.orders import OrderIntent
from tradingsystem.domain.trading import Latch, LatchCleared
from tradingsystem.execution.inbox import InboxEntry, Started
from tradingsystem.execution.state import State
from tradingsystem.execution.step import begin, step
from tradingsystem.messages.codec import decode

CHECKPOINT_ENTRIES = 1_000  # inbox entries between two checkpoints: a restart folds about half a second at most
RECENT_SEQS = 50_000  # how far back a checkpoint is looked for before the whole journal is


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """``state`` is None when the journal holds no inbox."""

    state: State | None
    intents: tuple[OrderIntent, ...]
    latches: tuple[Latch, ...]
    cleared: tuple[LatchCleared, ...]


def fold(entries: Sequence[InboxEntry], state: State | None = None) -> State | None:
    """The state after a recorded inbox, from a checkpoint or from nothing; decisions are made again and dropped. Without a checkpoint nothing is read
    before the first ``Started``."""
    for entry in entries:
        if state is None:
            if not isinstance(entry, Started):
                continue
            state = begin(entry)
        step(state, entry)
    return state


def rebuild(
    entries: Sequence[InboxEntry], intents: Sequence[bytes], latches: Sequence[bytes], checkpoint: bytes | None = None
) -> Recovered:
    """Fold, then compare with what is durable by itself. Raises ``Malformed``: a journal that cannot be read must not be traded on."""
    state = fold(entries, decode(checkpoint, State) if checkpoint is not None else None)
    known = state.book.orders if state is not None else {}
    standing = state.latches if state is not None else {}
    set_ones: dict[str, Latch] = {}
    cleared: dict[str, LatchCleared] = {}
    for payload in latches:
        change: Latch | LatchCleared = decode(payload, Latch | LatchCleared)
        if isinstance(change, Latch):
            set_ones[change.id] = change
        else:
            cleared[change.id] = change
    oldest_ns = _oldest(state)
    durable: list[OrderIntent] = [decode(payload, OrderIntent) for payload in intents]
    unknown = [intent for intent in durable if intent.client_order_id not in known]
    return Recovered(
        state=state,
        intents=tuple(intent for intent in unknown if intent.decided_at_ns >= oldest_ns),
        latches=tuple(latch for key, latch in set_ones.items() if key not in cleared and key not in standing),
        cleared=tuple(change for key, change in cleared.items() if key in standing),
    )


def _oldest(state: State | None) -> int:
    """Older intents were pruned after their end, long before the inbox's tail could be lost."""
    if state is None:
        return 0
    return min((record.created_at_ns for record in state.book.orders.values()), default=state.now_ns)
